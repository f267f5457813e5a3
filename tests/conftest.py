"""The autoencoders that several files are about."""

from __future__ import annotations

import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from pyrovae import VAE, InferenceSpec, ModelSpec, Splits, load_data
from pyrovae.compute.distributed import Processes
from pyrovae.diagnosis.calibration import check_calibration
from pyrovae.diagnosis.predictive import check_predictive
from pyrovae.parts.distributions.positive import positive, raw_scale
from pyrovae.parts.families import DiagonalNormal, FlowFamily, FullRankNormal, LowRankNormal
from pyrovae.parts.guides import Guide
from pyrovae.parts.likelihoods import NormalLikelihood
from pyrovae.parts.networks import MLPDecoder, MLPEncoder
from pyrovae.parts.priors import FlowPrior, MixturePrior, NormalPrior
from pyrovae.programs.autoencoder import Declaration
from pyrovae.programs.building import declared
from pyrovae.specs.guides import GuideSpec
from pyrovae.specs.likelihoods import LikelihoodSpec
from pyrovae.specs.own import members
from pyrovae.specs.priors import PriorSpec

TOTAL_COUNT = 3


class ZScore(Protocol):
    """How many standard errors a mean is from where it should be; the worst of all entries.

    With 5 as the limit, a correct entry fails with probability 6e-7; seeds are fixed.
    """

    def __call__(self, draws: Tensor, expected: Tensor | float) -> float: ...


@pytest.fixture
def z_score() -> ZScore:
    def worst(draws: Tensor, expected: Tensor | float) -> float:
        standard_error = draws.std(0) / len(draws) ** 0.5
        return ((draws.mean(0) - expected) / standard_error).abs().max().item()

    return worst


def importance_weights(density: Any, draws: int) -> tuple[Tensor, Tensor]:
    """Draws ``(draws, *event)`` from Student's t, wider than a density, and their weights."""
    samples = density.sample((2_000,))  # not every density knows its moments
    proposal = dist.StudentT(5.0, samples.mean(0), 1.5 * samples.std(0))
    proposal = proposal.to_event(samples.ndim - 1)
    z = proposal.sample((draws,))
    return z, (density.log_prob(z) - proposal.log_prob(z)).exp()


@pytest.fixture
def assert_follows(z_score: ZScore) -> Callable[[Any], None]:
    def check(density: Any) -> None:
        """It integrates to one, and its samples have the moments and the entropy it says."""
        z, weights = importance_weights(density, draws=20_000)
        # 20 000 draws: a density wrong by 0.1 nats would be more than 7 standard errors off.
        assert z_score(weights, 1.0) < 5
        proposed = statistics(density, z) * weights[:, None]
        sampled = statistics(density, density.sample((20_000,)))
        assert z_score(proposed - sampled, 0.0) < 5  # in pairs of independent draws

    return check


def statistics(density: Any, z: Tensor) -> Tensor:
    """Log-density, first and second moments of draws, ``(draws, statistics)``."""
    z_flat = z.flatten(1)
    products = (z_flat[:, :, None] * z_flat[:, None, :]).flatten(1)
    return torch.cat([density.log_prob(z)[:, None], z_flat, products], dim=1)


class LinearGaussian(NamedTuple):
    """A linear decoder with normal noise of a known scale: p(x) and p(z | x) in closed form."""

    vae: VAE
    x: Tensor

    @property
    def evidence(self) -> Tensor:
        """log p(x), ``(data,)``."""
        weight, bias = self.vae.decoder.last.weight, self.vae.decoder.last.bias
        covariance = weight @ weight.T + self.noise.square() * torch.eye(len(weight)).double()
        return MultivariateNormal(bias, covariance).log_prob(self.x).detach()

    @property
    def posterior(self) -> MultivariateNormal:
        """p(z | x), with batch shape ``(data,)``."""
        weight, bias = self.vae.decoder.last.weight, self.vae.decoder.last.bias
        precision = torch.eye(weight.shape[1]).double() + weight.T @ weight / self.noise.square()
        covariance = torch.linalg.inv(precision).detach()
        loc = (self.x - bias) @ weight @ covariance / self.noise.square()
        return MultivariateNormal(loc.detach(), covariance)

    @property
    def noise(self) -> Tensor:
        """Standard deviation of the noise."""
        return positive(self.vae.likelihood.raw_scale)


