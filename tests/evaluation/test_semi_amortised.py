"""Guides improved for each observation, against posteriors in closed form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

import pyrovae
from pyrovae import local_posterior
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.pointwise import evaluate_pointwise
from pyrovae.evaluation.refinement import RefinedPosterior
from pyrovae.evaluation.semi_amortised import PosteriorSample
from pyrovae.parts.distributions.positive import raw_positive
from pyrovae.parts.families import DiagonalNormal
from pyrovae.parts.guides import Guide
from pyrovae.parts.networks import MLPEncoder
from pyrovae.programs.autoencoder import Autoencoder, Formulas
from pyrovae.specs.computation import Computation

DATA = 20
# What the noise of the gradients of 150 steps may leave of a KL, in nats.
CONVERGED = 0.05
# Of means and standard deviations, in posterior standard deviations; effective draws are at least
# 160, so five standard errors are 0.4.
NOISY = 0.4
EAGER = Computation("off")  # compiling would take longer than these few steps


class Known(NamedTuple):
    """An autoencoder in float32, as data are, of which p(x) and p(z | x) are known."""

    vae: Any
    x: Tensor
    evidence: Tensor
    posterior: MultivariateNormal


def known(oracle: Any) -> Known:
    evidence, posterior = oracle.evidence, oracle.posterior
    return Known(oracle.vae.float(), oracle.x.float(), evidence, posterior)


@pytest.fixture
def shifted(make_linear_gaussian: Any) -> Any:
    """A linear-Gaussian autoencoder whose full-rank guide is off and too narrow."""
    oracle = make_linear_gaussian("full_rank", data=DATA)
    with torch.no_grad():
        oracle.vae.posterior.family.loc.bias += 0.8 * oracle.posterior.variance[0].sqrt()
        oracle.vae.posterior.family.below.bias.zero_()
    return known(oracle)


@pytest.fixture
def diagonal(make_linear_gaussian: Any) -> Any:
    """The same with a correlated posterior and a diagonal guide of half of the best scales."""
    oracle = make_linear_gaussian("full_rank", data=DATA)
    guide = Guide(MLPEncoder((5,), widths=()), DiagonalNormal(5, 2)).double()
    with torch.no_grad():
        guide.family.loc.load_state_dict(oracle.vae.posterior.family.loc.state_dict())
        guide.family.loc.bias[0] += 0.3
        guide.family.scale.weight.zero_()
        guide.family.scale.bias.copy_(raw_positive(0.5 * best_scale(oracle)))
    oracle.vae.posterior = guide
    return known(oracle)


def best_scale(oracle: Any) -> Tensor:
    """Of independent normals: the precision has to agree in its diagonal."""
    return oracle.posterior.precision_matrix[0].diagonal().rsqrt()


def assert_exact(found: PosteriorSample, oracle: Any) -> None:
    """Means and standard deviations are those of p(z | x)."""
    posterior = oracle.posterior
    sd = posterior.variance.sqrt()
    off = (found.mean - posterior.mean) / sd
    ratio = found.sd / sd - 1
    for values in (off, ratio):
        assert values.abs().max() < NOISY
        assert values.mean().abs() < NOISY / DATA**0.5


def test_a_refined_guide_is_the_best_member_of_its_family(diagonal: Any) -> None:
    oracle, posterior = diagonal, diagonal.posterior
    found = local_posterior(oracle.vae, oracle.x.numpy(), refine_steps=150)
    best = MultivariateNormal(posterior.mean, torch.diag_embed(best_scale(oracle).square()))
    expected = oracle.evidence - kl_divergence(best, posterior)
    elbo = found.gain.refined.elbo
    assert (expected - found.gain.encoder.elbo).mean() > 0.5
    torch.testing.assert_close(elbo.mean(), expected.mean(), rtol=0, atol=CONVERGED)
    torch.testing.assert_close(found.mean.double(), posterior.mean, rtol=0, atol=0.1)
    ratio = found.sd.double() / best_scale(oracle)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0, atol=0.1)


def test_a_family_that_holds_the_posterior_reaches_it(shifted: Any) -> None:
    found = local_posterior(shifted.vae, shifted.x.numpy(), refine_steps=300)
    gap = shifted.evidence - found.gain.refined.elbo
    assert (shifted.evidence - found.gain.encoder.elbo).min() > 0.3
    torch.testing.assert_close(gap, torch.zeros_like(gap), rtol=0, atol=CONVERGED)
    assert_exact(found, shifted)


@pytest.mark.parametrize(
    ("resample", "steps", "draws"),
    [("importance", 0, 2000), ("importance", 20, 2000), ("mcmc", 0, 400)],
)
def test_corrected_draws_are_those_of_the_posterior(
    shifted: Any, resample: Any, steps: int, draws: int
) -> None:
    found = local_posterior(
        shifted.vae,
        shifted.x.numpy(),
        refine_steps=steps,
        resample=resample,
        draws=draws,
        computation=EAGER,
    )
    assert_exact(found, shifted)
    drawn = found.resampled()
    assert drawn.shape == (draws, DATA, 2)
    off = (drawn.mean(0) - found.mean) / found.sd
    assert off.abs().max() < (1e-3 if resample == "mcmc" else NOISY)
    total = found.log_weight.logsumexp(0)
    torch.testing.assert_close(total, torch.zeros_like(total))


def test_the_weighted_bound_is_between_elbo_and_evidence(shifted: Any) -> None:
    gain = local_posterior(shifted.vae, shifted.x.numpy(), resample="importance").gain
    assert gain.encoder.elbo.mean() < gain.encoder.log_prob.mean() - 0.3
    torch.testing.assert_close(
        gain.encoder.log_prob.mean(), shifted.evidence.mean(), rtol=0, atol=CONVERGED
    )


def test_nothing_asked_for_changes_no_bit(make_vae: Any, guide_with_density: str) -> None:
    vae = make_vae(guide=guide_with_density).float()
    x = vae.sample(7).numpy()
    found = local_posterior(vae, x)
    assert found.gain.refined is None
    if guide_with_density not in ("iaf", "spline"):  # of these embed has draws, and this means
        assert np.array_equal(found.mean.numpy(), vae.embed(x).astype(np.float32))
    with evaluating(vae):
        local = RefinedPosterior(vae, torch.as_tensor(x))
        z = local.draw_guide(3)
        torch.testing.assert_close(local.log_guide(z), vae.encode(x).log_prob(z).double())


def test_how_data_are_put_together_does_not_matter(diagonal: Any, monkeypatch: Any) -> None:
    x = diagonal.x.numpy()
    at_once = local_posterior(diagonal.vae, x, refine_steps=150)
    monkeypatch.setattr("pyrovae.compute.chunks.CODES", 8 * 16)
    in_parts = local_posterior(diagonal.vae, x, refine_steps=150)
    assert at_once.z.shape == in_parts.z.shape
    torch.testing.assert_close(at_once.mean, in_parts.mean, rtol=0, atol=0.1)
    gains = at_once.gain.refined, in_parts.gain.refined
    torch.testing.assert_close(*(gain.elbo.mean() for gain in gains), rtol=0, atol=CONVERGED)


@pytest.mark.parametrize("options", [{"resample": "importance"}, {"resample": "mcmc"}])
def test_nothing_of_the_caller_changes(
    shifted: Any, options: dict[str, Any], parameters_of: Any
) -> None:
    vae, x = shifted.vae, shifted.x.numpy()
    before, stream = parameters_of(vae), torch.get_rng_state()
    options = {"refine_steps": 5, "draws": 100, "computation": EAGER, **options}
    first = local_posterior(vae, x, **options)
    assert all(torch.equal(value, before[name]) for name, value in vae.named_parameters())
    assert all(p.grad is None and p.requires_grad for p in vae.parameters())
    assert torch.equal(torch.get_rng_state(), stream)
    assert vae.training
    torch.manual_seed(3)
    again = local_posterior(vae, x, **options)
    assert torch.equal(first.z, again.z)
    assert torch.equal(first.resampled(), again.resampled())


def test_where_no_better_guide_is_found_the_encoders_remains(
    make_linear_gaussian: Any, monkeypatch: Any
) -> None:
    oracle = known(make_linear_gaussian("full_rank"))
    monkeypatch.setattr("pyrovae.evaluation.refinement.RATE", 5.0)
    found = local_posterior(oracle.vae, oracle.x.numpy(), refine_steps=1)
    torch.testing.assert_close(found.gain.refined.elbo, oracle.evidence, rtol=0, atol=1e-3)
    assert np.array_equal(found.mean.numpy(), oracle.vae.embed(oracle.x).astype(np.float32))


def test_values_that_are_not_known_have_no_effect(make_vae: Any) -> None:
    vae = make_vae().float()
    x, other = vae.sample(4), vae.sample(4)
    seen = torch.rand(4, 5) < 0.5
    found = []
    for values in (x, torch.where(seen, x, other)):
        batch = Batch(values, {"x_known": seen})
        with evaluating(vae):
            local = RefinedPosterior(vae, batch)
            q = vae.encode(values, seen)
            assert torch.equal(local.free(local.x).base_dist.loc, q.base_dist.loc)
            local.fit(3)
            found.append(local.free(local.x).base_dist.loc)
    assert torch.equal(*found)


def test_an_evaluation_is_of_the_refined_guide(diagonal: Any) -> None:
    encoder = evaluate_pointwise(diagonal.vae, diagonal.x, 400)
    refined = evaluate_pointwise(diagonal.vae, diagonal.x, 400, refine_steps=150)
    assert refined.elbo.mean() > encoder.elbo.mean() + 0.5
    assert refined.elbo.mean() < diagonal.evidence.mean()
    torch.testing.assert_close(refined.elbo, refined.reconstruction - refined.kl)
    torch.testing.assert_close(
        refined.log_prob.mean(), diagonal.evidence.mean(), rtol=0, atol=CONVERGED
    )
    torch.testing.assert_close(refined.gain.refined.elbo, refined.elbo)
    before = refined.gain.encoder.elbo.mean()
    torch.testing.assert_close(before, encoder.elbo.mean(), rtol=0, atol=0.5)
    same = evaluate_pointwise(diagonal.vae, diagonal.x, 400, refine_steps=0)
    assert torch.equal(same.log_prob, encoder.log_prob)


class Classes(Autoencoder):
    """A class y and a number z, of which x is observed: p(y | x) by Bayes' rule."""

    vectorisable = False

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Categorical(x.new_tensor([0.2, 0.8])))
            pyro.sample("x", dist.Normal(self.weight * y.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Categorical(x.new_ones(len(x), 2)))

    def formulas(self) -> Formulas:
        return Formulas("Categorical", "Normal", "Categorical")


def test_classes_get_their_probabilities_by_weights() -> None:
    x = torch.tensor([[-1.0], [0.0], [1.0]])
    found = local_posterior(Classes(), x.numpy(), resample="importance", draws=4000)
    joint = torch.tensor([0.2, 0.8]) * dist.Normal(torch.tensor([0.0, 1.0]), 1.0).log_prob(x).exp()
    expected = (joint / joint.sum(-1, keepdim=True)).unsqueeze(1)
    torch.testing.assert_close(found.sites["y"].probabilities, expected, rtol=0, atol=0.05)
    assert found.mean.flatten().tolist() == expected.argmax(-1).flatten().tolist()
    for options, words in ({"resample": "mcmc"}, "discrete"), ({"refine_steps": 1}, "an encoder"):
        with pytest.raises(SpecError, match=words):
            local_posterior(Classes(), x.numpy(), **options)


def test_what_cannot_be_improved_is_refused(make_vae: Any) -> None:
    vae = make_vae(guide="delta").float()
    x = vae.sample(3).numpy()
    for options in ({"refine_steps": 1}, {"resample": "importance"}):
        with pytest.raises(SpecError, match="is a point"):
            local_posterior(vae, x, **options)
    for options, words in (
        ({"refine_steps": -1}, "refine_steps = -1"),
        ({"refine_steps": 1.5}, "refine_steps = 1.5"),
        ({"draws": 10}, "draws = 10"),
        ({"resample": "importence"}, "did you mean 'importance'"),
    ):
        with pytest.raises(SpecError, match=words):
            local_posterior(vae, x, **options)
    broken = make_vae().float()
    with torch.no_grad():
        broken.posterior.family.loc.bias.fill_(torch.nan)
    with pytest.raises(DataError, match="not finite for 3 data"):
        local_posterior(broken, x)


def test_arviz_gets_the_draws(shifted: Any) -> None:
    x = shifted.x.numpy()
    found = pyrovae.to_arviz(shifted.vae, x, resample="mcmc", draws=100, computation=EAGER)
    z = found["posterior"]["z"]
    assert dict(z.sizes) == {"chain": 4, "draw": 25, "obs": DATA, "latent": 2}
    assert found["posterior"].attrs["sampler"] == "mcmc"
    drawn = local_posterior(shifted.vae, x, resample="importance", draws=100)
    one = pyrovae.to_arviz(drawn)
    assert np.array_equal(one["posterior"]["z"][0], drawn.resampled())
    assert one["posterior"].attrs["sampler"] == "importance"
    with pytest.raises(SpecError, match="converted as it is"):
        pyrovae.to_arviz(drawn, x)
    with pytest.raises(SpecError, match="there are no data"):
        pyrovae.to_arviz(shifted.vae)
    with pytest.raises(SpecError, match="of type ndarray"):
        pyrovae.to_arviz(x)
