"""Approximate posteriors q(z | x)."""

from pyrovae.guides.guide import Guide as Guide
