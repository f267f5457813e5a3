"""Names of the analyses of a latent space on the command line. Imports no torch."""

ANALYSES = {
    "traversals": "each latent dimension moved through the prior's quantiles (with a GIF)",
    "interpolations": "paths between pairs of observations, and the evenness of the change",
    "samples": "from the prior beside those from the aggregated posterior, and holes",
    "manifold": "the decoded latent plane, for two latent dimensions",
    "factors": "MIG, DCI, SAP, FactorVAE and β-VAE scores, for data with known factors",
    "outliers": "out-of-distribution scores, tested --against other data",
    "ablation": "trains the plain autoencoder and others with small, unit and large β",
    "sweep": "refits the model for each of --betas: rate, distortion, and MIG",
    "debias": "refits the model with and without drawing rare observations more often",
}
TRAINING = ("ablation", "sweep", "debias")
SHARED = ("factors",)  # by several processes
USUAL = ("traversals", "interpolations", "samples", "manifold")
