"""The bound and log p(x) of each datum, where both are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from pyrovae.data import Batch, Dataset
from pyrovae.errors import DataError
from pyrovae.evaluation.evidence import log_evidence
from pyrovae.evaluation.importance import standard_error
from pyrovae.evaluation.pointwise import evaluate_pointwise, measure

EXACT = 1e-10


class Data(Dataset):
    """Rows in float64, as they are."""

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.x[index])


@torch.no_grad()
def widen(vae: Any) -> None:
    vae.posterior.family.scale.bias += 0.3


@pytest.mark.parametrize("prior", ["normal", "mixture"])
@pytest.mark.parametrize("vectorisable", [True, False])
def test_from_the_exact_guide_both_are_known(
    make_linear_gaussian: Any, prior: str, vectorisable: bool
) -> None:
    oracle = make_linear_gaussian("full_rank", prior, data=9)
    oracle.vae.vectorisable = vectorisable
    found = evaluate_pointwise(oracle.vae, oracle.x, 700)
    torch.testing.assert_close(found.log_prob, oracle.evidence, rtol=0, atol=EXACT)
    torch.testing.assert_close(found.effective_samples, torch.full((9,), 700.0).double())
    torch.testing.assert_close(found.rise, torch.zeros(9).double(), rtol=0, atol=EXACT)
    torch.testing.assert_close(found.elbo, found.reconstruction - found.kl)
    exact = kl_divergence(oracle.posterior, oracle.posterior.__class__(
        torch.zeros(2).double(), torch.eye(2).double()
    ))  # fmt: skip
    if prior == "normal":
        assert found.kl_kind == "exact"
        torch.testing.assert_close(found.kl, exact)
    else:  # all of it is a mean of log w, each of which is log p(x)
        assert found.kl_kind == "sampled"
        torch.testing.assert_close(found.elbo, oracle.evidence, rtol=0, atol=EXACT)
        assert not torch.equal(found.kl, exact)
        torch.testing.assert_close(found.kl, exact, rtol=0, atol=0.5)


def test_the_bound_is_lower_by_the_divergence_from_the_posterior(
    make_linear_gaussian: Any, z_score: Any
) -> None:
    oracle = make_linear_gaussian("diagonal", data=400)
    widen(oracle.vae)
    found = evaluate_pointwise(oracle.vae, oracle.x, 50)
    with torch.no_grad():
        q = oracle.vae.posterior(oracle.x).base_dist
        p = Normal(oracle.posterior.mean, oracle.posterior.variance.sqrt())
        gap = kl_divergence(q, p).sum(-1)
    assert z_score(oracle.evidence - found.elbo - gap, 0.0) < 5
    # Twice the codes, half the gap: what the estimate has risen by is what it still lacks.
    missing = oracle.evidence - found.log_prob
    assert z_score(found.rise - missing, 0.0) < 5
    assert found.rise.mean() > 5 * standard_error(found.rise)
    assert (found.rise > 0).all()  # the logarithm is concave


def test_it_agrees_with_the_evidence(make_vae: Any, z_score: Any) -> None:
    vae = make_vae()
    x = vae.sample(300)
    found = evaluate_pointwise(vae, x, 100)
    again = log_evidence(vae, Data("bits", x, torch.arange(300), None, None), 100)
    assert z_score(found.log_prob - again.log_prob, 0.0) < 5
    assert z_score(found.effective_samples - again.effective_samples, 0.0) < 5
    assert not torch.equal(found.log_prob, again.log_prob)


def test_every_pair_of_parts_can_be_judged(make_vae: Any, covering_pair: tuple[str, str]) -> None:
    vae = make_vae(*covering_pair)
    x = vae.sample(3)
    found = evaluate_pointwise(vae, x, 20)
    assert found.elbo.isfinite().all()
    assert found.point == (covering_pair[1] == "delta")
    if found.point:
        with torch.no_grad():
            z = vae.posterior(x).mean
            joint = vae.prior(vae.posterior).log_prob(z) + vae.decode(z).log_prob(x)
        torch.testing.assert_close(found.elbo, joint)
        assert found.log_prob.isnan().all()
    else:
        assert (found.log_prob < 0).all()  # a probability
        assert torch.equal(evaluate_pointwise(vae, x, 20).log_prob, found.log_prob)


def test_the_standard_error_of_signs_is_one_over_the_root_of_all_but_one() -> None:
    for count in (2, 10, 400):
        signs = torch.ones(count).double()
        signs[::2] = -1
        torch.testing.assert_close(
            standard_error(torch.stack([signs, 3 * signs])),
            torch.tensor([1.0, 3.0]).double() / (count - 1) ** 0.5,
        )
    assert standard_error(torch.ones(1)).isnan()


def test_probabilities_are_told_from_densities(make_vae: Any, likelihood: dict[str, Any]) -> None:
    vae = make_vae(likelihood=likelihood)
    continuous = {"normal", "laplace", "beta", "continuous_bernoulli"}
    expected = "densities" if likelihood["kind"] in continuous else "probabilities"
    if "multinomial" in likelihood["kind"]:
        expected = "probabilities given the total of a row"
    assert measure(vae, Batch(vae.sample(2))) == expected


def test_data_without_density_are_named(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=7)
    x = oracle.x.clone()
    x[5] = torch.inf
    with pytest.raises(DataError, match=r"not finite for 1 data \(number 5\)"):
        evaluate_pointwise(oracle.vae, x, 5)
