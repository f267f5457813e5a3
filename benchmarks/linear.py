"""Linear decoders against the closed forms of scikit-learn, seed by seed.

Probabilistic PCA has one learned noise, factor analysis one per variable.

python benchmarks/linear.py [TABLE.npy] [--epochs 150] [--seeds 10] [--latent-dim 3]
"""

import argparse

import numpy as np
import torch
from sklearn.decomposition import PCA, FactorAnalysis
from torch.distributions import MultivariateNormal

from pyrovae import VAE, ModelSpec, build, fit
from pyrovae.data import from_arrays
from pyrovae.specs.files import find, read
from pyrovae.specs.inference import InferenceSpec


def drawn(rows: int = 3000, columns: int = 12, factors: int = 3) -> np.ndarray:
    """A table of three factors and noise of one size."""
    generator = np.random.default_rng(0)
    loadings = generator.normal(size=(factors, columns))
    noise = 0.3 * generator.normal(size=(rows, columns))
    return (0.5 + generator.normal(size=(rows, factors)) @ loadings + noise).astype(np.float32)


@torch.no_grad()
def evidence(vae: VAE, x: np.ndarray) -> float:
    """Mean log p(x) in closed form."""
    latent_dim = vae.prior.latent_dim
    corners = vae.decode(torch.cat([torch.zeros(1, latent_dim), torch.eye(latent_dim)])).base_dist
    loc = corners.loc.double()
    weight = (loc[1:] - loc[:1]).T
    noise = corners.scale.double().expand_as(loc)[0]
    density = MultivariateNormal(loc[0], weight @ weight.T + noise.square().diag())
    return density.log_prob(torch.from_numpy(x).double()).mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", help="an array (rows, columns); drawn by default")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--latent-dim", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x = drawn() if arguments.table is None else np.load(arguments.table).astype(np.float32)
    data = from_arrays(x, name="table")
    train, test = (x[split.rows.numpy()] for split in (data.train, data.test))
    inference = read(find("svi", "inference"), InferenceSpec).model_dump()
    inference["epochs"] = arguments.epochs
    inference["optimiser"]["learning_rate"] = arguments.learning_rate
    for noise, oracle in (("learned", PCA), ("per_variable", FactorAnalysis)):
        best = oracle(arguments.latent_dim).fit(train).score(test)
        print(f"{oracle.__name__}: log p(x) {best:.3f} on test data", flush=True)
        model = ModelSpec.model_validate(
            {
                "latent_dim": arguments.latent_dim,
                "decoder": {"kind": "mlp", "widths": []},
                "likelihood": {"kind": "normal", "noise": noise},
            }
        )
        for seed in range(arguments.seeds):
            vae = build(model, InferenceSpec.model_validate({**inference, "seed": seed}), data)
            fit(vae, data)
            print(f"  seed {seed}, noise {noise}: {evidence(vae, test) - best:+.3f}", flush=True)


if __name__ == "__main__":
    main()