class MakeLinearGaussian(Protocol):
    """Build a linear-Gaussian autoencoder in float64 whose guide is the exact posterior.

    A diagonal guide gets a decoder with orthogonal columns, for which it can be exact. The prior
    is the standard normal, or the same density as a mixture of one: then no KL has a closed form.
    """

    def __call__(
        self,
        guide: Literal["diagonal", "full_rank"] = "full_rank",
        prior: Literal["normal", "mixture"] = "normal",
        data: int = 6,
    ) -> LinearGaussian: ...


@pytest.fixture
def make_linear_gaussian() -> MakeLinearGaussian:
    def make(
        guide: Literal["diagonal", "full_rank"] = "full_rank",
        prior: Literal["normal", "mixture"] = "normal",
        data: int = 6,
    ) -> LinearGaussian:
        latent_dim, columns = 2, 5
        family = {"diagonal": DiagonalNormal, "full_rank": FullRankNormal}[guide]
        vae = VAE(
            prior=NormalPrior(latent_dim) if prior == "normal" else mixture_of_one(latent_dim),
            decoder=MLPDecoder(latent_dim, (columns,), widths=()),
            likelihood=NormalLikelihood((columns,), noise="fixed", scale=0.5),
            guide=Guide(MLPEncoder((columns,), widths=()), family(columns, latent_dim)),
        ).double()
        with torch.no_grad():
            weight = torch.randn(columns, latent_dim, dtype=torch.float64)
            orthogonal = torch.linalg.qr(weight).Q * torch.tensor([0.5, 2.0])
            correlated = orthogonal @ torch.tensor([[1.0, 0.0], [0.5, 0.4]]).double()
            vae.decoder.last.weight.copy_(orthogonal if guide == "diagonal" else correlated)
        oracle = LinearGaussian(vae, vae.sample(data))
        make_exact(vae.posterior.family, oracle)
        return oracle

    return make


def mixture_of_one(latent_dim: int) -> MixturePrior:
    prior = MixturePrior(latent_dim, components=1).double()
    nn.init.zeros_(prior.loc)
    nn.init.constant_(prior.raw_scale, raw_scale(1.0))
    return prior


@torch.no_grad()
def make_exact(family: DiagonalNormal | FullRankNormal, oracle: LinearGaussian) -> None:
    """Set a family's linear maps to the exact posterior, whose covariance no datum changes."""
    weight, bias = oracle.vae.decoder.last.weight, oracle.vae.decoder.last.bias
    posterior = oracle.posterior
    gain = posterior.covariance_matrix[0] @ weight.T / oracle.noise.square()
    scale_tril = posterior.scale_tril[0]
    set_linear(family.loc, gain, -gain @ bias)
    raw = [raw_scale(scale) for scale in scale_tril.diagonal().tolist()]
    set_linear(family.scale, 0.0, torch.tensor(raw, dtype=torch.float64))
    if isinstance(family, FullRankNormal):
        below = scale_tril / scale_tril.diagonal().unsqueeze(-1)  # in units of the row's scale
        set_linear(family.below, 0.0, below.flatten())


def set_linear(layer: nn.Linear, weight: Tensor | float, bias: Tensor) -> None:
    layer.weight.copy_(torch.as_tensor(weight))
    layer.bias.copy_(bias)


def kinds(union: Any) -> list[str]:
    """The kinds of a discriminated union of specifications: whatever the package offers."""
    return [member.model_fields["kind"].default for member in members(union)]


NOISES = [{"noise": noise} for noise in ("fixed", "learned", "per_pixel")]
GIVEN_THE_TOTAL = ("multinomial", "dirichlet_multinomial")
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "binomial": [{"total_count": TOTAL_COUNT}],
    "normal": NOISES,
    "laplace": NOISES,
    "categorical": [{"levels": TOTAL_COUNT}],
    "discretized_logistic": [{"levels": TOTAL_COUNT, **noise} for noise in NOISES[1:]],
    **{kind: [{"total_count": TOTAL_COUNT}] for kind in GIVEN_THE_TOTAL},
}
LEVELS = {
    **dict.fromkeys(("bernoulli", "continuous_bernoulli"), 1.0),
    **dict.fromkeys(("binomial", "categorical", "discretized_logistic"), float(TOTAL_COUNT)),
}
LIKELIHOODS = [
    {"kind": kind, **options}
    for kind in kinds(LikelihoodSpec)
    if kind != "auto"  # is another one once the data are known
    for options in VARIANTS.get(kind, [{}])
]


# Densities on the sphere are per area, not per volume: tests/parts/test_sphere.py has them.
ON_THE_SPHERE = {"hyperspherical", "von_mises_fisher"}


def go_together(prior: str, guide: str) -> bool:
    """Whether codes of both are in the same space; a VampPrior's are where its guide's are."""
    if prior == "vamp":
        return guide != "delta"  # a mixture of points has no density
    return (prior in ON_THE_SPHERE) == (guide in ON_THE_SPHERE)


