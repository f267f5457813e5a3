"""What a model sees of the stored data."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch

from pyrovae import ModelSpec
from pyrovae.data import Splits, binarise, from_arrays, load_data
from pyrovae.data.contract import Contract
from pyrovae.data.dataset import Binarisation
from pyrovae.programs.building import contract
from pyrovae.specs.likelihoods import Interval, LikelihoodSpec
from pyrovae.specs.own import members

INTERVALS: tuple[Any, ...] = get_args(Interval)
BINARISATIONS: tuple[Any, ...] = get_args(Binarisation)
CONTRACTS = [Contract(b, i) for b in BINARISATIONS for i in INTERVALS]


def seen(splits: Splits) -> torch.Tensor:
    torch.manual_seed(0)
    return splits.test.batch(torch.arange(len(splits.test))).x


@pytest.mark.parametrize("agreed", CONTRACTS, ids=str)
def test_a_contract_applied_twice_is_applied_once(agreed: Contract) -> None:
    once = agreed.apply(load_data("digits"))
    twice = agreed.apply(once)
    assert torch.equal(seen(once), seen(twice))
    assert once.test.levels == twice.test.levels


@pytest.mark.parametrize("agreed", CONTRACTS, ids=str)
def test_levels_bound_what_the_model_sees(agreed: Contract) -> None:
    splits = agreed.apply(load_data("digits"))
    open_unit = agreed == Contract(interval="open_unit")
    assert seen(splits).min() == (torch.tensor(0.5 / 17) if open_unit else 0)
    assert seen(splits).max() == torch.tensor(splits.test.levels)


def test_counts_are_what_is_stored() -> None:
    digits = load_data("digits")
    assert torch.equal(seen(Contract().apply(digits)), seen(digits))
    assert Contract().apply(digits).test.levels == 16


def test_the_unit_interval_divides_intensities_by_the_largest() -> None:
    digits = load_data("digits")
    scaled = Contract(interval="unit").apply(digits)
    assert torch.equal(seen(scaled) * 16, seen(digits))
    assert scaled.test.levels == 1


def test_the_open_unit_interval_has_each_level_in_the_middle_of_its_bin() -> None:
    digits = load_data("digits")
    moved = seen(Contract(interval="open_unit").apply(digits))
    edges = torch.linspace(0, 1, 18)  # of 17 levels 0..16
    middles = (edges[1:] + edges[:-1]) / 2
    torch.testing.assert_close(moved, middles[seen(digits).long()])
    assert ((moved > 0) & (moved < 1)).all()


def test_the_lightest_of_many_levels_is_still_inside_the_open_unit_interval() -> None:
    sixteen_bits = from_arrays(np.array([[0, 2**16 - 1]] * 10, dtype=np.uint16))
    moved = seen(Contract(interval="open_unit").apply(sixteen_bits))
    assert ((moved > 0) & (moved < 1)).all()


@pytest.mark.parametrize("binarisation", BINARISATIONS[1:])
@pytest.mark.parametrize("interval", INTERVALS)
def test_bits_are_bits_wherever_grey_levels_go(binarisation: Any, interval: Any) -> None:
    splits = Contract(binarisation, interval).apply(load_data("digits"))
    assert seen(splits).unique().tolist() == [0, 1]
    assert splits.test.levels == 1


@pytest.mark.parametrize("binarisation", BINARISATIONS[1:])
@pytest.mark.parametrize("interval", INTERVALS)
def test_bits_are_the_same_wherever_grey_levels_were_before(
    binarisation: Any, interval: Any
) -> None:
    digits = load_data("digits")
    moved = Contract(interval=interval).apply(digits)
    bits = seen(binarise(moved, binarisation))
    assert torch.equal(bits, seen(binarise(digits, binarisation)))


@pytest.mark.parametrize("interval", INTERVALS)
def test_stored_bits_stay_as_they_are(interval: Any) -> None:
    bits = from_arrays(np.random.default_rng(0).integers(0, 2, (20, 3), dtype=np.uint8))
    assert torch.equal(seen(Contract(interval=interval).apply(bits)), seen(bits))


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("shape", [(20, 3), (20, 8, 8)], ids=["table", "images"])
def test_real_values_are_left_as_they_are(interval: Any, shape: tuple[int, ...]) -> None:
    data = from_arrays(np.random.default_rng(0).uniform(0.01, 0.99, shape))
    assert torch.equal(seen(Contract(interval=interval).apply(data)), seen(data))


INTERVAL_OF = {
    "bernoulli": "counts",
    "binomial": "counts",
    "categorical": "counts",
    "discretized_logistic": "counts",
    "poisson": "counts",
    "negative_binomial": "counts",
    "multinomial": "counts",
    "dirichlet_multinomial": "counts",
    "normal": "unit",
    "laplace": "unit",
    "continuous_bernoulli": "unit",
    "beta": "open_unit",
}


@pytest.mark.parametrize("member", members(LikelihoodSpec)[1:])  # but "auto"
def test_a_likelihood_says_where_it_wants_intensities(member: Any) -> None:
    model = ModelSpec(likelihood=member())
    assert contract(model).interval == INTERVAL_OF[model.likelihood.kind]
