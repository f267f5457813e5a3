"""What a model sees of the stored data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyrovae import ModelSpec
from pyrovae.building import contract
from pyrovae.data import Splits, from_arrays, load_data
from pyrovae.data.contract import Contract

CONTRACTS = [
    Contract(binarisation, unit_interval)
    for binarisation in ("none", "threshold", "dynamic", "static")
    for unit_interval in (False, True)
]


def seen(splits: Splits) -> torch.Tensor:
    torch.manual_seed(0)
    return splits.test.batch(torch.arange(len(splits.test)))


@pytest.mark.parametrize("agreed", CONTRACTS, ids=str)
def test_a_contract_applied_twice_is_applied_once(agreed: Contract) -> None:
    once = agreed.apply(load_data("digits"))
    twice = agreed.apply(once)
    assert torch.equal(seen(once), seen(twice))
    assert once.test.levels == twice.test.levels


@pytest.mark.parametrize("agreed", CONTRACTS, ids=str)
def test_levels_bound_what_the_model_sees(agreed: Contract) -> None:
    splits = agreed.apply(load_data("digits"))
    assert seen(splits).min() == 0
    assert seen(splits).max() == splits.test.levels


def test_the_unit_interval_divides_intensities_by_the_largest() -> None:
    digits = load_data("digits")
    scaled = Contract(unit_interval=True).apply(digits)
    assert torch.equal(seen(scaled) * 16, seen(digits))
    assert scaled.test.levels == 1


def test_real_values_are_left_as_they_are() -> None:
    table = from_arrays(np.random.default_rng(0).normal(size=(20, 3)))
    assert torch.equal(seen(Contract(unit_interval=True).apply(table)), seen(table))


@pytest.mark.parametrize(
    ("kind", "wanted"), [("normal", True), ("binomial", False), ("bernoulli", False)]
)
def test_a_likelihood_of_real_values_sees_the_unit_interval(kind: str, wanted: bool) -> None:
    model = ModelSpec.model_validate({"likelihood": {"kind": kind}})
    assert contract(model).unit_interval is wanted
