"""The inference gap and its two parts, where closed forms are known and where none are."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import pyrovae.diagnosis.gap as gap_module
from pyrovae.diagnosis.gap import Gap, check_gap, gradients
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.importance import bounds, draw_weighted
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.refinement import freed
from pyrovae.parts.distributions.positive import raw_positive
from pyrovae.parts.families import DiagonalNormal, Family, FlowFamily, Head
from pyrovae.parts.guides import Guide
from pyrovae.parts.networks import MLPEncoder

# An ELBO of 1000 draws of weights with a standard deviation of about a nat, mean over 20 data.
NOISE = 0.03
# What the noise of the gradients may leave of the gap of a datum.
CONVERGED = 0.02
NOISY = 0.15  # at five standard errors, where weights are as bad as those of an untrained guide


def exact_elbo(q: Any, oracle: Any) -> Tensor:
    """log p(x) - KL(q, posterior), both normal."""
    covariance = q.variance.diag_embed() if isinstance(q, Normal) else q.covariance_matrix
    loc = q.loc.detach()
    full = MultivariateNormal(loc, covariance.detach())
    return oracle.evidence - kl_divergence(full, oracle.posterior)


@pytest.fixture
def correlated(make_linear_gaussian: Any) -> Any:
    """A linear-Gaussian autoencoder with a correlated posterior and a diagonal guide.

    The guide has half of the best scales and is off by 0.3 in a dimension.
    """
    oracle = make_linear_gaussian("full_rank", data=20)
    posterior = oracle.posterior
    guide = Guide(MLPEncoder((5,), widths=()), DiagonalNormal(5, 2)).double()
    with torch.no_grad():
        exact = oracle.vae.posterior.family
        guide.family.loc.load_state_dict(exact.loc.state_dict())
        guide.family.loc.bias[0] += 0.3
        guide.family.scale.weight.zero_()
        guide.family.scale.bias.copy_(raw_positive(0.5 * best_scale(posterior)[0]))
    oracle.vae.posterior = guide
    return oracle


def best_scale(posterior: MultivariateNormal) -> Tensor:
    """Of independent normals: the precision has to agree in its diagonal."""
    return posterior.precision_matrix.diagonal(dim1=-2, dim2=-1).rsqrt()


def test_both_parts_are_the_closed_forms(correlated: Any) -> None:
    oracle = correlated
    posterior = oracle.posterior
    best = exact_elbo(Normal(posterior.mean, best_scale(posterior)), oracle)
    elbo = exact_elbo(oracle.vae.encode(oracle.x).base_dist, oracle)
    gap = check_gap(oracle.vae, oracle.x, elbo, oracle.evidence)
    assert not gap.kept.any()
    approximation, amortisation = oracle.evidence - best, best - elbo
    assert approximation.min() > 0.1
    assert amortisation.min() > 0.1
    for found, expected in [
        (gap.approximation, approximation),
        (gap.amortisation, amortisation),
    ]:
        torch.testing.assert_close(found, expected, rtol=0, atol=6 * NOISE)
        torch.testing.assert_close(found.mean(), expected.mean(), rtol=0, atol=NOISE)
    torch.testing.assert_close(gap.gap, approximation + amortisation)


def test_the_parts_add_up_whatever_was_found(make_vae: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(gap_module, "STEPS", 10)
    vae = make_vae()
    elbo, log_prob = torch.randn(2, 5).double()
    gap = check_gap(vae, vae.sample(5), elbo, log_prob)
    torch.testing.assert_close(gap.gap, log_prob - elbo)
    torch.testing.assert_close(gap.approximation + gap.amortisation, gap.gap)


@pytest.mark.parametrize(("guide", "prior"), [("diagonal", "mixture"), ("full_rank", "normal")])
def test_an_exact_guide_has_no_gap(make_linear_gaussian: Any, guide: str, prior: str) -> None:
    oracle = make_linear_gaussian(guide, prior)
    found = bounds(draw_weighted(oracle.vae, oracle.x, 100).log_weight)
    gap = check_gap(oracle.vae, oracle.x, found.elbo, found.log_prob)
    torch.testing.assert_close(gap.gap, torch.zeros(6).double(), rtol=0, atol=1e-10)
    for part in (gap.approximation, gap.amortisation):
        torch.testing.assert_close(part, torch.zeros(6).double(), rtol=0, atol=CONVERGED)
    assert gap.verdict().grade == "ok"
    assert gap.verdict().advice == ""


def test_a_wrong_encoder_of_a_family_that_holds_the_posterior_is_all_of_the_gap(
    make_linear_gaussian: Any,
) -> None:
    oracle = make_linear_gaussian("full_rank")
    with torch.no_grad():
        oracle.vae.posterior.family.loc.bias += 0.5
        oracle.vae.posterior.family.below.bias.zero_()
    elbo = exact_elbo(oracle.vae.encode(oracle.x), oracle)
    gap = check_gap(oracle.vae, oracle.x, elbo, oracle.evidence)
    assert gap.gap.min() > 0.5
    torch.testing.assert_close(gap.approximation, torch.zeros(6).double(), rtol=0, atol=CONVERGED)
    assert "encoder" in gap.verdict().advice


@torch.no_grad()
def from_the_prior(vae: Any, x: Tensor) -> Tensor:
    """log p(x), of which the codes of five bits leave enough to be found from the prior."""
    local = LocalPosterior(vae, x)
    log_likelihood = local.log_model(local.draw_prior(5000))[1]
    return log_likelihood.logsumexp(0) - math.log(5000)


def test_every_guide_is_improved_and_nothing_of_the_autoencoder_moved(
    make_vae: Any, covering_pair: tuple[str, str], parameters_of: Any, monkeypatch: Any
) -> None:
    prior, guide = covering_pair
    vae = make_vae(prior, guide)
    x = vae.sample(3)
    if guide == "delta":
        with pytest.raises(SpecError, match="is a point"):
            check_gap(vae, x, torch.zeros(3), torch.zeros(3))
        return
    monkeypatch.setattr(gap_module, "STEPS", 30)
    log_prob = from_the_prior(vae, x)
    before, stream = parameters_of(vae), torch.get_rng_state()
    elbo = bounds(draw_weighted(vae, x, 1000).log_weight).elbo
    gap = check_gap(vae, x, elbo, log_prob)
    # What is below zero is noise, of 1000 draws. An encoder of random weights is far from optimal,
    # unless the prior is made of what it gives.
    assert gap.amortisation.min() > -NOISY
    assert gap.amortisation.max() > (NOISY if prior != "vamp" else 0)
    assert gap.approximation.min() > -NOISY
    assert all(torch.equal(value, before[name]) for name, value in vae.named_parameters())
    assert all(p.grad is None and p.requires_grad for p in vae.parameters())
    assert torch.equal(torch.get_rng_state(), stream)
    assert vae.training


@torch.no_grad()
def test_a_freed_guide_starts_where_the_encoder_is_and_has_numbers_for_each_datum(
    make_vae: Any, guide_with_density: str
) -> None:
    vae = make_vae(guide=guide_with_density)
    x = vae.sample(3)
    free = freed(vae.posterior, x)
    z = torch.randn(4, 3, 2).double()
    torch.testing.assert_close(free(x).log_prob(z), vae.encode(x).log_prob(z))
    moved = [value for value in free.parameters() if value.requires_grad]
    assert all(value.shape[0] == 3 for value in moved)
    features = vae.posterior.encoder(x)
    torch.testing.assert_close(free.encoder.value, features)
    free.encoder.value[1] += 0.5
    changed = (free(x).log_prob(z) - vae.encode(x).log_prob(z)).abs().amax(0) > 1e-6
    # The context of a flow; all that others make of their features are linear maps.
    assert changed.tolist() == [False, isinstance(vae.posterior.family, FlowFamily), False]
    for value in moved:
        value[1] += 0.5
    changed = (free(x).log_prob(z) - vae.encode(x).log_prob(z)).abs().amax(0) > 1e-6
    assert changed.tolist() == [False, True, False]


class Bent(Family):
    """A normal whose location bends, by layers that no features go into."""

    formula = "Normal(bent loc(h), 1)"

    def __init__(self, features: int, dims: int) -> None:
        super().__init__(features, dims)
        self.loc = Head(features, 7)
        self.out = torch.nn.Linear(7, dims)

    def forward(self, features: Tensor) -> Any:
        loc = self.out(self.loc(features).tanh())
        return dist.Normal(loc, torch.ones_like(loc)).to_event(1)


@torch.no_grad()
def test_a_family_of_ones_own_is_freed_in_its_features_and_heads() -> None:
    guide = Guide(MLPEncoder((5,), widths=(4,)), Bent(4, 2)).double()
    x, z = torch.rand(3, 5).double(), torch.randn(3, 2).double()
    free = freed(guide, x)
    torch.testing.assert_close(free(x).log_prob(z), guide(x).log_prob(z))
    moved = {name for name, value in free.named_parameters() if value.requires_grad}
    assert moved == {"encoder.value", "family.loc.value"}


def test_the_encoder_is_kept_where_nothing_better_is_found(
    make_linear_gaussian: Any, monkeypatch: Any
) -> None:
    oracle = make_linear_gaussian("full_rank")
    # Steps so large that the last leaves every datum somewhere else.
    monkeypatch.setattr(gap_module, "STEPS", 1)
    monkeypatch.setattr("pyrovae.evaluation.refinement.RATE", 5.0)
    gap = check_gap(oracle.vae, oracle.x, oracle.evidence, oracle.evidence)
    assert gap.kept.all()
    assert not gap.amortisation.any()


def test_how_data_are_put_together_does_not_matter(correlated: Any, monkeypatch: Any) -> None:
    oracle = correlated
    monkeypatch.setattr(gap_module, "STEPS", 100)
    elbo = exact_elbo(oracle.vae.encode(oracle.x).base_dist, oracle)
    at_once = check_gap(oracle.vae, oracle.x, elbo, oracle.evidence)
    monkeypatch.setattr("pyrovae.compute.chunks.CODES", 8 * gap_module.DRAWS)
    oracle.vae.vectorisable = False
    in_parts = check_gap(oracle.vae, oracle.x, elbo, oracle.evidence)
    torch.testing.assert_close(
        at_once.approximation.mean(), in_parts.approximation.mean(), rtol=0, atol=2 * NOISE
    )
    assert at_once.gap.shape == in_parts.gap.shape


def test_the_larger_part_decides_what_to_do() -> None:
    def gap(approximation: float, amortisation: float) -> Gap:
        parts = torch.tensor([[approximation] * 4, [amortisation] * 4]).double()
        noise = 0.1 * torch.tensor([-1.0, 1.0, 1.0, -1.0]).double()
        parts = parts + noise
        return Gap(parts.sum(0), parts[0], parts[1], torch.zeros(4) > 0, "a richer one")

    assert gap(0.1, 0.2).verdict()[0] == "ok"
    assert gap(0.1, 1.2).verdict()[0] == "WARN"
    assert "encoder" in gap(0.1, 1.2).verdict().advice
    assert gap(2.1, 1.2).verdict()[0] == "FAIL"
    assert "a richer one" in gap(2.1, 1.2).verdict().advice
    assert "too low" in gap(-0.5, 0.6).verdict().advice
    assert gap(-0.5, 0.6).verdict()[0] == "WARN"
    means = {number.name: number.value for number in gap(2.0, 1.0).numbers()}
    assert means["inference gap"] == pytest.approx(3.0)
    assert means["approximation gap"] == pytest.approx(2.0)
    assert means["amortisation gap"] == pytest.approx(1.0)
    variables = gap(2.0, 1.0).variables()
    assert list(variables) == ["gap", "approximation_gap", "amortisation_gap"]
    assert all(v.dims == ("obs",) and v.values.shape == (4,) for v in variables.values())


def test_it_says_how_many_gradients_it_takes(make_vae: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(gap_module, "STEPS", 3)
    vae = make_vae()
    seen = []
    monkeypatch.setattr(
        vae,
        "_decoded",
        lambda z, decode=vae._decoded: seen.append(z.numel() // 2 * z.requires_grad) or decode(z),
    )
    check_gap(vae, vae.sample(7), torch.zeros(7), torch.zeros(7))
    assert sum(seen) == gradients(7)


def test_what_has_no_encoder_or_too_few_data_is_refused(make_vae: Any) -> None:
    vae = make_vae()
    with pytest.raises(DataError, match="at least 2 data, here 1"):
        check_gap(vae, vae.sample(1), torch.zeros(1), torch.zeros(1))
    vae.posterior = torch.nn.Identity()
    with pytest.raises(SpecError, match="without an encoder"):
        check_gap(vae, torch.zeros(2, 5).double(), torch.zeros(2), torch.zeros(2))
