"""Analyses of the latent space: continuity, completeness, factors, outliers, rare data."""