@pytest.fixture(params=[kind for kind in kinds(PriorSpec) if kind not in ON_THE_SPHERE])
def prior(request: pytest.FixtureRequest) -> str:
    """Every kind of prior, but for the sphere."""
    return request.param


@pytest.fixture(params=[kind for kind in kinds(GuideSpec) if kind not in ON_THE_SPHERE])
def guide(request: pytest.FixtureRequest) -> str:
    """Every kind of guide, but for the sphere."""
    return request.param


@pytest.fixture(params=[k for k in kinds(GuideSpec) if k not in {*ON_THE_SPHERE, "delta"}])
def guide_with_density(request: pytest.FixtureRequest) -> str:
    """Every kind of guide but the point, which has no density."""
    return request.param


PAIRS = [
    (prior, guide)
    for prior in kinds(PriorSpec)
    for guide in kinds(GuideSpec)
    if go_together(prior, guide)
]
COVERING = [
    ("normal", "diagonal"),
    ("normal", "delta"),
    ("normal", "spline"),
    ("laplace", "low_rank"),
    ("student_t", "laplace"),
    ("student_t", "iaf"),
    ("mixture", "mixture"),
    ("mixture", "delta"),
    ("flow", "full_rank"),
    ("flow", "iaf"),
    ("vamp", "diagonal"),
    ("vamp", "mixture"),
    ("hyperspherical", "von_mises_fisher"),
]


ONCE = [  # a mixture and a normal stand beside two guides each, as there are more guides
    ("normal", "delta"),
    ("normal", "spline"),
    ("laplace", "low_rank"),
    ("student_t", "laplace"),
    ("mixture", "mixture"),
    ("mixture", "iaf"),
    ("flow", "full_rank"),
    ("vamp", "diagonal"),
    ("hyperspherical", "von_mises_fisher"),
]


