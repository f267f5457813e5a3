from __future__ import annotations

import numpy as np
import pytest
import torch

from pyrovae.data import from_arrays, from_splits
from pyrovae.errors import DataError

SHAPES = {
    "table": ((20, 5), (5,)),
    "grey images": ((20, 5, 4), (1, 5, 4)),
    "channels last": ((20, 5, 4, 3), (3, 5, 4)),
    "one channel last": ((20, 5, 4, 1), (1, 5, 4)),
    "channels first": ((20, 3, 5, 4), (3, 5, 4)),
    "one channel first": ((20, 1, 5, 4), (1, 5, 4)),
    "both, where the last axis wins": ((20, 1, 5, 3), (3, 1, 5)),
}


@pytest.mark.parametrize(("stored", "event"), SHAPES.values(), ids=SHAPES)
def test_the_number_of_axes_tells_the_event_shape(
    stored: tuple[int, ...], event: tuple[int, ...]
) -> None:
    assert from_arrays(np.ones(stored)).train.shape == event


def test_channels_last_moves_pixels_and_channels_together() -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 3), dtype=np.uint8)
    split = from_arrays(x).train
    for channel in range(3):
        expected = torch.from_numpy(x[..., channel])[split.rows].float()
        assert torch.equal(split.batch(torch.arange(len(split))).x[:, channel], expected)


IMAGE = np.arange(20 * 4).reshape(20, 2, 2)
TYPES = {
    "bool": (IMAGE > 9, torch.uint8, 1),
    "uint8 bits": ((IMAGE > 9).astype(np.uint8), torch.uint8, 1),
    "uint8": (IMAGE.astype(np.uint8), torch.uint8, 255),
    "counts": (IMAGE, torch.float32, 79),
    "no counts at all": (IMAGE * 0, torch.float32, 1),
    "negative integers": (IMAGE - 5, torch.float32, None),
    "floats in the unit interval": (IMAGE / 79, torch.float32, 1),
    "floats beyond it": (IMAGE / 78, torch.float32, None),
    "big-endian": ((IMAGE / 78).astype(">f8"), torch.float32, None),
    "table in the unit interval": (IMAGE[:, 0] / 79, torch.float32, None),
    "half precision": (torch.from_numpy(IMAGE / 79).bfloat16(), torch.float32, 1),
}


@pytest.mark.parametrize(("x", "dtype", "maximum"), TYPES.values(), ids=TYPES)
def test_the_type_tells_storage_and_maximum(
    x: np.ndarray | torch.Tensor, dtype: torch.dtype, maximum: float | None
) -> None:
    for split in from_arrays(x):
        assert split.x.dtype == dtype
        assert split.maximum == maximum == split.levels


def test_a_stated_maximum_is_kept() -> None:
    assert from_arrays(IMAGE % 17, maximum=16.0).train.maximum == 16


def test_a_uint8_tensor_is_used_in_place() -> None:
    x = torch.zeros(20, 3, dtype=torch.uint8)
    assert from_arrays(x).train.x.data_ptr() == x.data_ptr()


def test_read_only_arrays_are_accepted() -> None:
    x = np.ones((20, 3), dtype=np.float32)
    x.flags.writeable = False
    assert len(from_arrays(x).train) == 16


def test_splits_are_a_partition_and_carry_the_name() -> None:
    splits = from_arrays(IMAGE, name="ramp")
    assert torch.equal(torch.cat([s.rows for s in splits]).sort().values, torch.arange(20))
    assert splits.name == splits.test.name == "ramp"


def test_splitting_leaves_the_global_random_stream_untouched() -> None:
    before = torch.get_rng_state()
    from_arrays(IMAGE)
    assert torch.equal(torch.get_rng_state(), before)


def with_value(value: float) -> np.ndarray:
    x = np.zeros((20, 3))
    x[4, 2] = x[7, 0] = value
    return x


WRONG = {
    "NaN": (with_value(np.nan), r"holds 2 values .* observation 4 at \(2,\)"),
    "infinite": (with_value(np.inf), r"holds 2 values .* observation 4"),
    "too large for float32": (with_value(1e300), r"holds 2 values .* single precision"),
    "empty": (np.zeros((0, 8, 8)), "is empty .* at least 10"),
    "no columns": (np.zeros((20, 0)), r"is empty \(shape \(20, 0\)\)"),
    "few": (np.zeros((9, 8, 8)), "holds 9 observations: give at least 10"),
    "one image": (np.zeros((1, 8, 8)), "holds 1 observations: give at least 10"),
    "1-D": (np.zeros(20), r"has shape \(20,\): give a table"),
    "5-D": (np.zeros((20, 1, 2, 2, 2)), r"has shape \(20, 1, 2, 2, 2\)"),
    "0-D": (np.zeros(()), r"has shape \(\)"),
    "four channels": (np.zeros((20, 8, 8, 4)), "with 1 or 3 channels"),
    "objects": (np.full((20, 3), None), "values of type object: give an array of numbers"),
    "words": (np.full((20, 3), "a"), "values of type <U1"),
    "complex": (np.zeros((20, 3), dtype=complex), "values of type complex128"),
}


@pytest.mark.parametrize(("x", "sentence"), WRONG.values(), ids=WRONG)
def test_unusable_values_are_refused_in_one_sentence(x: np.ndarray, sentence: str) -> None:
    with pytest.raises(DataError, match=f"^thing .*{sentence}"):
        from_arrays(x, name="thing")


@pytest.mark.parametrize("maximum", [0.0, -1.0, 78.0])
def test_a_maximum_that_values_exceed_is_refused(maximum: float) -> None:
    with pytest.raises(DataError, match=f"thing has values from 0 to 79, .* maximum {maximum:g}"):
        from_arrays(IMAGE, name="thing", maximum=maximum)


@pytest.mark.parametrize("labels", [np.zeros(19, int), np.zeros(20), np.zeros((20, 1), int)])
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(DataError, match="one integer for each of its 20 observations"):
        from_arrays(IMAGE, labels)


def test_a_split_that_is_there_is_kept() -> None:
    values = np.random.default_rng(0).random((12, 2)).astype("f4")
    parts, classes = np.split(values, [5, 8]), np.split(np.arange(12), [5, 8])
    splits = from_splits(*parts, labels=classes)
    for split, x, labels in zip(splits, parts, classes, strict=True):
        batch = split.batch(torch.arange(len(split)))
        np.testing.assert_array_equal(batch.x, x)
        assert split.labels is not None
        np.testing.assert_array_equal(split.labels[split.rows], labels)
    with pytest.raises(DataError, match=r"validation has shape \(2, 3\)"):
        from_splits(parts[0], np.ones((2, 3)), parts[2])
