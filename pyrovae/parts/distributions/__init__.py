"""Distributions, transformations of them, and their divergences."""
