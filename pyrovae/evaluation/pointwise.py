"""The bound with its parts, and log p(x), of each observation."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Multinomial
from tqdm import tqdm

from pyrovae.compute import chunks
from pyrovae.compute.compiled import CompiledOnDemand, decided
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.evaluation import annealed_importance as annealing
from pyrovae.evaluation.annealing_path import Start
from pyrovae.evaluation.batches import batch_of
from pyrovae.evaluation.gain import Gain, fit_of, joined
from pyrovae.evaluation.importance import bounds, require_finite, weigh
from pyrovae.evaluation.local import Draws, LocalPosterior
from pyrovae.evaluation.refinement import RefinedPosterior, batch_size
from pyrovae.evaluation.sharing import shared
from pyrovae.parts.distributions.kl import Kind
from pyrovae.parts.likelihoods.multinomial import CountsGivenTotal
from pyrovae.programs.arguments import options_checked
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.densities import densities
from pyrovae.programs.given_values import as_count
from pyrovae.specs.computation import Computation
from pyrovae.specs.local_inference import LocalInference

# Defaults of annealing.
STEPS, CHAINS = 50, 16


@dataclass(frozen=True)
class Evaluation:
    """Bound and log p(x) per observation, in nats at β = 1, float64 ``(data,)`` on the CPU.

    Attributes:
        elbo: Reconstruction minus KL. For a guide that is a point, log p(x, z) there, which is
            no bound.
        reconstruction: Mean of log p(x | z) over latents from the guide.
        kl: KL of the guide from the prior; for a point, -log p(z).
        kl_kind: Whether ``kl`` is "exact", "sampled" from the same latents, or of a "point".
        samples: Number of latents for each observation.
        log_prob: log p(x), importance-weighted; in the mean a lower bound. NaN if the guide is a
            point, from which nothing can be sampled.
        effective_samples: Effective sample size; NaN likewise.
        rise: Increase of ``log_prob`` from half as many latents to all; NaN likewise, or if there
            is only one latent.
        annealed: log p(x) by annealing, if requested.
        annealed_error: Standard error of ``annealed``, from the variance over chains.
        gain: Fit of the guide before and after refinement, if it was refined.
    """

    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor
    kl_kind: Kind
    samples: int
    log_prob: Tensor
    effective_samples: Tensor
    rise: Tensor
    annealed: Tensor | None = None
    annealed_error: Tensor | None = None
    gain: Gain | None = None

    @property
    def best_log_prob(self) -> Tensor:
        """Log p(x), ``(data,)``: annealed where available, else importance-weighted."""
        return self.log_prob if self.annealed is None else self.annealed

    @property
    def point(self) -> bool:
        """True if the guide is a point."""
        return self.kl_kind == "point"


@options_checked
def evaluate_pointwise(
    autoencoder: Autoencoder,
    batch: Any,
    samples: int = 1000,
    *,
    ais: bool = False,
    refine_steps: int = 0,
    progress: str = "",
    computation: Computation | None = None,
    processes: Processes = ALONE,
) -> Evaluation:
    r"""The bound and log p(x) of each observation, from the same draws, in bounded memory.

    .. math::
        \text{ELBO} = \frac1K \sum_k \log p(x \mid z_k) - \operatorname{KL}(q(z \mid x), p(z)),
        \qquad
        \log p(x) \approx \log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k \mid x)},
        \qquad z_k \sim q(z \mid x)

    Always the same random numbers: two evaluations of the same weights agree.

    Args:
        autoencoder: Model and guide.
        batch: A batch or a tensor of the data as the model sees them, a split, splits, of which
            the test data are taken, an array or a DataFrame.
        samples: :math:`K`.
        ais: Whether to estimate log p(x) by annealing as well: from the guide, or from the prior
            if the guide is a point.
        refine_steps: Gradient steps in which the guide is fitted to each observation beforehand.
            Then all but ``annealed`` is of the refined guide.
        progress: Title of a progress bar on stderr; no bar if empty.
        computation: Options of compilation and precision.
        processes: The processes that call this together and share the data; all have the result,
            which does not depend on their number.

    Raises:
        DataError: A density is not finite; names the data. Or the data are of another kind or
            shape.
        SpecError: The first argument is no autoencoder, or ``samples`` no count; or the guide is
            to be refined, and is a point or has no encoder.

    References:
        Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
        arXiv:1509.00519.
    """
    batch = batch_of("evaluate_pointwise(vae, data)", autoencoder, batch)
    samples = as_count("evaluate_pointwise", samples, "samples")
    with evaluating(autoencoder, batch.device):
        local = LocalPosterior(autoencoder, batch[:1])

    def draw(*tensors: Tensor, draws: int) -> Draws:
        return local.of(local.batch.rebuilt(tensors)).draw(draws)

    size = batch_size(batch.device) if refine_steps else chunks.data(batch.device)
    parts = [*zip(range(0, len(batch), size), batch.split(size), strict=True)]
    calls = len(parts) * len(chunks.draws(size, samples, batch.device))
    recurring = CompiledOnDemand(draw, autoencoder, decided(computation, calls))
    own = sum(len(part) for _, part in parts[processes.rank :: processes.size])
    bar = tqdm(total=own, unit="obs", desc=progress, disable=not progress, file=sys.stderr)

    def work(numbered: tuple[int, Batch]) -> Evaluation:
        start, part = numbered
        found = (
            _judge_refined(autoencoder, part, samples, refine_steps, start)
            if refine_steps
            else _judge(autoencoder, recurring, part, samples)
        )
        bar.update(len(part))
        return _joined([found])

    with evaluating(autoencoder, batch.device), bar:
        evaluation = _joined(shared(parts, work, batch.device, processes))
    require_finite(evaluation.elbo.unsqueeze(0))
    if not ais:
        return evaluation
    log_prob, error = annealed(
        autoencoder,
        batch,
        point=evaluation.point,
        computation=computation,
        processes=processes,
    )
    return replace(evaluation, annealed=log_prob, annealed_error=error)


def annealed(
    autoencoder: Autoencoder,
    batch: Batch,
    steps: int = STEPS,
    *,
    point: bool = False,
    computation: Computation | None = None,
    processes: Processes = ALONE,
) -> annealing.Annealed:
    """Log p(x) by annealing, and its standard error, ``(data,)``.

    From the guide, or from the prior if the guide is a point.
    """
    start: Start = "prior" if point else "guide"
    return annealing.anneal(
        autoencoder,
        batch,
        steps=steps,
        chains=CHAINS,
        start=start,
        computation=computation,
        processes=processes,
    )


Measure = Literal[
    "probabilities given the total of a row",
    "probabilities",
    "densities",
    "probabilities of some values, densities of others",
]


def measure(autoencoder: Autoencoder, batch: Batch) -> Measure:
    """Kind of p(x | z): probabilities, densities, or both."""
    with evaluating(autoencoder, batch.device):
        local = LocalPosterior(autoencoder, batch[:1])
        found = local.observation(local.draw_prior(1)).values()
    kinds = {bool(fn.support.is_discrete) for fn in found}
    if any(isinstance(fn, CountsGivenTotal | Multinomial) for fn in found):
        return "probabilities given the total of a row"
    if len(kinds) > 1:
        return "probabilities of some values, densities of others"
    return "probabilities" if kinds == {True} else "densities"


def _judge(
    autoencoder: Autoencoder, draw: CompiledOnDemand, batch: Batch, samples: int
) -> Evaluation:
    """Evaluate a few observations, their draws chunk by chunk."""
    local = LocalPosterior(autoencoder, batch)
    if local.point:
        return _at_the_point(local)
    log_weight, log_likelihood = weigh(draw, batch, samples)
    found = bounds(log_weight)
    reconstruction = log_likelihood.mean(0)
    exact = _exact_kl(autoencoder, batch)
    kl = (log_likelihood - log_weight).mean(0) if exact is None else exact
    return Evaluation(
        elbo=reconstruction - kl,
        reconstruction=reconstruction,
        kl=kl,
        kl_kind="sampled" if exact is None else "exact",
        samples=samples,
        log_prob=found.log_prob,
        effective_samples=found.effective_samples,
        rise=found.log_prob - _from_halves(log_weight),
    )


def _judge_refined(
    autoencoder: Autoencoder, batch: Batch, samples: int, steps: int, start: int
) -> Evaluation:
    """Evaluate a few observations with a guide that is fitted to each of them.

    Args:
        autoencoder: Model and guide.
        batch: The observations.
        samples: Number of latents for each.
        steps: Number of gradient steps.
        start: Number of the first observation.
    """
    began = time.perf_counter()
    local = RefinedPosterior(autoencoder, batch)

    def draw(*_: Tensor, draws: int) -> Draws:
        return local.draw(draws)

    before, _ = weigh(draw, batch, samples)
    require_finite(before, start)
    local.refine(steps)
    log_weight, log_likelihood = weigh(draw, batch, samples)
    seconds = (time.perf_counter() - began) / len(batch)
    found, reconstruction = bounds(log_weight), log_likelihood.mean(0)
    asked = LocalInference(refine_steps=steps)
    return Evaluation(
        elbo=found.elbo,
        reconstruction=reconstruction,
        kl=reconstruction - found.elbo,
        kl_kind="sampled",
        samples=samples,
        log_prob=found.log_prob,
        effective_samples=found.effective_samples,
        rise=found.log_prob - _from_halves(log_weight),
        gain=Gain(asked, fit_of(before), fit_of(log_weight), None, seconds),
    )


def _from_halves(log_weight: Tensor) -> Tensor:
    """Mean of the estimates of log p(x) from the first and the second half of the draws."""
    if len(log_weight) < 2:
        return torch.full_like(log_weight[0], torch.nan)
    halves = log_weight.tensor_split(2)
    return torch.stack([bounds(half).log_prob for half in halves]).mean(0)


def _at_the_point(local: LocalPosterior) -> Evaluation:
    drawn = local.draw(1)
    reconstruction, kl = drawn.log_likelihood[0], -drawn.log_prior[0]
    unknown = torch.full_like(kl, torch.nan)
    elbo = reconstruction - kl
    return Evaluation(elbo, reconstruction, kl, "point", 1, unknown, unknown, unknown)


def _exact_kl(autoencoder: Autoencoder, batch: Batch) -> Tensor | None:
    """KL ``(data,)`` in closed form; None with several sites.

    The KL at one of several sites may depend on the draw at another: a mean over many draws is
    then better than the exact value for a single draw.
    """
    sites = densities([autoencoder.traces(batch)], len(batch), sampled=False).latent
    (first, *others) = sites.values()
    return None if others or first.kl_kind != "exact" or first.kl is None else first.kl[0]


def _joined(parts: list[Evaluation]) -> Evaluation:
    """Concatenate the results of parts of the data, on the CPU."""

    def column(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts]).cpu()

    gains = [part.gain for part in parts if part.gain is not None]
    return Evaluation(
        elbo=column("elbo"),
        reconstruction=column("reconstruction"),
        kl=column("kl"),
        kl_kind=parts[0].kl_kind,
        samples=parts[0].samples,
        log_prob=column("log_prob"),
        effective_samples=column("effective_samples"),
        rise=column("rise"),
        gain=joined(gains, [len(part.elbo) for part in parts]) if gains else None,
    )
