from __future__ import annotations

import pytest
import torch

from pyrovae.data.splitting import Rows, official_rows, permuted_rows


def is_partition(rows: Rows, n: int) -> bool:
    return torch.equal(torch.cat(rows).sort().values, torch.arange(n))


@pytest.mark.parametrize("n", [10, 11, 19, 20, 21, 100, 1797])
def test_permuted_rows_are_a_partition_without_empty_parts(n: int) -> None:
    rows = permuted_rows(n)
    assert is_partition(rows, n)
    assert all(len(part) > 0 for part in rows)


def test_a_tenth_each_is_kept_for_validation_and_test() -> None:
    assert [len(part) for part in permuted_rows(1000)] == [800, 100, 100]


def test_rows_are_the_same_whatever_the_global_seed() -> None:
    first = permuted_rows(50)
    torch.manual_seed(1)
    assert all(torch.equal(a, b) for a, b in zip(first, permuted_rows(50), strict=True))


def test_official_rows_keep_the_test_set_and_the_order() -> None:
    labels = torch.tensor([1, 0]).repeat(30)
    rows = official_rows(labels, tests=10)
    assert torch.equal(torch.cat(rows), torch.arange(70))
    assert [len(part) for part in rows] == [50, 10, 10]


def test_a_training_set_sorted_by_class_is_permuted_first() -> None:
    labels = torch.arange(60).div(10, rounding_mode="floor")
    rows = official_rows(labels, tests=10)
    assert is_partition(rows, 70)
    assert torch.equal(rows.test, torch.arange(60, 70))
    assert len(labels[rows.validation].unique()) > 1
    assert len(labels[rows.train].unique()) == 6
