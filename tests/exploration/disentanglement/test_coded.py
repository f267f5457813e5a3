from __future__ import annotations

import numpy as np
import pytest
import torch

from pyrovae.errors import DataError
from pyrovae.exploration.disentanglement import beta_vae, dci, factor_vae, mig, sap
from pyrovae.exploration.disentanglement.latents_with_factors import Array, coded

SCORES = [mig, dci, sap, factor_vae, beta_vae]


def test_parts_do_not_overlap(grid: Array, random: np.random.Generator) -> None:
    numbers = np.arange(len(grid))[:, None]
    train, test = coded(numbers, grid).halves(random, 100, 50)
    assert (len(train.codes), len(test.codes)) == (100, 50)
    assert len(np.unique(np.vstack([train.codes, test.codes]))) == 150
    few = coded(numbers[:90], grid[:90]).halves(random, 100, 50)
    assert [len(part.codes) for part in few] == [60, 30]
    for part in (train, test, *few):
        assert (part.factors == grid[part.codes[:, 0].astype(int)]).all()


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.__name__)
@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.zeros(90), np.zeros((90, 2), int), r"codes of shape \(90,\) and factors .* do not"),
        (np.zeros((90, 2)), np.zeros((80, 2), int), r"do not go together: give \(data, dims\)"),
        (np.zeros((90, 0)), np.zeros((90, 2), int), r"do not go together"),
        (np.zeros((49, 2)), np.zeros((49, 2), int), "49 data are too few .* at least 50"),
        (np.full((90, 2), np.nan), np.zeros((90, 2), int), "codes of 90 of 90 data are not fin"),
        (np.zeros((90, 2)), np.zeros((90, 2)), "type float64: give the class as an integer"),
        (np.zeros((90, 2)), np.zeros((90, 2), int), "no factor takes more than one value"),
        (np.zeros((90, 2)), np.tile(np.arange(90), (2, 1)).T, "factor 1 takes 90 .* group its"),
    ],
)
def test_what_cannot_be_measured_is_refused(score, codes, factors, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score(codes, factors)


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.__name__)
@pytest.mark.parametrize("dims", [1, 3])
def test_few_data_and_rare_values_are_measured(score, dims: int) -> None:
    random = np.random.default_rng(0)
    factors = np.stack([np.arange(60) % 2, np.arange(60) == 59, np.zeros(60)], 1).astype(int)
    for seed in range(3):  # the rare value may be in either part
        found = score(random.normal(size=(60, dims)), factors, seed=seed)
        first = found if isinstance(found, float) else found[0]
        assert 0 <= first <= 1


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.__name__)
def test_tensors_in_single_precision_do_as_well(score, perfect: Array, grid: Array) -> None:
    found = score(torch.from_numpy(perfect).float(), torch.from_numpy(grid))
    assert (found if isinstance(found, float) else found[0]) > 0.2


@pytest.mark.parametrize("score", [dci, factor_vae, beta_vae], ids=lambda s: s.__name__)
def test_a_single_factor_is_no_question(score, perfect: Array, grid: Array) -> None:
    found = score(perfect, grid[:, :1])
    assert np.isnan(found if isinstance(found, float) else found[0])
