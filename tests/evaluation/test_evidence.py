"""log p(x) by importance sampling, where log p(x) is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pyrovae import VAE
from pyrovae.data import Batch, Dataset
from pyrovae.errors import SpecError
from pyrovae.evaluation.evidence import log_evidence

EXACT = 1e-10


class Data(Dataset):
    """Rows in float64, as they are."""

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.x[index])


def as_data(x: Tensor) -> Dataset:
    return Data("linear", x, torch.arange(len(x)), None, None)


def widen(vae: VAE) -> None:
    with torch.no_grad():
        vae.posterior.family.scale.bias += 0.3


@pytest.mark.parametrize("samples", [1, 3, 5000])
@pytest.mark.parametrize("vectorisable", [True, False])
def test_from_the_exact_guide_every_estimate_is_the_evidence(
    make_linear_gaussian: Any, samples: int, vectorisable: bool
) -> None:
    oracle = make_linear_gaussian("full_rank", data=23)
    oracle.vae.vectorisable = vectorisable
    evidence = log_evidence(oracle.vae, as_data(oracle.x), samples)
    torch.testing.assert_close(evidence.log_prob, oracle.evidence, rtol=0, atol=EXACT)
    expected = torch.full_like(evidence.log_prob, samples)
    torch.testing.assert_close(evidence.effective_samples, expected)


@pytest.mark.parametrize("vectorisable", [True, False])
def test_from_another_guide_it_comes_to_the_evidence(
    make_linear_gaussian: Any, vectorisable: bool
) -> None:
    oracle = make_linear_gaussian("full_rank", data=23)
    widen(oracle.vae)
    oracle.vae.vectorisable = vectorisable
    evidence = log_evidence(oracle.vae, as_data(oracle.x), 20_000)
    assert (evidence.effective_samples < 19_000).all()
    # By the delta method, the error of a logarithm of a mean of weights.
    error = (1 / evidence.effective_samples - 1 / 20_000).sqrt()
    assert ((evidence.log_prob - oracle.evidence).abs() < 5 * error).all()


@pytest.mark.parametrize("codes", [1, 7, 100, 10_000])
def test_chunks_of_any_size_take_every_sample_and_every_datum(
    make_linear_gaussian: Any, monkeypatch: pytest.MonkeyPatch, codes: int
) -> None:
    oracle = make_linear_gaussian("full_rank", data=11)
    monkeypatch.setattr("pyrovae.compute.chunks.CODES", codes)
    monkeypatch.setattr("pyrovae.compute.chunks.PER_DATUM", 25)
    evidence = log_evidence(oracle.vae, as_data(oracle.x), 33)
    torch.testing.assert_close(evidence.log_prob, oracle.evidence, rtol=0, atol=EXACT)
    assert evidence.effective_samples.tolist() == pytest.approx([33.0] * 11)


def test_it_is_the_same_each_time_and_changes_nothing(make_vae: Any, parameters_of: Any) -> None:
    vae = make_vae("vamp", "full_rank")
    vae.train()
    data = as_data(vae.sample(5))
    parameters, stream = parameters_of(vae), torch.get_rng_state()
    first, second = (log_evidence(vae, data, 50) for _ in range(2))
    assert torch.equal(first.log_prob, second.log_prob)
    assert torch.equal(torch.get_rng_state(), stream)
    assert vae.training
    for name, value in parameters_of(vae).items():
        assert torch.equal(value, parameters[name])


def test_many_samples_are_a_tighter_bound(make_vae: Any) -> None:
    vae = make_vae("vamp", "iaf")
    data = as_data(vae.sample(300))
    one, many = (log_evidence(vae, data, samples).log_prob.mean() for samples in (1, 500))
    assert one < many


def test_a_point_cannot_be_sampled_from(make_vae: Any) -> None:
    vae = make_vae(guide="delta")
    with pytest.raises(SpecError, match=r"importance sampling cannot work.*is a point"):
        log_evidence(vae, as_data(vae.sample(5)), 10)
