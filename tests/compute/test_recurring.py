"""Captured and uncaptured, estimates are the same: from the same noise, and fresh each time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyrovae import Splits
from pyrovae.compute import compiled as recurring
from pyrovae.compute.capture import Captured, capture
from pyrovae.compute.compiled import CompiledOnDemand, decided
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch, Dataset
from pyrovae.diagnosis.mcmc import check_mcmc
from pyrovae.evaluation import annealed_importance
from pyrovae.evaluation.annealed_importance import bracket
from pyrovae.evaluation.annealing_path import between
from pyrovae.evaluation.evidence import log_evidence
from pyrovae.evaluation.hamiltonian import Densities, at, log_posterior, posterior_density
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.pointwise import evaluate_pointwise
from pyrovae.programs.autoencoder import Autoencoder, Formulas
from pyrovae.programs.handwritten import Handwritten
from pyrovae.specs.computation import Computation

ON, OFF = Computation("on"), Computation("off")
HANDWRITTEN = Path(__file__).parents[2] / "models" / "handwritten.py"


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Captured]:
    """All graphs that are captured from here on; none is compiled, which takes seconds."""
    found: list[Captured] = []

    def kept(*arguments: Any) -> Captured:
        found.append(capture(*arguments))
        return found[-1]

    monkeypatch.setattr(recurring, "capture", kept)
    monkeypatch.setattr(Captured, "compiled", lambda self, inputs: self)
    return found


def as_data(x: Tensor) -> Dataset:
    class Rows(Dataset):
        def batch(self, index: Tensor) -> Batch:
            return Batch(self.x[index])

    return Rows("rows", x, torch.arange(len(x)), None, None)


def assert_equal(first: Any, second: Any, rtol: float = 1e-8) -> None:
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=1e-8, equal_nan=True)


PAIRS = [  # every prior and every guide once
    ("normal", "delta"),
    ("normal", "diagonal"),
    ("laplace", "laplace"),
    ("student_t", "low_rank"),
    ("mixture", "full_rank"),
    ("vamp", "mixture"),
    ("hyperspherical", "von_mises_fisher"),
    # A flow is inverted for a gradient, which takes long to write down.
    *[pytest.param(("normal", guide), marks=pytest.mark.slow) for guide in ("iaf", "spline")],
    pytest.param(("flow", "diagonal"), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_every_prior_and_every_guide_give_the_same(
    make_vae: Any, graphs: list[Captured], pair: tuple[str, str]
) -> None:
    prior, guide = pair
    vae = make_vae(prior, guide)
    x = torch.rand(4, 5, dtype=torch.float64).round()
    if guide != "delta":
        on, off = (log_evidence(vae, as_data(x), 6, computation=c) for c in (ON, OFF))
        assert_equal(on, off)
        assert len(graphs) == 1
    start = "prior" if guide == "delta" else "guide"
    local = LocalPosterior(vae, x)
    u = torch.randn(2, 4, local.dims, dtype=torch.float64)
    beta = torch.tensor(0.3, dtype=torch.float64)
    with evaluating(vae):
        on, off = [
            at(Densities(partial(between, start), vae, c).of(local, beta), u) for c in (ON, OFF)
        ]
    assert_equal(on, off)
    assert len(graphs) == (1 if guide == "delta" else 2)


class Program(Autoencoder):
    """Two latent sites, one of which is positive; particles one by one; or something special."""

    vectorisable = False

    def __init__(self, special: str = "") -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(0.3))
        self.special = special

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.Gamma(2.0 + 0 * x[:, 0], 1.0))
            z = pyro.sample("z", dist.Normal(0 * rate, rate))
            if self.special == "branches" and z.sum() > 0:
                z = z + 1
            shift = x.mean().item() if self.special == "constant" else 0.0
            loc = (z + shift).unsqueeze(-1).expand(x.shape)
            pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.Gamma(2.0 + 0 * x[:, 0], 1.0))
            pyro.sample("z", dist.Normal(self.loc * x.mean(-1), 1.0))

    def formulas(self) -> Formulas:
        return Formulas("Gamma, Normal", "Normal", "Gamma, Normal")


@pytest.mark.parametrize("special", ["", "branches", "constant"])
def test_programs_give_the_same_whether_they_can_be_captured_or_not(
    graphs: list[Captured], monkeypatch: pytest.MonkeyPatch, special: str
) -> None:
    monkeypatch.setattr(annealed_importance, "PILOT_TRIES", 2)
    program, x = Program(special), torch.randn(6, 3)  # chunks of data 4 and 2: not the same x
    on, off = (log_evidence(program, as_data(x), 500, computation=c) for c in (ON, OFF))
    assert_equal(on, off, rtol=1e-5)
    for start in ("guide", "prior"):
        runs = [
            bracket(program, x, steps=1, chains=4, start=start, computation=c) for c in (ON, OFF)
        ]
        assert_equal(*runs, rtol=1e-5)
    assert bool(graphs) == (special == "")


def test_a_handwritten_file_gives_the_same(graphs: list[Captured], few_digits: Splits) -> None:
    autoencoder = Handwritten(HANDWRITTEN, few_digits)
    x = torch.randint(17, (6, 1, 8, 8)).float()
    judged = [evaluate_pointwise(autoencoder, x, 300, computation=c) for c in (ON, OFF)]
    assert_equal([judged[0].log_prob], [judged[1].log_prob], rtol=1e-5)
    assert graphs


def test_chains_are_the_same(make_vae: Any, graphs: list[Captured]) -> None:
    vae, x = make_vae("mixture", "full_rank"), torch.rand(3, 5, dtype=torch.float64).round()
    chains = [check_mcmc(vae, x, warmup=3, draws=5, computation=c).z for c in (ON, OFF)]
    torch.testing.assert_close(*map(torch.as_tensor, chains))
    assert len(graphs) == 1


def test_one_graph_serves_other_data_and_other_points(
    make_vae: Any, graphs: list[Captured]
) -> None:
    vae = make_vae("student_t", "full_rank")
    densities = Densities(log_posterior, vae, ON)
    for _ in range(3):
        local = LocalPosterior(vae, torch.rand(4, 5, dtype=torch.float64).round())
        u = torch.randn(2, 4, 2, dtype=torch.float64)
        u[0, 1, 0] = torch.inf
        with evaluating(vae):
            assert_equal(at(densities.of(local), u), at(posterior_density(local), u))
    assert len(graphs) == 1


def test_beforehand_the_number_of_calls_decides() -> None:
    few, many = recurring.PAYS_BEFOREHAND - 1, recurring.PAYS_BEFOREHAND
    assert [decided(None, calls).compile for calls in (few, many)] == ["off", "on"]
    for asked in (ON, OFF):
        assert [decided(asked, calls) for calls in (few, many)] == [asked] * 2
    assert decided(Computation(precision="bf16"), many) == Computation("on", "bf16")


def noisy(x: Tensor, scale: float = 1.0) -> list[Tensor]:
    return [x + scale * torch.randn_like(x)]


def test_noise_is_fresh_and_from_the_same_stream(graphs: list[Captured]) -> None:
    once, again = (
        CompiledOnDemand(noisy, nn.Identity(), ON),
        CompiledOnDemand(noisy, nn.Identity(), OFF),
    )
    x = torch.arange(4.0)
    torch.manual_seed(3)
    captured = [once(x)[0] for _ in range(3)] + [torch.randn(2)]
    torch.manual_seed(3)
    uncaptured = [again(x)[0] for _ in range(3)] + [torch.randn(2)]
    assert_equal(captured, uncaptured)
    assert not captured[0].equal(captured[1])
    assert len(graphs) == 1


def test_each_shape_is_captured_when_it_has_come_up_often(
    graphs: list[Captured], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurring, "PAYS", 3)
    often = CompiledOnDemand(noisy, nn.Identity())
    x, longer = torch.arange(4.0), torch.arange(5.0)
    counts = []
    for call in (x, longer, x, x, x, longer, longer):
        often(call)
        counts.append(len(graphs))
    assert counts == [0, 0, 0, 1, 1, 1, 2]
    assert len(often.captured) == 2
    for _ in range(3):
        often(x, scale=0.0)
    assert often(x, scale=0.0)[0].equal(x)
    assert len(graphs) == 3


def test_what_is_made_a_constant_is_not_captured(graphs: list[Captured]) -> None:
    def total(x: Tensor) -> list[Tensor]:
        return [torch.tensor(x.detach().numpy().sum().item()) + 0 * x]

    def rows(x: Tensor) -> list[Tensor]:
        return [x * float(x[0].item())]

    for function in (total, rows):
        made = CompiledOnDemand(function, nn.Identity(), ON)
        for x in (torch.arange(3.0), torch.ones(3), torch.arange(3.0) + 1):
            torch.testing.assert_close(made(x), function(x))
        assert made.obstacle is not None
    assert graphs == []


def test_of_data_that_are_all_alike_nothing_is_captured(graphs: list[Captured]) -> None:
    alike = CompiledOnDemand(noisy, nn.Identity(), ON)
    alike(torch.ones(3))
    assert graphs == []
    assert alike.obstacle is None


def test_what_is_not_wished_for_is_never_captured(
    graphs: list[Captured], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurring, "PAYS", 1)
    never = CompiledOnDemand(noisy, nn.Identity(), OFF)
    never(torch.arange(4.0))
    assert graphs == []
