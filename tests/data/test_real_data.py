from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pyrovae.data import binarise, load_data


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_archives_alone_are_enough(name: str, real_data: Path) -> None:
    splits = load_data(name, root=real_data, download=False)
    assert [len(split) for split in splits] == [50_000, 10_000, 10_000]
    assert splits.train.shape == (1, 28, 28)
    assert splits.train.levels == splits.train.x.max() == 255


def test_mnist_keeps_the_official_order(real_data: Path) -> None:
    splits = load_data("mnist", root=real_data, download=False)
    first = torch.arange(5)
    assert splits.train.label(first).tolist() == [5, 0, 4, 1, 9]
    assert splits.test.label(first).tolist() == [7, 2, 1, 0, 4]


def test_statically_binarised_mnist_is_as_white_as_grey_mnist(real_data: Path) -> None:
    grey = load_data("mnist", root=real_data, download=False)
    bits = binarise(grey, "static").test
    index = torch.arange(len(bits))
    p = grey.test.batch(index).x.double() / 255
    standard_error = (p * (1 - p)).sum().sqrt() / p.numel()
    assert (bits.batch(index).x.double().mean() - p.mean()).abs() <= 5 * standard_error


def test_one_array_of_an_archive_is_read_by_its_key(real_data: Path) -> None:
    file = real_data / "omniglot" / "omniglot_28_box_uint8.npz"
    splits = load_data(f"{file}:background_images")
    assert sum(len(split) for split in splits) == 19_280
    assert splits.train.shape == (1, 28, 28)


@pytest.mark.slow
def test_dsprites_are_read_into_one_store(real_data: Path) -> None:
    splits = load_data("dsprites", root=real_data, download=False)
    assert [len(split) for split in splits] == [589_824, 73_728, 73_728]
    assert splits.train.x is splits.validation.x is splits.test.x
    assert splits.train.levels == 1
    assert splits.train.labels is not None
    assert splits.train.labels.unique(return_counts=True)[1].tolist() == [245_760] * 3
    known = splits.train.factors
    assert known is not None
    assert [len(column.unique()) for column in known.classes.T] == [3, 6, 40, 32, 32]
    assert len(known.classes.unique(dim=0)) == 737_280  # every combination, once
    x = splits.train.x[:, 0]
    centred = [x[known.classes[:, 3] == place].any(0).any(0).nonzero() for place in (0, 31)]
    assert centred[0].max() < 32 <= centred[1].max()  # from left to right
    assert binarise(splits, "static") is splits