@pytest.fixture(params=PAIRS, ids="-".join)
def prior_and_guide(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Every prior with every guide that it goes with: where the pair itself is the subject."""
    return request.param


@pytest.fixture(
    params=[
        pytest.param(pair, marks=() if pair in COVERING else pytest.mark.slow, id="-".join(pair))
        for pair in PAIRS
    ]
)
def covering_pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Every prior and every guide, each with some of the other: where both are only used.

    Every kind of distribution occurs on either side (a product, correlated, a mixture, a flow,
    a point, the sphere), and on both at once where that is possible. All other pairs are slow.
    """
    return request.param


@pytest.fixture(
    params=[
        pytest.param(pair, marks=() if pair in ONCE else pytest.mark.slow, id="-".join(pair))
        for pair in PAIRS
    ]
)
def each_part(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Every prior and every guide, once: where what holds of two parts holds of them together.

    All other pairs are slow.
    """
    return request.param


@pytest.fixture(params=LIKELIHOODS, ids=lambda options: "_".join(map(str, options.values())))
def likelihood(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every kind of likelihood, with every kind of noise; all are for rows."""
    return request.param


SMALL_FLOW = {"layers": 2, "widths": (16, 15)}
PRIOR_OPTIONS: dict[str, dict[str, Any]] = {
    "mixture": {"components": 3},
    "flow": SMALL_FLOW,
    "vamp": {"pseudo_inputs": 3},
}
GUIDE_OPTIONS: dict[str, dict[str, Any]] = {
    "low_rank": {"rank": 1},
    "mixture": {"components": 3},
    "iaf": SMALL_FLOW,
    "spline": SMALL_FLOW,
}
SMALL_MLP = {"kind": "mlp", "widths": (7, 6), "activation": "tanh"}
BERNOULLI = {"kind": "bernoulli"}


class MakeVAE(Protocol):
    """Build a small autoencoder from kinds of parts, in float64, its parameters all generic."""

    def __call__(
        self,
        prior: str = "normal",
        guide: str = "diagonal",
        likelihood: dict[str, Any] = BERNOULLI,
        network: dict[str, Any] = SMALL_MLP,
        shape: tuple[int, ...] = (5,),
    ) -> VAE: ...


@pytest.fixture
def make_vae() -> MakeVAE:
    def make(
        prior: str = "normal",
        guide: str = "diagonal",
        likelihood: dict[str, Any] = BERNOULLI,
        network: dict[str, Any] = SMALL_MLP,
        shape: tuple[int, ...] = (5,),
    ) -> VAE:
        levels = LEVELS.get(likelihood["kind"])
        declaration = Declaration(
            ModelSpec(
                latent_dim=2,
                prior={"kind": prior, **PRIOR_OPTIONS.get(prior, {})},
                decoder=network,
                likelihood=likelihood,
            ),
            InferenceSpec(
                guide={"kind": guide, "encoder": network, **GUIDE_OPTIONS.get(guide, {})}
            ),
            shape,
            levels,
        )
        pseudo_inputs = (0.2 + 0.6 * torch.rand(3, *shape)) * (levels or 1.0)
        vae = declared(declaration, pseudo_inputs).double()
        with torch.no_grad():
            for parameter in vae.parameters():
                # Away from zeros and equal numbers, where two mistakes may cancel; small enough
                # to keep pseudo-inputs within their bounds.
                parameter.add_(0.02 * torch.randn_like(parameter))
            family = vae.posterior.family
            if isinstance(family, FullRankNormal):  # starts without correlations
                family.below.weight.normal_()
            if isinstance(family, LowRankNormal):
                family.factor.weight.normal_()
            for part in (vae.prior, family):
                if isinstance(part, (FlowPrior, FlowFamily)):  # starts as the identity
                    bend(part.transform)
        return vae

    return make


def bend(transform: nn.Module) -> None:
    """A flow whose networks all have a say."""
    for parameter in transform.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A diagnosis takes fewer simulations, where only its use is looked at."""
    here = "pyrovae.diagnosis.diagnosis"
    monkeypatch.setattr(f"{here}.check_calibration", partial(check_calibration, simulations=100))
    monkeypatch.setattr(f"{here}.check_predictive", partial(check_predictive, replicates=40))


@pytest.fixture
def few_digits() -> Splits:
    """A few of scikit-learn's digits: batches of 16 come out uneven."""
    return Splits(*(split.first(40) for split in load_data("digits")))


@pytest.fixture
def parameters_of() -> Callable[[nn.Module], dict[str, Tensor]]:
    """Copies of a module's parameters, by name."""
    return lambda module: {name: p.detach().clone() for name, p in module.named_parameters()}


@pytest.fixture(params=[COVERING, ONCE], ids=["covering_pair", "each_part"])
def quick_pairs(request: pytest.FixtureRequest) -> list[tuple[str, str]]:
    """Those of :func:`covering_pair` and of :func:`each_part` that are not slow, at once."""
    return request.param


COVERING_LIKELIHOODS: list[dict[str, Any]] = [
    {"kind": "bernoulli"},
    {"kind": "continuous_bernoulli"},
    {"kind": "normal", "noise": "per_pixel"},
    {"kind": "discretized_logistic", "levels": TOTAL_COUNT, "noise": "learned"},
    {"kind": "multinomial", "total_count": TOTAL_COUNT},
]


@pytest.fixture(
    params=[
        pytest.param(
            options,
            marks=() if options in COVERING_LIKELIHOODS else pytest.mark.slow,
            id="_".join(map(str, options.values())),
        )
        for options in LIKELIHOODS
    ]
)
def covering_likelihood(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A likelihood on each kind of support, where it is only used.

    Bits, an interval, the real line, levels, and counts with a sum. All others are slow.
    """
    return request.param


@pytest.fixture
def likelihoods() -> list[dict[str, Any]]:
    """All of :func:`likelihood`, at once."""
    return LIKELIHOODS


LINES = pytest.StashKey[list[str]]()


@pytest.fixture
def report_line(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Says a line at the end of the test run."""
    return request.config.stash.setdefault(LINES, []).append


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash.get(LINES, []):
        terminalreporter.write_line(line)


class InProcesses(Protocol):
    """Do some work in processes that train together, forked from this one; what each returns."""

    def __call__(self, size: int, work: Callable[[Processes], Any]) -> list[Any]: ...


@pytest.fixture
def in_processes(tmp_path: Path) -> InProcesses:
    def run(size: int, work: Callable[[Processes], Any]) -> list[Any]:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        pids = [_forked(folder, Processes(rank, size), work) for rank in range(size)]
        ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        said = [file.read_text() for file in sorted(folder.glob("*.error"))]
        assert ended == [0] * size, "\n".join(said)
        return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]

    return run


def _forked(folder: Path, processes: Processes, work: Callable[[Processes], Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.alarm(60)  # of those that wait for one another in vain
        torch.set_num_threads(1)
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=processes.rank,
            world_size=processes.size,
        )
        torch.save(work(processes), folder / f"{processes.rank}.pt")
        torch.distributed.barrier()  # else the store goes with the first that has ended
    except BaseException:
        (folder / f"{processes.rank}.error").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)
