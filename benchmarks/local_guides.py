"""Guides of runs, Pyro's automatic guides for one observation at a time, and NUTS.

The reference of ``docs/refine.md``: ``AutoNormal`` is the best that a diagonal encoder could say,
``AutoMultivariateNormal`` the best of a full-rank one, and draws by NUTS are from p(z | x) itself.

``python benchmarks/local_guides.py RUN [RUN ...] [--num 20]``; the runs share one model, as a run
and its refinements do.
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import pyro
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoGuide, AutoMultivariateNormal, AutoNormal, init_to_value
from pyro.optim import ClippedAdam
from torch import Tensor

from pyrovae import local_posterior, open_run
from pyrovae.evaluation.batches import observations
from pyrovae.programs.autoencoder import Autoencoder

STEPS, PARTICLES = 2000, 8
WARMUP, DRAWS = 200, 500
INSIDE = 0.9


class Inferred(NamedTuple):
    """Draws ``(draws, data, dims)``, the ELBO of each observation ``(data,)``, and seconds."""

    z: Tensor
    elbo: Tensor
    seconds: float


def by_encoder(vae: Autoencoder, x: Tensor, refine_steps: int = 0) -> Inferred:
    """The run's guide, as it is or fitted to each observation."""
    start = time.monotonic()
    found = local_posterior(vae, x, refine_steps=refine_steps, draws=DRAWS)
    gain = found.gain
    return Inferred(found.z, (gain.refined or gain.encoder).elbo, time.monotonic() - start)


def by_autoguide(
    kind: Callable[..., AutoGuide], vae: Autoencoder, x: Tensor, means: Tensor
) -> Inferred:
    """An automatic guide for each observation, from the encoder's mean on."""
    start = time.monotonic()
    fitted = [_fitted(kind, vae, x[[n]], means[[n]]) for n in range(len(x))]
    z, elbo = zip(*fitted, strict=True)
    return Inferred(torch.stack(z, 1), torch.stack(elbo), time.monotonic() - start)


def _fitted(
    kind: Callable[..., AutoGuide], vae: Autoencoder, x: Tensor, mean: Tensor
) -> tuple[Tensor, Tensor]:
    pyro.clear_param_store()
    guide = kind(vae.model, init_loc_fn=init_to_value(values={"z": mean}))
    optimiser = ClippedAdam({"lr": 0.05, "lrd": 0.01 ** (1 / STEPS)})
    loss = Trace_ELBO(num_particles=PARTICLES, vectorize_particles=True, max_plate_nesting=1)
    svi = SVI(vae.model, guide, optimiser, loss)
    for _ in range(STEPS):
        svi.step(x)
    with torch.no_grad():
        z = torch.stack([guide(x)["z"] for _ in range(DRAWS)])
        many = Trace_ELBO(num_particles=DRAWS, vectorize_particles=True, max_plate_nesting=1)
        return z[:, 0], torch.tensor(-many.loss(vae.model, guide, x))


def by_nuts(vae: Autoencoder, x: Tensor, means: Tensor) -> Tensor:
    """Draws from p(z | x) ``(draws, data, dims)``."""
    return torch.stack([_chain(vae, x[[n]], means[[n]]) for n in range(len(x))], 1)


def _chain(vae: Autoencoder, x: Tensor, mean: Tensor) -> Tensor:
    nuts = NUTS(
        vae.model,
        init_strategy=init_to_value(values={"z": mean}),
        full_mass=True,
        jit_compile=True,
        ignore_jit_warnings=True,
    )
    chain = MCMC(nuts, num_samples=DRAWS, warmup_steps=WARMUP, disable_progbar=True)
    chain.run(x)
    return chain.get_samples()["z"][:, 0]


def row(name: str, found: Inferred, exact: Tensor) -> str:
    """ELBO, error of the means in posterior standard deviations, ratio of deviations, coverage."""
    mean, sd = exact.mean(0), exact.std(0)
    shift = ((found.z.mean(0) - mean) / sd).square().mean().sqrt()
    ratio = (found.z.std(0) / sd).log().mean().exp()
    tails = torch.tensor([(1 - INSIDE) / 2, (1 + INSIDE) / 2])
    low, high = found.z.quantile(tails, dim=0)
    inside = ((exact > low) & (exact < high)).float().mean((0, 1))
    return (
        f"| {name} | {found.elbo.mean():.2f} | {shift:.2f} | {ratio:.2f} | "
        f"{inside.min():.0%} to {inside.max():.0%} | {found.seconds / len(found.elbo):.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--num", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    pyro.set_rng_seed(0)
    runs = [open_run(name) for name in asked.runs]
    vae = runs[0].model.eval().requires_grad_(False)
    test = vae.contract.prepared(runs[0].data.test)
    x = observations(test, torch.arange(asked.num)).x
    means = by_encoder(vae, x).z.mean(0)
    start = time.monotonic()
    exact = by_nuts(vae, x, means)
    seconds = (time.monotonic() - start) / len(x)
    print("| guide | ELBO | error of means | ratio of deviations | 90 % intervals hold | s |")
    print("|---|---|---|---|---|---|")
    for name, run in zip(asked.runs, runs, strict=True):
        print(row(name, by_encoder(run.model, x), exact), flush=True)
        print(row(f"{name}, 50 steps", by_encoder(run.model, x, 50), exact), flush=True)
    for kind in (AutoNormal, AutoMultivariateNormal):
        print(row(kind.__name__, by_autoguide(kind, vae, x, means), exact), flush=True)
    print(f"| NUTS | | 0 | 1 | | {seconds:.1f} |")


if __name__ == "__main__":
    main()
