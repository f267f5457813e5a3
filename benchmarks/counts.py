"""Clusters of simulated counts: agreement of latents with the truth, by likelihood and encoder.

``python benchmarks/counts.py`` simulates 1000 cells with 200 genes, three clusters and total
counts that vary by a factor of e, fits each pair for 100 epochs, and prints the adjusted Rand
index of k-means on the latents.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from pyrovae import build, fit, load_data

CELLS, GENES, CLUSTERS, DISPERSION = 1000, 200, 3, 2.0
ENCODER = {"kind": "mlp", "widths": [200, 200], "activation": "silu"}


def simulate() -> tuple[np.ndarray, np.ndarray]:
    """Negative binomial counts ``(cells, genes)`` and their clusters ``(cells,)``."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, CLUSTERS, CELLS)
    changed = rng.random((CLUSTERS, GENES)) < 0.3
    share = rng.gamma(1.0, 1.0, GENES) * np.exp(rng.normal(0, 0.7, (CLUSTERS, GENES)) * changed)
    share /= share.sum(1, keepdims=True)
    total = np.exp(rng.normal(np.log(400), 0.5, CELLS))
    mean = share[cluster] * total[:, None]
    return rng.poisson(rng.gamma(DISPERSION, mean / DISPERSION)), cluster


def main() -> None:
    """Print a row for each likelihood and kind of inputs."""
    x, cluster = simulate()
    data = load_data(x)
    rows = np.concatenate([split.rows.numpy() for split in data])
    print("| likelihood | inputs of the encoder | validation ELBO | adjusted Rand index |")
    print("|---|---|---|---|")
    for likelihood in ("negative_binomial", "multinomial"):
        for inputs in ("scaled", "log1p"):
            settings = {
                "model.likelihood.kind": likelihood,
                "inference.guide.encoder": {**ENCODER, "inputs": inputs},
                "inference.epochs": 100,
            }
            vae = build("vae", "svi", data, settings)
            history = fit(vae, data, progress=False)
            best = max(r.elbo for r in history if r.split == "validation")
            z = np.concatenate([vae.embed(split) for split in data])
            found = KMeans(CLUSTERS, n_init=10, random_state=0).fit_predict(z)
            score = adjusted_rand_score(cluster[rows], found)
            print(f"| {likelihood} | {inputs} | {best:.2f} | {score:.3f} |", flush=True)


if __name__ == "__main__":
    main()
