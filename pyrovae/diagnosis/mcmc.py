"""Hamiltonian Monte Carlo on p(z | x), and comparison of the guide with its chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.compiled import decided
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.evaluation import hamiltonian
from pyrovae.evaluation.angles import mean_direction, on_plane, unwrapped
from pyrovae.evaluation.chain_statistics import ess, rhat
from pyrovae.evaluation.chains import Chains, sample
from pyrovae.evaluation.hamiltonian import (
    Densities,
    guide_scale,
    log_posterior,
    require_gradient,
)
from pyrovae.evaluation.importance import require_finite
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.results import Check, Grade, Number, Variable, Verdict, percent, worse
from pyrovae.evaluation.sharing import shared
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs.computation import Computation

# Vehtari et al. (2021), arXiv:1903.08008: R-hat below 1.01, an effective sample size above 400.
# Of many scalars some miss that by chance: 0.8 % of 2376 did with 4 chains of 1000 draws that had
# converged, with a largest R-hat of 1.025. So a few may, and the check fails only at 1.05.
GOOD_RHAT, BAD_RHAT, GOOD_ESS, FEW = 1.01, 1.05, 400.0, 0.05
# Thresholds for the guide, in standard deviations and as a fraction; ours.
LARGE_SHIFT, COVERAGE_ERROR = 0.25, 0.05
INTERVAL = 0.9
EXACT = {"mean_shift": 0.0, "scale_ratio": 1.0, "guide_coverage": INTERVAL}
# Share of transitions: where a posterior is easy, steps become so long that a few are unstable.
FEW_DIVERGENCES = 1e-3
GUIDE_DRAWS = 1000
# Half of those of a diagnosis, so that two processes share them. On MNIST that took a processor,
# measured once, 17 % longer than all at once; a quarter, 37 %. A GPU is quicker with more.
DATA_ON_A_CPU = 16
FEWEST_CHAINS, FEWEST_DRAWS = 4, 4  # two from each start, for an R-hat within; halves of two
REFERENCE = "Vehtari et al. (2021), arXiv:1903.08008"

Array = Float64[np.ndarray, "obs latent"]


@dataclass(frozen=True, eq=False, repr=False)
class MCMC(Check):
    """Chains of Hamiltonian Monte Carlo on p(z | x), compared with the guide.

    Angles are compared on the circle. R-hat and ESS are of the angle from the mean direction of
    all chains. Means and standard deviations are of points (cos z, sin z) of the plane; a shift
    is positive where the guide is ahead. The guide's central interval is around its own mean
    direction. Numbers that are constant over all draws of chains and guide, such as the zeros of
    a Cholesky factor, get the statistics that exact draws would have in the mean.

    Attributes:
        rhat: Rank-normalised split R-hat over all chains, ``(obs, latent)``.
        rhat_guide: R-hat over the chains that started from the guide.
        ess: Bulk effective sample size.
        mean_shift: Guide's mean less the chains', in standard deviations of the chains.
        scale_ratio: Guide's standard deviation over the chains'; NaN of a point.
        guide_coverage: Share of the chains' draws in the guide's central 90 % interval; NaN of a
            point.
        z: Draws ``(chain, draw, obs, latent)``.
        sample_stats: ``(chain, draw, obs)`` each: ``lp``, log p(x, z) as a density of the free
            points that the chains move on; ``acceptance_rate``, ``diverging``, ``step_size``,
            ``energy``.
        starts: Start of each chain, "guide" or "prior".
    """

    question = "chains"

    rhat: Array
    rhat_guide: Array
    ess: Array
    mean_shift: Array
    scale_ratio: Array
    guide_coverage: Array
    z: Float32[np.ndarray, "chain draw obs latent"]
    sample_stats: dict[str, NDArray[Any]]
    starts: tuple[str, ...]

    @property
    def missed(self) -> Bool[np.ndarray, " obs"]:
        """True where chains from the guide agree with each other, but not with the others."""
        return np.logical_and(self.rhat.max(-1) >= BAD_RHAT, self.rhat_guide.max(-1) < BAD_RHAT)

    @property
    def divergences(self) -> int:
        """Number of divergent transitions."""
        return int(self.sample_stats["diverging"].sum())

    def verdict(self) -> Verdict:
        """Worse grade of the chains' convergence and of the guide's agreement with them."""
        chains, guide = self._chains_grade(), self._guide_grade()
        advice = [self._chains_advice()] if chains != "ok" else []
        if guide != "ok":
            advice.append(
                "do not use the guide's means and intervals as those of the posterior: try "
                'inference.guide.kind "full_rank" or a flow, or a larger encoder'
            )
        return Verdict(worse(chains, guide), self._finding(), "; ".join(advice))

    def numbers(self) -> list[Number]:
        """Statistics of the chains, then of the guide."""
        shift = np.abs(self.mean_shift)
        return [
            Number(
                "largest R-hat",
                float(self.rhat.max()),
                "",
                f"Over {self.rhat.size} scalars, half of the chains started from the prior.",
                REFERENCE,
            ),
            Number(
                "R-hat > 1.01",
                _share(self.rhat > GOOD_RHAT),
                "fraction",
                "Of the scalars; a few of many are above by chance.",
                REFERENCE,
            ),
            Number(
                "smallest ESS",
                float(self.ess.min()),
                "",
                "Effective sample size of the chains, for the worst scalar.",
                REFERENCE,
            ),
            Number(
                "other modes",
                _share(self.missed),
                "fraction",
                "Of the data: chains from the guide agree with each other, and those from the "
                "prior do not agree with them.",
            ),
            Number("divergences", self.divergences, "", "Transitions whose energy diverged."),
            Number(
                "mean shift, median",
                float(np.median(shift)),
                "posterior sd",
                "Distance of the guide's mean from the chains', over scalars.",
            ),
            Number(
                "mean shift, 90 % quantile",
                float(np.quantile(shift, 0.9)),
                "posterior sd",
                "The same, exceeded by a tenth of the scalars.",
            ),
            Number(
                "scale ratio, median",
                float(np.median(self.scale_ratio)),
                "",
                "Guide's standard deviation over that of the chains; over-confident below 1.",
            ),
            Number(
                "coverage of the guide",
                float(self.guide_coverage.mean()),
                "fraction",
                "Share of the chains' draws in the guide's central 90 % intervals.",
            ),
        ]

    def variables(self) -> dict[str, Variable]:
        """Statistics of each observation and latent dimension; draws have their own tree."""
        dims = ("obs", "latent")
        return {
            "rhat": Variable(dims, self.rhat, "R-hat of the chains"),
            "ess": Variable(dims, self.ess, "bulk effective sample size of the chains"),
            "mean_shift": Variable(
                dims, self.mean_shift, "mean of the guide less that of the chains, in their sd"
            ),
            "scale_ratio": Variable(dims, self.scale_ratio, "sd of the guide over the chains'"),
            "guide_coverage": Variable(
                dims, self.guide_coverage, "share of the chains in the guide's 90 % interval"
            ),
        }

    def _chains_grade(self) -> Grade:
        if not self.rhat.max() < BAD_RHAT:
            return "FAIL"
        few = max(_share(self.rhat > GOOD_RHAT), _share(self.ess < GOOD_ESS)) <= FEW
        return "ok" if few else "WARN"

    def _guide_grade(self) -> Grade:
        coverage = self.guide_coverage.mean()
        shifted = np.median(np.abs(self.mean_shift)) > LARGE_SHIFT
        uncovered = not np.isnan(coverage) and abs(coverage - INTERVAL) > COVERAGE_ERROR
        return "WARN" if shifted or uncovered else "ok"

    def _finding(self) -> str:
        shift = np.abs(self.mean_shift)
        found = [
            f"{len(self.rhat)} data x {len(self.starts)} chains: largest R-hat "
            f"{self.rhat.max():.2f}, {percent(_share(self.rhat > GOOD_RHAT))} above {GOOD_RHAT}, "
            f"smallest ESS {self.ess.min():.0f}"
        ]
        if self.divergences > FEW_DIVERGENCES * self.sample_stats["diverging"].size:
            found.append(f"{self.divergences} divergences")
        if self.missed.any():
            found.append(
                f"for {self.missed.sum()} data chains from the prior found what the guide's did "
                "not"
            )
        found.append(
            f"the guide's mean is {np.median(shift):.2f} posterior sd off "
            f"({np.quantile(shift, 0.9):.2f} for a tenth)"
        )
        if not np.isnan(self.scale_ratio).any():
            found.append(
                f"its sd is {np.median(self.scale_ratio):.2f} of the chains', its 90 % intervals "
                f"hold {percent(self.guide_coverage.mean().item())}"
            )
        return "; ".join(found)

    def _chains_advice(self) -> str:
        if self.missed.any():
            return (
                "the posterior may have modes that the guide misses: where log p(x) annealed from "
                "the prior is higher than from the guide they matter, and inference.guide.kind "
                '"mixture" or a flow may hold them'
            )
        return "run longer chains: more warm-up and draws"


def check_mcmc(
    autoencoder: Autoencoder,
    batch: Batch | Tensor,
    *,
    chains: int = 4,
    warmup: int = 300,
    draws: int = 1000,
    computation: Computation | None = None,
    processes: Processes = ALONE,
) -> MCMC:
    """Sample p(z | x) by Hamiltonian Monte Carlo, and compare the guide with the draws.

    Half of the chains start from the prior, as chains that start from the guide may not reach
    modes that the guide misses. The step size of each chain is adapted during warm-up.

    Args:
        autoencoder: Model and guide, which may be a point.
        batch: The data on the autoencoder's device.
        chains: Number of chains for each observation; at least 4.
        warmup: Transitions that are not kept.
        draws: Transitions that are kept; at least 4, and 1000 for R-hat to be of use.
        computation: Options of compilation and precision.
        processes: The processes that call this together and share the data; all have the result,
            which does not depend on their number.

    Raises:
        SpecError: Too few chains or draws; latents without gradients.
        DataError: Log p(x, z) of an observation is not finite; names it.

    References:
        Vehtari et al. (2021), *Rank-normalization, folding, and localization*, arXiv:1903.08008,
        for R-hat and ESS.
    """
    _require(chains, warmup, draws)
    starts = ("guide",) * (chains - chains // 2) + ("prior",) * (chains // 2)
    batch = Batch.of(batch)
    split = batch.split(_data_at_once(chains, batch.device))
    calls = len(split) * (warmup + draws) * hamiltonian.LEAPFROGS
    densities = Densities(log_posterior, autoencoder, decided(computation, calls))

    def work(part: Batch) -> tuple[Chains, Tensor]:
        local = LocalPosterior(autoencoder, part)
        require_gradient(local)
        scale, draw = guide_scale(local), {"guide": local.draw_guide, "prior": local.draw_prior}
        z = torch.cat([draw[start](1) for start in starts])
        found = sample(local, densities.of(local), z, scale, warmup, draws)
        return found, _guide_draws(local)

    with evaluating(autoencoder, batch.device):
        few = LocalPosterior(autoencoder, batch[:1])
        point, angles = few.point, few.angles.cpu()
        parts, guides = zip(*shared(split, work, batch.device, processes), strict=True)
    z = torch.cat([part.z for part in parts], dim=2)
    stats = {
        name: torch.cat([part.sample_stats[name] for part in parts], dim=2)
        for name in parts[0].sample_stats
    }
    require_finite(stats["lp"].flatten(0, 1))
    flat, guide = z.flatten(0, 1), torch.cat(guides, dim=1)
    fixed = ((flat == flat[0]).all(0) & (guide.float() == flat[0]).all(0)).numpy()
    scalars = unwrapped(flat, angles).reshape(z.shape).numpy()
    return MCMC(
        rhat=np.where(fixed, 1.0, rhat(scalars)),
        rhat_guide=np.where(fixed, 1.0, rhat(scalars[: starts.count("guide")])),
        ess=np.where(fixed, float(len(flat)), ess(scalars)),
        **{
            name: np.where(fixed & (not point or name == "mean_shift"), EXACT[name], values)
            for name, values in _compare(guide, flat.double(), angles, point).items()
        },
        z=z.numpy(),
        sample_stats={name: value.numpy() for name, value in stats.items()},
        starts=starts,
    )


def gradients(data: int, *, chains: int = 4, warmup: int = 300, draws: int = 1000) -> int:
    """Cost of :func:`check_mcmc`: number of gradients, each of one latent."""
    return data * chains * ((warmup + draws) * hamiltonian.LEAPFROGS + 1)


def _data_at_once(chains: int, device: torch.device) -> int:
    """Number of observations whose chains run at once."""
    fit = max(1, chunks.codes(device) // chains)
    return min(fit, DATA_ON_A_CPU) if device.type == "cpu" else fit


def _require(chains: int, warmup: int, draws: int) -> None:
    if chains < FEWEST_CHAINS:
        raise SpecError(
            f"chains = {chains}: at least {FEWEST_CHAINS} are needed, half of them from the prior"
        )
    if draws < FEWEST_DRAWS:
        raise SpecError(
            f"draws = {draws}: R-hat needs at least {FEWEST_DRAWS}, and 1000 to be of use"
        )
    if warmup < 1:
        raise SpecError(f"warmup = {warmup}: steps have to be found first; 300 will do")


def _guide_draws(local: LocalPosterior) -> Tensor:
    sizes = chunks.draws(len(local), GUIDE_DRAWS, local.batch.device)
    return torch.cat([local.draw_guide(size).cpu() for size in sizes]).double()


def _compare(
    guide: Tensor, posterior: Tensor, angles: Tensor, point: bool
) -> dict[str, NDArray[Any]]:
    """Compare draws of the guide with those of the chains, ``(draws, obs, latent)``."""
    ours, theirs = on_plane(guide, angles), on_plane(posterior, angles)
    scale = theirs.var(0).sum(-1).sqrt()
    ratio = ours.var(0).sum(-1).sqrt() / scale
    edges = torch.tensor([(1 - INTERVAL) / 2, (1 + INTERVAL) / 2], dtype=guide.dtype)
    centre = mean_direction(guide, angles)
    low, high = unwrapped(guide, angles, centre).quantile(edges, dim=0)
    turned = unwrapped(posterior, angles, centre)
    coverage = ((turned >= low) & (turned <= high)).double().mean(0)
    none = torch.full_like(ratio, torch.nan)
    return {
        "mean_shift": (_shift(ours.mean(0), theirs.mean(0), angles) / scale).numpy(),
        "scale_ratio": (none if point else ratio).numpy(),
        "guide_coverage": (none if point else coverage).numpy(),
    }


def _shift(mean: Tensor, reference: Tensor, angles: Tensor) -> Tensor:
    """Signed distance of a mean from another, ``(..., 2)`` each; on the circle for angles."""
    difference = mean - reference
    ahead = reference[..., 0] * mean[..., 1] - reference[..., 1] * mean[..., 0]
    distance = difference.norm(dim=-1)
    return torch.where(angles, torch.where(ahead < 0, -distance, distance), difference[..., 0])


def _share(which: NDArray[Any]) -> float:
    return float(which.mean())
