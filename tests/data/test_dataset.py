from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pyrovae.data import Dataset, Splits, binarise, from_arrays


@pytest.fixture
def splits() -> Splits:
    x = torch.arange(20 * 4, dtype=torch.uint8).reshape(20, 2, 2)
    return from_arrays(x, torch.arange(20), name="ramp")


def test_batch_is_the_stored_intensity_of_the_row_as_float(splits: Splits) -> None:
    index = torch.tensor([3, 0, 3])
    for split in splits:
        index = index % len(split)
        expected = split.x[split.rows[index]].to(torch.float32)
        assert torch.equal(split.batch(index).x, expected)
        assert split.batch(index).x.dtype == torch.float32


def test_labels_follow_their_observations(splits: Splits) -> None:
    for split in splits:
        index = torch.arange(len(split))
        first_pixel = split.batch(index).x[:, 0, 0, 0]
        assert torch.equal(split.label(index), (first_pixel / 4).long())


def test_shape_is_the_event_shape(splits: Splits) -> None:
    assert splits.train.shape == torch.Size([1, 2, 2])
    assert splits.train.batch(torch.arange(5)).x.shape == (5, *splits.train.shape)


def test_first_keeps_the_first_rows(splits: Splits) -> None:
    few = splits.train.first(3)
    assert len(few) == 3
    assert torch.equal(few.batch(torch.arange(3)).x, splits.train.batch(torch.arange(3)).x)
    assert len(splits.train.first(10**6)) == len(splits.train)


def test_divisor_rescales_what_the_model_sees() -> None:
    x = torch.tensor([[0], [128], [255]], dtype=torch.uint8)
    split = Dataset("grey", x, torch.arange(3), None, 255.0, divisor=255.0)
    assert split.levels == 1
    assert torch.equal(split.batch(torch.arange(3)).x, x / 255)


def test_the_mean_is_that_of_what_the_model_sees(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrovae.data.sources.CHUNK", 3)  # the last chunk is a smaller one
    for split in splits:
        moved = replace(split, offset=0.5, divisor=80.0)
        for seen in (split, replace(split, divisor=255.0), moved, split.first(2)):
            batch = seen.batch(torch.arange(len(seen))).x.double()
            assert seen.mean().shape == seen.shape
            torch.testing.assert_close(seen.mean(), batch.mean(0), rtol=1e-12, atol=0)


def test_the_mean_of_dynamic_bits_is_their_probability_and_draws_nothing(splits: Splits) -> None:
    bits = replace(splits.train, binarisation="dynamic", maximum=100.0)
    before = torch.get_rng_state()
    mean = bits.mean()
    assert torch.equal(torch.get_rng_state(), before)
    expected = splits.train.x[splits.train.rows].double().mean(0) / 100
    torch.testing.assert_close(mean, expected, rtol=1e-6, atol=0)  # intensities are float32


def test_the_mean_is_summed_without_losing_small_numbers_beside_large_ones() -> None:
    x = torch.tensor([2.0**24, 1.0, 1.0, -(2.0**24)])[:, None]  # float32 ends at 2^24 + 0
    for order in ([0, 1, 2, 3], [1, 0, 3, 2], [3, 1, 2, 0]):
        rows = Dataset("large and small", x, torch.tensor(order), None, None)
        assert rows.mean().item() == 0.5


def test_moving_splits_keeps_their_store_shared(splits: Splits) -> None:
    moved = splits.to("meta")
    assert moved.train.x.device.type == moved.train.rows.device.type == "meta"
    assert moved.train.x is moved.validation.x is moved.test.x
    assert moved.train.labels is moved.test.labels


def test_moving_a_split_moves_every_tensor(splits: Splits) -> None:
    moved = splits.train.to("meta")
    devices = {tensor.device.type for tensor in (moved.x, moved.rows, moved.labels)}
    assert devices == {"meta"}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_are_made_on_the_device_of_the_data(splits: Splits) -> None:
    moved = splits.to("cuda")
    index = torch.arange(4)
    assert torch.equal(moved.train.batch(index).x.cpu(), splits.train.batch(index).x)
    assert moved.fingerprint() == splits.fingerprint()


def test_fingerprint_is_the_same_for_the_same_data(splits: Splits) -> None:
    own_store = Splits(*(split.changed(torch.clone) for split in splits))
    assert len(splits.fingerprint()) == 64
    assert own_store.fingerprint() == splits.fingerprint()


@pytest.mark.parametrize("what", ["x", "labels", "rows"])
def test_fingerprint_sees_one_changed_value(splits: Splits, what: str) -> None:
    before = splits.fingerprint()
    getattr(splits.test, what)[-1] += 1
    assert splits.fingerprint() != before


def test_fingerprint_sees_missing_labels(splits: Splits) -> None:
    bare = from_arrays(splits.train.x, name="ramp")
    assert bare.fingerprint() != splits.fingerprint()


def test_known_factors_are_shared_and_move_with_their_observations() -> None:
    x = torch.arange(20 * 4, dtype=torch.uint8).reshape(20, 2, 2)
    factors = torch.stack([torch.arange(20), torch.arange(20) % 4], 1)
    splits = from_arrays(x, factors=factors)
    bits = Splits(*(split.first(5) for split in binarise(splits, "static")))
    for split in (*splits, *bits):
        assert split.factors is not None
        assert torch.equal(split.factors.classes, factors)
        assert split.factors.classes is splits.train.factors.classes
    for split in splits.to("meta"):
        assert split.factors is not None
        assert split.factors.classes.device == split.x.device


def test_known_factors_are_no_part_of_the_data_that_a_model_is_fitted_to() -> None:
    x = torch.arange(20 * 4, dtype=torch.uint8).reshape(20, 2, 2)
    with_factors = from_arrays(x, factors=torch.zeros(20, 1, dtype=torch.long))
    assert with_factors.fingerprint() == from_arrays(x).fingerprint()
    assert from_arrays(x).train.factors is None
