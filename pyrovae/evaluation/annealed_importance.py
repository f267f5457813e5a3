"""Annealed estimates of log p(x), and brackets around it for data simulated from the model."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.compiled import decided
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.evaluation import hamiltonian
from pyrovae.evaluation.annealing_path import Path, Start, between, require_start
from pyrovae.evaluation.hamiltonian import Densities, at, transition
from pyrovae.evaluation.importance import require_finite
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.sharing import shared
from pyrovae.evaluation.simulation import Simulated, simulate
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs.computation import Computation

PILOT_CHAINS = 4
PILOT_TRIES = 15  # transitions before the first temperature: the first step is a guess
PILOT_GAIN = 0.7  # gain of the adaptation of a pilot's step size to its acceptance


class Annealed(NamedTuple):
    """Annealed estimates of log p(x) per observation, in nats, float64 ``(data,)`` on the CPU.

    Attributes:
        log_prob: Estimate of log p(x); in the mean a lower bound.
        error: Standard error, from the variance over chains.
    """

    log_prob: Tensor
    error: Tensor


class Bracket(NamedTuple):
    """Bounds on log p(x) of data that the model simulated, float64 on the CPU.

    Only means over data are bounds: those of a single observation may cross.

    Attributes:
        x: The data ``(data, *shape)``.
        lower: Lower bound on log p(x) in the mean, ``(data,)``.
        upper: Upper bound on log p(x) in the mean, ``(data,)``.
    """

    x: Tensor
    lower: Tensor
    upper: Tensor


def anneal(
    autoencoder: Autoencoder,
    batch: Batch | Tensor,
    *,
    steps: int = 50,
    chains: int = 16,
    start: Start = "guide",
    computation: Computation | None = None,
    processes: Processes = ALONE,
) -> Annealed:
    r"""Annealed importance sampling of log p(x), observation by observation.

    .. math::
        \log p(x) \approx \log \frac1M \sum_{m=1}^M w_m, \qquad
        w = \prod_{k=0}^{K} \frac{\pi_{k+1}(z_k)}{\pi_k(z_k)}, \qquad
        \pi_k(z) = \pi_0(z)^{1 - \beta_k}\, p(x, z)^{\beta_k}

    Each chain starts with a draw :math:`z_0` from :math:`\pi_0`, the guide or the prior, and goes
    on by a transition of Hamiltonian Monte Carlo at each of the K temperatures in between. For
    any K the mean of w is p(x), without bias, so the mean of the estimate is below log p(x).

    For this, transitions must not depend on the chains that are weighted: with step sizes adapted
    to the acceptance of those chains, estimates above log p(x) in the mean were observed. Here a
    pilot run of other chains first finds a step size per temperature and observation.

    Always the same random numbers: two estimates from the same weights agree.

    Args:
        autoencoder: Model and guide.
        batch: The data on the autoencoder's device.
        steps: :math:`K`; 0 is plain importance sampling.
        chains: :math:`M`, at least 2.
        start: :math:`\pi_0`. The guide needs far fewer temperatures; the prior also covers modes
            that the guide misses.
        computation: Options of compilation and precision.
        processes: The processes that call this together and share the data; all have the result,
            which does not depend on their number.

    Raises:
        SpecError: Too few chains; a guide without density to start from; latents without
            gradients.
        DataError: The weights of an observation are not finite, or all zero; names the data.

    References:
        Neal (2001), *Annealed Importance Sampling*, arXiv:physics/9803008; Wu et al. (2017), *On
        the Quantitative Analysis of Decoder-Based Generative Models*, arXiv:1611.04273.
    """
    _require(steps, chains)
    batch = Batch.of(batch)
    split = batch.split(_data_at_once(chains, batch.device))
    calls = len(split) * _calls(steps)
    path_density = Densities(partial(between, start), autoencoder, decided(computation, calls))

    def work(part: Batch) -> Annealed:
        path = Path(LocalPosterior(autoencoder, part), start, path_density)
        log_weight = _forwards(path, _pilot(path, steps), chains)
        return Annealed(*(column.cpu() for column in _summarised(log_weight)))

    with evaluating(autoencoder, batch.device):
        parts = shared(split, work, batch.device, processes)
    annealed = Annealed(*(torch.cat(column) for column in zip(*parts, strict=True)))
    require_finite(annealed.log_prob.unsqueeze(0))
    return annealed


def bracket(
    autoencoder: Autoencoder,
    like: Batch | Tensor,
    *,
    steps: int = 50,
    chains: int = 16,
    start: Start = "guide",
    computation: Computation | None = None,
    processes: Processes = ALONE,
) -> Bracket:
    r"""Bidirectional Monte Carlo: log p(x) from below and above, on data from the model itself.

    .. math::
        \mathbb{E} \log \frac1M \sum_{m=1}^M w_m \;\le\; \log p(x) \;\le\;
        \mathbb{E} \log \frac1M \Big( w^\ast + \sum_{m=2}^M w_m \Big)

    A simulated observation comes with its own latent, :math:`z^\ast \sim p(z \mid x)`.
    A chain that starts there and anneals backwards, through the same transitions, has the
    weight :math:`w^\ast`, written as in :func:`anneal` with the states in their forward order.

    Proof: call F(τ) the density of a forward chain τ and B(τ) that of a backward one. Transitions
    are reversible, so :math:`w(\tau) = p(x) B(\tau) / F(\tau)`. Put the backward chain at random
    among M - 1 forward ones: the density of all is :math:`Q = \frac1M \sum_m B(\tau_m)
    \prod_{l \ne m} F(\tau_l)`, that of M forward ones :math:`P = \prod_m F(\tau_m)`, and
    :math:`\frac1M \sum_m w(\tau_m) = p(x)\, Q / P`. So the bounds are off by KL(P, Q) below and
    by KL(Q, P) above, and meet as M grows. The upper one at M = 1 is that of Grosse et al.
    (2015); their harmonic mean of several backward chains is valid too, but as all of them start
    at one :math:`z^\ast`, more of them do not bring it to log p(x).

    Both bounds share M - 1 chains, so that their difference has little noise.

    Args:
        autoencoder: Model and guide.
        like: Data that give number and shape of the simulated data.
        steps: Number of temperatures in between, :math:`K`.
        chains: :math:`M`, at least 2.
        start: Start of the forward chains.
        computation: Options of compilation and precision.
        processes: As of :func:`anneal`.

    Raises:
        SpecError: As :func:`anneal`; the model observes several sites.
        DataError: The weights of an observation are not finite; names it.

    References:
        Grosse, Ghahramani and Adams (2015), *Sandwiching the marginal likelihood using
        bidirectional Monte Carlo*, arXiv:1511.02543; Sobolev and Vetrov (2019), *Importance
        Weighted Hierarchical Variational Inference*, arXiv:1905.03290, for the upper bound.
    """
    _require(steps, chains)
    like = Batch.of(like)
    split = like.split(_data_at_once(chains, like.device))
    calls = len(split) * _calls(steps, walks=2)
    path_density = Densities(partial(between, start), autoencoder, decided(computation, calls))

    def work(part: Batch) -> Bracket:
        simulated = simulate(autoencoder, part)
        path = Path(LocalPosterior(autoencoder, simulated.batch), start, path_density)
        schedule = _pilot(path, steps)
        forwards = _forwards(path, schedule, chains)
        backwards = _backwards(path, schedule, simulated.z.unsqueeze(0))
        found = (simulated.batch.x, *_bounds(forwards, backwards))
        return Bracket(*(column.cpu() for column in found))

    with evaluating(autoencoder, like.device):
        return _joined(shared(split, work, like.device, processes))


def importance_bracket(autoencoder: Autoencoder, like: Batch | Tensor, samples: int) -> Bracket:
    r"""The bracket of :func:`bracket` for plain importance sampling, K = 0, with many samples.

    .. math::
        \mathbb{E} \log \frac1S \sum_{s=1}^S \frac{p(x, z_s)}{q(z_s \mid x)} \;\le\; \log p(x)
        \;\le\; \mathbb{E} \log \frac1S \sum_{s=1}^S \frac{p(x, z_s)}{q(z_s \mid x)}
        \Big|_{z_1 = z^\ast}

    Its width bounds the error of estimates with as many samples, for data like the model's own.

    Args:
        autoencoder: Model and guide.
        like: Data that give number and shape of the simulated data.
        samples: :math:`S`, at least 2.

    Raises:
        SpecError: The guide is a point; fewer than 2 samples.
        DataError: The weights of an observation are not finite; names it.
    """
    _require(0, samples)
    parts = []
    with evaluating(autoencoder, like.device):
        for part in like.split(chunks.data(like.device)):
            simulated = simulate(autoencoder, part)
            local = LocalPosterior(autoencoder, simulated.batch)
            require_start(local)
            found = _importance_bounds(local, simulated, samples)
            parts.append(Bracket(simulated.batch.x, *found))
    return _joined(parts)


def gradients(data: int, *, steps: int = 50, chains: int = 16, bracketed: bool = False) -> int:
    """Number of gradients of single latents that :func:`anneal` or :func:`bracket` takes."""
    tries = PILOT_CHAINS * (steps + PILOT_TRIES) if steps else 0
    transitions = (chains + bracketed) * steps + tries
    return data * (transitions * (hamiltonian.LEAPFROGS + 1) + 2 * (chains + bracketed))


def _calls(steps: int, walks: int = 1) -> int:
    """Number of gradients, each of all chains of a part of the data, with those of the pilot."""
    transitions = (1 + walks) * steps + PILOT_TRIES
    return transitions * (hamiltonian.LEAPFROGS + 1)


class Schedule(NamedTuple):
    """Settings of an annealing run, fixed before it begins.

    Attributes:
        betas: Inverse temperatures from 0 to 1, K + 2 in number.
        steps: Leapfrog step sizes at the K temperatures in between, ``(data,)`` each.
        scales: Standard deviations at these, ``(data, dims)`` each.
    """

    betas: list[float]
    steps: list[Tensor]
    scales: list[Tensor]


def _pilot(path: Path, steps: int) -> Schedule:
    """A schedule from a pilot run, whose chains are then discarded."""
    betas = [k / (steps + 1) for k in range(steps + 2)]
    scales = [path.scale(beta) for beta in betas[1:-1]]
    found: list[Tensor] = []
    if steps:
        u = path.draw(PILOT_CHAINS)
        step = u.new_ones(len(path.local), dtype=torch.float64)
        for k, scale in enumerate(scales):
            log_prob = path.log_prob(betas[k + 1])
            for _ in range(1 if k else 1 + PILOT_TRIES):
                moved = transition(log_prob, at(log_prob, u), step.expand(u.shape[:-1]), scale)
                u = moved.point.u
                excess = moved.acceptance.mean(0) - hamiltonian.TARGET_ACCEPTANCE
                step = step * (PILOT_GAIN * excess).exp()
            found.append(step)
    return Schedule(betas, found, scales)


def _forwards(path: Path, schedule: Schedule, chains: int) -> Tensor:
    """Log-weights ``(chains, data)`` of chains from start to end."""
    return _walk(path, schedule, path.draw(chains), range(len(schedule.betas)))


def _backwards(path: Path, schedule: Schedule, z: Tensor) -> Tensor:
    """Log-weights ``(chains, data)`` of chains that begin at exact draws from p(z | x)."""
    u = path.coordinates.free(z)
    return -_walk(path, schedule, u, range(len(schedule.betas) - 1, -1, -1))


def _walk(path: Path, schedule: Schedule, u: Tensor, order: range) -> Tensor:
    """Accumulated log-density increments between temperatures, each at the same point."""
    point = at(path.log_prob(schedule.betas[order[0]]), u)
    log_weight = torch.zeros_like(point.log_prob)
    for k in order[1:]:
        log_prob = path.log_prob(schedule.betas[k])
        moved = at(log_prob, point.u)
        gain = moved.log_prob - point.log_prob
        # A chain without density has weight zero already; infinity less infinity would be NaN.
        log_weight = log_weight + gain.where(~point.log_prob.isneginf(), 0.0)
        if k != order[-1]:
            step = schedule.steps[k - 1].expand(u.shape[:-1])
            moved = transition(log_prob, moved, step, schedule.scales[k - 1]).point
        point = moved
    return log_weight


def _summarised(log_weight: Tensor) -> Annealed:
    """Log of the mean weight, and its standard error by the delta method."""
    chains = len(log_weight)
    log_mean = log_weight.logsumexp(0) - math.log(chains)
    relative = (log_weight - log_mean).exp()
    return Annealed(log_mean, relative.std(0) / math.sqrt(chains))


def _bounds(forwards: Tensor, backwards: Tensor) -> tuple[Tensor, Tensor]:
    """Both bounds from weights ``(chains, data)`` and one backward weight ``(1, data)``."""
    log_chains = math.log(len(forwards))
    upper = torch.cat([backwards, forwards[1:]]).logsumexp(0) - log_chains
    return forwards.logsumexp(0) - log_chains, upper


def _importance_bounds(
    local: LocalPosterior, simulated: Simulated, samples: int
) -> tuple[Tensor, Tensor]:
    z = simulated.z.unsqueeze(0)
    sizes = chunks.draws(len(local), samples, simulated.batch.device)
    log_weight = torch.cat([local.draw(size).log_weight for size in sizes])
    return _bounds(log_weight, local.log_joint(z) - local.log_guide(z))


def _joined(parts: list[Bracket]) -> Bracket:
    joined = Bracket(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))
    require_finite(torch.stack([joined.lower, joined.upper]))
    return joined


def _data_at_once(chains: int, device: torch.device) -> int:
    return max(1, chunks.codes(device) // chains)


def _require(steps: int, chains: int) -> None:
    if steps < 0:
        raise SpecError(f"steps = {steps}: annealing takes 0 temperatures or more")
    if chains < 2:
        raise SpecError(f"chains = {chains}: the error of log p(x) needs at least 2")
