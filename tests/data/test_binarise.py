from __future__ import annotations

import inspect
import math
from typing import get_args

import numpy as np
import pytest
import torch

from pyrovae.data import Splits, binarise, from_arrays, load_data
from pyrovae.data.dataset import Binarisation
from pyrovae.data.sources import CHUNK
from pyrovae.errors import DataError

KINDS: tuple[Binarisation, ...] = get_args(Binarisation)
BINARY_KINDS = tuple(kind for kind in KINDS if kind != "none")


@pytest.fixture
def grey() -> Splits:
    return load_data("digits")


def whole(splits: Splits) -> torch.Tensor:
    return splits.train.batch(torch.arange(len(splits.train))).x


def test_none_returns_the_data_as_they_are(grey: Splits) -> None:
    assert binarise(grey, "none") is grey


@pytest.mark.parametrize("kind", BINARY_KINDS)
def test_the_model_sees_bits(grey: Splits, kind: Binarisation) -> None:
    binary = binarise(grey, kind)
    assert binary.train.binarisation == kind
    assert binary.train.levels == 1
    assert set(whole(binary).unique().tolist()) == {0, 1}


@pytest.mark.parametrize("kind", BINARY_KINDS)
def test_rows_and_labels_stay(grey: Splits, kind: Binarisation) -> None:
    for before, after in zip(grey, binarise(grey, kind), strict=True):
        assert after.rows is before.rows
        assert after.labels is before.labels


@pytest.mark.parametrize("kind", BINARY_KINDS)
def test_a_shared_store_stays_shared(grey: Splits, kind: Binarisation) -> None:
    binary = binarise(grey, kind)
    assert binary.train.x is binary.validation.x is binary.test.x
    assert binary.train.x.dtype == torch.uint8


@pytest.mark.parametrize("kind", KINDS)
def test_binarising_twice_is_binarising_once(grey: Splits, kind: Binarisation) -> None:
    once = binarise(grey, kind)
    twice = binarise(once, kind)
    assert twice.train.binarisation == once.train.binarisation
    assert torch.equal(twice.train.x, once.train.x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float32])
def test_bits_pass_through_unchanged(kind: Binarisation, dtype: type) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (20, 3, 3)).astype(dtype)
    splits = from_arrays(bits)
    assert binarise(splits, kind) is splits


def test_threshold_sets_the_upper_half(grey: Splits) -> None:
    assert torch.equal(whole(binarise(grey, "threshold")), (whole(grey) >= 8).float())


def test_mean_of_dynamic_draws_is_the_intensity(grey: Splits) -> None:
    few = torch.arange(4)
    split = binarise(grey, "dynamic").train
    draws = 4000
    mean = torch.stack([split.batch(few).x for _ in range(draws)]).double().mean(0)
    p = grey.train.batch(few).x.double() / 16
    # each of 256 pixels is a mean of independent bits: 5 standard errors fail once in 10 000 runs
    assert ((mean - p).abs() <= 5 * (p * (1 - p) / draws).sqrt()).all()


def test_dynamic_draws_follow_the_global_seed(grey: Splits) -> None:
    split = binarise(grey, "dynamic").train
    index = torch.arange(50)
    torch.manual_seed(1)
    first, second = split.batch(index).x, split.batch(index).x
    torch.manual_seed(1)
    assert torch.equal(split.batch(index).x, first)
    assert not torch.equal(first, second)


def test_static_bits_are_the_same_in_every_run(grey: Splits) -> None:
    first = binarise(grey, "static")
    torch.manual_seed(1)
    assert binarise(grey, "static").fingerprint() == first.fingerprint()


def test_static_bits_have_the_mean_of_the_intensities(grey: Splits) -> None:
    p = whole(grey).double() / 16
    bits = whole(binarise(grey, "static")).double()
    standard_error = math.sqrt(float((p * (1 - p)).sum())) / p.numel()
    assert abs(float(bits.mean() - p.mean())) <= 5 * standard_error


def test_static_chunks_are_drawn_independently() -> None:
    grey = from_arrays(np.full((2 * CHUNK, 4), 128, dtype=np.uint8))
    first, second = binarise(grey, "static").train.x.split(CHUNK)
    agreement = float((first == second).double().mean())
    assert abs(agreement - 0.5) <= 5 * 0.5 / math.sqrt(first.numel())


def test_black_stays_black_and_white_stays_white() -> None:
    x = np.zeros((100, 2), dtype=np.uint8)
    x[:, 1] = 255
    for kind in BINARY_KINDS:
        bits = whole(binarise(from_arrays(x), kind))
        assert torch.equal(bits, torch.tensor([0.0, 1.0]).expand(len(bits), 2))


def test_binarising_leaves_the_global_random_stream_untouched(grey: Splits) -> None:
    before = torch.get_rng_state()
    for kind in KINDS:
        binarise(grey, kind)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", BINARY_KINDS)
def test_real_values_have_no_bits(kind: Binarisation) -> None:
    splits = from_arrays(np.random.default_rng(0).normal(size=(20, 3)), name="heights")
    with pytest.raises(DataError, match=rf'"{kind}" of heights needs .* choose "none"'):
        binarise(splits, kind)


def test_an_unknown_kind_is_refused_with_the_choice(grey: Splits) -> None:
    with pytest.raises(DataError, match=r'"bernoulli" is unknown: .* dynamic, static'):
        inspect.unwrap(binarise)(grey, "bernoulli")  # without the tests' own check of types
