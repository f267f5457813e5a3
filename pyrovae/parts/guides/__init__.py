"""Approximate posteriors q(z | x)."""

from pyrovae.parts.guides.guide import Guide as Guide
