"""Annealed weights have p(x) as their mean, and brackets hold it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyrovae.compute import chunks
from pyrovae.diagnosis.sandwich import Sandwich, check_sandwich
from pyrovae.diagnosis.sandwich import gradients as sandwich_gradients
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation import annealed_importance as annealing
from pyrovae.evaluation.annealed_importance import anneal, bracket, importance_bracket
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.programs.autoencoder import Autoencoder, Formulas

EXACT = 1e-10
REPEATS = 250


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All data are annealed at once: networks are small, and there are many repeats."""
    monkeypatch.setattr(chunks, "CODES", 100_000)


starts = pytest.mark.parametrize("start", ["guide", "prior"])


@torch.no_grad()
def shift(vae: Any) -> None:
    vae.posterior.family.loc.bias += 0.2


@torch.no_grad()
def widen(vae: Any) -> None:
    vae.posterior.family.scale.bias += 0.7


def evidence(oracle: Any, x: Tensor) -> Tensor:
    return oracle._replace(x=x).evidence


@pytest.mark.parametrize("steps", [0, 3])
def test_from_the_posterior_itself_every_weight_is_the_evidence(
    make_linear_gaussian: Any, steps: int
) -> None:
    oracle = make_linear_gaussian("full_rank", data=3)
    found = anneal(oracle.vae, oracle.x, steps=steps, chains=3)
    torch.testing.assert_close(found.log_prob, oracle.evidence, rtol=0, atol=EXACT)
    assert found.error.max() < EXACT
    both = bracket(oracle.vae, oracle.x, steps=steps, chains=3)
    torch.testing.assert_close(both.lower, evidence(oracle, both.x), rtol=0, atol=EXACT)
    torch.testing.assert_close(both.upper, both.lower, rtol=0, atol=EXACT)


@starts
@pytest.mark.parametrize("mistake", [shift, widen])
def test_the_mean_of_the_weights_is_the_evidence(
    make_linear_gaussian: Any, z_score: Any, start: Any, mistake: Callable[[Any], None]
) -> None:
    """Exactly, however few the temperatures; steps that follow the chains would break it."""
    oracle = make_linear_gaussian("full_rank", data=2)
    mistake(oracle.vae)
    found = anneal(oracle.vae, oracle.x.repeat(REPEATS, 1), steps=4, chains=4, start=start)
    off = found.log_prob.reshape(REPEATS, 2) - oracle.evidence
    assert z_score(off.exp(), 1.0) < 5
    assert (off.mean(0) < 0).all()


