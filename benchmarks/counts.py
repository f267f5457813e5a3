"""Likelihoods of counts: held-out log p(x), and agreement of latents with known clusters.

``python benchmarks/counts.py`` simulates 1000 cells with 200 genes, three clusters and total
counts that vary by a factor of e. ``python benchmarks/counts.py associated_press_counts.npz``
takes the 2000 most frequent words of these 2246 documents, ``counts.py cells.h5ad`` the genes of
the file that are marked ``highly_variable``, with clusters of its ``protein_expression``. Each
fit has 100 epochs.

The log p(x) of test data is in nats per row, by 500 importance weights. That of a likelihood
given the total is made comparable by log p(n) of a negative binomial with the moments of the
training totals n. The adjusted Rand index is that of k-means on the latents.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from pyrovae import build, fit, load_data
from pyrovae.evaluation.pointwise import evaluate_pointwise

CELLS, GENES, CLUSTERS, DISPERSION = 1000, 200, 3, 2.0
WORDS = 2000
ENCODER = {"kind": "mlp", "widths": [200, 200], "activation": "silu"}
FITS = [
    ("negative_binomial", "scaled"),
    ("negative_binomial", "log1p"),
    ("multinomial", "scaled"),
    ("multinomial", "log1p"),
    ("dirichlet_multinomial", "scaled"),
    ("dirichlet_multinomial", "log1p"),
]


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


def words(path: Path) -> tuple[np.ndarray, None]:
    """Counts ``(documents, WORDS)`` of the most frequent words; there are no clusters."""
    with np.load(path) as file:
        i, j, count, shape = (file[key] for key in ("row", "col", "count", "shape"))
    x = np.zeros(shape, dtype=np.int64)
    x[i, j] = count
    return x[:, np.argsort(-x.sum(0), kind="stable")[:WORDS]], None


def cells(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Counts ``(cells, genes)`` of variable genes, and three clusters of surface proteins."""
    import h5py

    with h5py.File(path) as file:
        x = file["X"][()][:, file["var/highly_variable"][()]].astype(np.int64)
        proteins = np.log1p(file["obsm/protein_expression"][()])
    centred = proteins - proteins.mean(1, keepdims=True)
    return x, KMeans(CLUSTERS, n_init=10, random_state=0).fit_predict(centred)


def log_prob_of_totals(train: np.ndarray, test: np.ndarray) -> float:
    """Mean log-probability of totals by a negative binomial with the training moments."""
    mean, variance = train.mean(), train.var()
    size = mean**2 / (variance - mean)
    return float(stats.nbinom.logpmf(test, size, size / (size + mean)).mean())


def main() -> None:
    """Print a row for each likelihood and kind of inputs."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if path is None:
        x, cluster = simulate()
    else:
        x, cluster = words(path) if path.suffix == ".npz" else cells(path)
    data = load_data(x)
    rows = np.concatenate([split.rows.numpy() for split in data])
    totals = x.sum(1)
    of_totals = log_prob_of_totals(totals[data.train.rows], totals[data.test.rows])
    print("| likelihood | inputs of the encoder | test log p(x) | adjusted Rand index |")
    print("|---|---|---|---|")
    for likelihood, inputs in FITS:
        settings = {
            "model.likelihood.kind": likelihood,
            "inference.guide.encoder": {**ENCODER, "inputs": inputs},
            "inference.epochs": 100,
        }
        vae = build("vae", "svi", data, settings)
        fit(vae, data, progress=False)
        log_prob = evaluate_pointwise(vae, data, samples=500).log_prob.mean().item()
        if "multinomial" in likelihood:
            log_prob += of_totals
        score = "–"
        if cluster is not None:
            z = np.concatenate([vae.embed(split) for split in data])
            found = KMeans(CLUSTERS, n_init=10, random_state=0).fit_predict(z)
            score = f"{adjusted_rand_score(cluster[rows], found):.3f}"
        print(f"| `{likelihood}` | `{inputs}` | {log_prob:.2f} | {score} |", flush=True)


if __name__ == "__main__":
    main()
