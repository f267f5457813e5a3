"""Names of the analyses of a latent space on the command line. Imports no torch."""

ANALYSES = {
    "traversals": "each latent dimension moved through the prior's quantiles (with a GIF)",
    "interpolations": "ways between pairs of data, and how evenly the output changes",
    "samples": "from the prior beside those from the codes of data, and the share in holes",
    "manifold": "the plane of decoded codes, for two latent dimensions",
    "factors": "MIG, DCI, SAP, FactorVAE and β-VAE scores, for data with known factors",
    "outliers": "scores of strangeness, judged --against other data",
    "ablation": "trains the plain autoencoder and others with small, unit and large β",
    "sweep": "trains a twin for each of --betas: rate, distortion, and MIG",
    "debias": "trains a twin that draws data with rare codes more often, and one that does not",
}
TRAINING = ("ablation", "sweep", "debias")
USUAL = ("traversals", "interpolations", "samples", "manifold")