def test_two_estimates_agree(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    shift(oracle.vae)
    first, second = (anneal(oracle.vae, oracle.x, steps=2, chains=2) for _ in range(2))
    assert (first.log_prob == second.log_prob).all()


@starts
def test_the_error_is_that_of_repeats(make_linear_gaussian: Any, start: Any) -> None:
    oracle = make_linear_gaussian("full_rank", data=2)
    widen(oracle.vae)
    found = anneal(oracle.vae, oracle.x.repeat(60, 1), steps=4, chains=8, start=start)
    spread = found.log_prob.reshape(60, 2).std(0)
    torch.testing.assert_close(
        found.error.reshape(60, 2).square().mean(0).sqrt(), spread, rtol=0.4, atol=0.0
    )


@starts
def test_the_bracket_holds_the_evidence(
    make_linear_gaussian: Any, z_score: Any, start: Any
) -> None:
    """In the mean; and p(x) over the mean weight has mean one, from above as from below."""
    oracle = make_linear_gaussian("full_rank")
    shift(oracle.vae)
    both = bracket(oracle.vae, oracle.x.repeat(80, 1), steps=4, chains=4, start=start)
    exact = evidence(oracle, both.x)
    below, above = both.lower - exact, both.upper - exact
    assert below.mean() < 0 < above.mean()
    assert z_score(below.exp(), 1.0) < 5
    assert z_score((-above).exp(), 1.0) < 5


def test_a_bracket_of_importance_sampling_holds_the_evidence(
    make_linear_gaussian: Any, z_score: Any
) -> None:
    oracle = make_linear_gaussian("full_rank")
    widen(oracle.vae)
    width = []
    for samples in (3, 300):
        both = importance_bracket(oracle.vae, oracle.x.repeat(60, 1), samples)
        exact = evidence(oracle, both.x)
        assert z_score((both.lower - exact).exp(), 1.0) < 5
        assert z_score((exact - both.upper).exp(), 1.0) < 5
        width.append((both.upper - both.lower).mean().item())
    assert 0 < width[1] < width[0] / 10


def test_more_temperatures_bring_the_bounds_together(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("full_rank")
    x = oracle.x.repeat(20, 1)
    gaps = [
        check_sandwich(oracle.vae, x, steps=steps, chains=4, start="prior").gap
        for steps in (2, 20)
    ]
    assert gaps[0] > 4 * gaps[1]


def test_evidence_on_the_circle(make_vae: Any, z_score: Any) -> None:
    """Against quadrature over the angle, from the guide and from the prior."""
    vae = make_vae("hyperspherical", "von_mises_fisher")
    with torch.no_grad():
        vae.decoder.last.weight *= 20
        x = vae.sample(2)
        angle = torch.arange(2000, dtype=torch.float64) * (2 * torch.pi / 2000)
        z = torch.stack([angle.cos(), angle.sin()], dim=-1).unsqueeze(1).expand(-1, 2, -1)
        log_joint = LocalPosterior(vae, x).log_joint(z)
        exact = log_joint.logsumexp(0) + torch.tensor(2 * torch.pi / 2000).log()
    for start in ("guide", "prior"):
        found = anneal(vae, x.repeat(200, 1), steps=2, chains=4, start=start)
        assert z_score((found.log_prob.reshape(200, 2) - exact).exp(), 1.0) < 5


class Squared(Autoencoder):
    """x ~ Normal(z², 0.3): two modes, of which the guide sits on one."""

    vectorisable = True

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0 * x[..., 0], 1.0))
            pyro.sample("x", dist.Normal(z.square().unsqueeze(-1), 0.3).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(self.loc + 0 * x[..., 0], 0.1))

    def formulas(self) -> Formulas:
        return Formulas("Normal", "Normal", "Normal")


def quadrature(squared: Squared, x: Tensor) -> Tensor:
    """log p(x) of one datum."""
    z = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    with torch.no_grad():
        log_joint = LocalPosterior(squared, x).log_joint(z.reshape(-1, 1, 1))
    return log_joint.logsumexp(0) + torch.tensor(12 / 20_000).log()


def test_steps_do_not_follow_the_chains_that_are_weighed(z_score: Any) -> None:
    """If they did, steps would be short where density changes fast: ten standard errors off."""
    squared, x = Squared(), torch.full((1, 1), 0.3, dtype=torch.float64)
    repeated = x.repeat(10_000, 1)
    found = anneal(squared, repeated, steps=30, chains=2, start="prior").log_prob
    assert z_score((found - quadrature(squared, x)).exp(), 1.0) < 5


def test_a_start_at_the_prior_finds_the_mode_that_the_guide_misses() -> None:
    """Half of the mass is in each: from the guide log 2 is missing, and nothing shows it."""
    squared, x = Squared(), torch.full((1, 1), 4.0, dtype=torch.float64)
    exact = quadrature(squared, x)
    from_guide = anneal(squared, x, steps=20, chains=50)
    assert from_guide.error.item() < 0.04
    assert (from_guide.log_prob - exact).item() == pytest.approx(-0.6931, abs=0.12)
    from_prior = anneal(squared, x, steps=30, chains=300, start="prior")
    assert (from_prior.log_prob - exact).item() == pytest.approx(0, abs=0.35)
    assert from_prior.error.item() < 0.15


