"""What the latent space has learned: continuity, completeness, factors, outliers, rare data."""
