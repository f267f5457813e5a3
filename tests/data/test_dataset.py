from __future__ import annotations

import pytest
import torch

from pyrovae.data import Dataset, Splits, from_arrays


@pytest.fixture
def splits() -> Splits:
    x = torch.arange(20 * 4, dtype=torch.uint8).reshape(20, 2, 2)
    return from_arrays(x, torch.arange(20), name="ramp")


def test_batch_is_the_stored_intensity_of_the_row_as_float(splits: Splits) -> None:
    index = torch.tensor([3, 0, 3])
    for split in splits:
        index = index % len(split)
        expected = split.x[split.rows[index]].to(torch.float32)
        assert torch.equal(split.batch(index), expected)
        assert split.batch(index).dtype == torch.float32


def test_labels_follow_their_observations(splits: Splits) -> None:
    for split in splits:
        index = torch.arange(len(split))
        first_pixel = split.batch(index)[:, 0, 0, 0]
        assert torch.equal(split.label(index), (first_pixel / 4).long())


def test_shape_is_the_event_shape(splits: Splits) -> None:
    assert splits.train.shape == torch.Size([1, 2, 2])
    assert splits.train.batch(torch.arange(5)).shape == (5, *splits.train.shape)


def test_first_keeps_the_first_rows(splits: Splits) -> None:
    few = splits.train.first(3)
    assert len(few) == 3
    assert torch.equal(few.batch(torch.arange(3)), splits.train.batch(torch.arange(3)))
    assert len(splits.train.first(10**6)) == len(splits.train)


def test_divisor_rescales_what_the_model_sees() -> None:
    x = torch.tensor([[0], [128], [255]], dtype=torch.uint8)
    split = Dataset("grey", x, torch.arange(3), None, 255.0, divisor=255.0)
    assert split.levels == 1
    assert torch.equal(split.batch(torch.arange(3)), x / 255)


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
    assert torch.equal(moved.train.batch(index).cpu(), splits.train.batch(index))
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