def test_every_pair_of_parts_anneals(
    make_vae: Any, covering_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annealing, "PILOT_TRIES", 0)
    vae = make_vae(*covering_pair)
    x = vae.sample(2)
    state = torch.get_rng_state()
    for start in ("prior",) if covering_pair[1] == "delta" else ("guide", "prior"):
        both = bracket(vae, x, steps=1, chains=2, start=start)
        assert (both.upper - both.lower).isfinite().all()
    assert (torch.get_rng_state() == state).all()
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_a_point_has_no_density_to_start_from(make_vae: Any) -> None:
    vae = make_vae("normal", "delta")
    x = vae.sample(2)
    for asked in (
        lambda: anneal(vae, x),
        lambda: bracket(vae, x),
        lambda: importance_bracket(vae, x, 5),
    ):
        with pytest.raises(SpecError, match='start="prior"'):
            asked()


def test_one_at_a_time_and_in_float32(make_vae: Any, z_score: Any) -> None:
    vae = make_vae()
    x = vae.sample(1).repeat(40, 1)
    at_once = anneal(vae, x, steps=2, chains=4).log_prob
    vae.vectorisable = False
    repeated = anneal(vae, x, steps=2, chains=4).log_prob
    vae.float()
    single = anneal(vae, x.float(), steps=2, chains=4).log_prob
    assert single.dtype == torch.float64
    torch.testing.assert_close(at_once, repeated)  # the same random numbers
    centre = at_once.mean()
    assert z_score((at_once - centre).exp() - (single - centre).exp(), 0.0) < 5


@pytest.mark.parametrize("bracketed", [False, True])
def test_the_cost_is_what_was_said(make_vae: Any, bracketed: bool) -> None:
    vae = make_vae()
    count = 0

    def add(module: Any, inputs: tuple[Tensor], output: Any) -> None:
        nonlocal count
        if inputs[0].requires_grad:
            count += inputs[0][..., 0].numel()

    vae.decoder.register_forward_hook(add)
    x = vae.sample(3)
    (bracket if bracketed else anneal)(vae, x, steps=5, chains=4, start="prior")
    said = annealing.gradients(3, steps=5, chains=4, bracketed=bracketed)
    assert count == pytest.approx(said, rel=0.01)
    assert sandwich_gradients(3, steps=5, chains=4) == annealing.gradients(
        3, steps=5, chains=4, bracketed=True
    )


def test_what_cannot_work_is_refused(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=3)
    with pytest.raises(SpecError, match=r"chains = 1: .* at least 2"):
        anneal(oracle.vae, oracle.x, chains=1)
    with pytest.raises(SpecError, match="steps = -1"):
        anneal(oracle.vae, oracle.x, steps=-1)
    with pytest.raises(SpecError, match="1 simulated data"):
        check_sandwich(oracle.vae, oracle.x[:1])
    x = oracle.x.clone()
    x[1] = torch.nan
    with pytest.raises(DataError, match="number 1"):
        anneal(oracle.vae, x, steps=1, chains=2, start="prior")


def test_a_sandwich_is_graded_by_its_gap(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    shift(oracle.vae)
    found = check_sandwich(oracle.vae, oracle.x.repeat(10, 1), steps=5)
    assert found.verdict().grade == "ok"
    assert [number.value for number in found.numbers()] == [
        found.lower.mean(),
        found.upper.mean(),
        found.gap,
    ]
    assert found.variables()["lower"].values.shape == (60,)
    for apart, grade in ((0.2, "WARN"), (3.0, "FAIL"), (-3.0, "FAIL")):
        verdict = Sandwich(found.lower, found.lower + apart, 10, 16).verdict()
        assert verdict.grade == grade
        assert f"better than {abs(apart):.2g} nats" in verdict.finding
        assert "more steps" in verdict.advice
