"""Divergence of guide and posterior on simulated data, where it is known in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributions import kl_divergence

from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.evaluation.divergence import divergence
from pyrovae.parts.families import DeltaFamily


def test_an_exact_guide_has_none(make_linear_gaussian: Any) -> None:
    vae = make_linear_gaussian().vae
    found = divergence(vae, Batch.of(vae.sample(10)), 100)
    assert abs(found.nats) < 1e-10
    assert found.error < 1e-10


def test_it_is_the_sum_of_both_kls(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    with torch.no_grad():
        oracle.vae.posterior.family.loc.bias += 0.1
        oracle.vae.posterior.family.scale.bias += 0.4
        q, p = oracle.vae.encode(oracle.x), oracle.posterior
    # The same for all data, since the guide is off by a constant.
    expected = (kl_divergence(q, p) + kl_divergence(p, q))[0].item()
    found = divergence(oracle.vae, Batch.of(oracle.x), 4000)
    assert abs(found.nats - expected) < 4 * found.error
    assert found.error < 0.1 * expected


def test_it_bounds_the_gap_of_data_from_the_model(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    with torch.no_grad():
        oracle.vae.posterior.family.scale.bias -= 0.5
        gap = kl_divergence(oracle.vae.encode(oracle.x), oracle.posterior)[0].item()
    found = divergence(oracle.vae, Batch.of(oracle.x), 4000)
    assert gap < found.nats - 4 * found.error


def test_a_point_is_refused(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    oracle.vae.posterior.family = DeltaFamily(5, 2).double()
    with pytest.raises(SpecError, match="point"):
        divergence(oracle.vae, Batch.of(oracle.x))
