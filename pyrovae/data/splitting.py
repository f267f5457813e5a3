"""Split into training, validation and test data, the same in every run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.dataset import Dataset, KnownFactors, Splits
from pyrovae.data.sources import Source
from pyrovae.data.values import Array

SEED = 0
"""Fixed, and independent of a run's seed, so that every run has the same test data."""


class Rows(NamedTuple):
    """Indices into the store, ``(n,)`` int64 each; together a partition of it."""

    train: Tensor
    validation: Tensor
    test: Tensor


def permutation(n: int) -> Tensor:
    """Fixed permutation of ``n`` rows that leaves the global random stream untouched."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(SEED))


def permuted_rows(n: int, *, validation_tenths: int = 1, test_tenths: int = 1) -> Rows:
    """Permuted parts of ``n`` rows for data without an official test set, rounded up."""
    validations = math.ceil(n * validation_tenths / 10)
    tests = math.ceil(n * test_tenths / 10)
    return Rows(*torch.split(permutation(n), [n - validations - tests, validations, tests]))


def official_rows(train_labels: Tensor, tests: int) -> Rows:
    """Rows of a training set followed by an official test set of ``tests`` observations.

    The last sixth of the training set is for validation. A training set sorted by class is
    permuted first, else its last classes would never be fitted.

    Args:
        train_labels: Classes of the training set in its order, ``(n,)``.
        tests: Size of the official test set.
    """
    n = len(train_labels)
    is_sorted = bool((train_labels.diff() >= 0).all())
    order = permutation(n) if is_sorted else torch.arange(n)
    train, validation = torch.split(order, [n - n // 6, n // 6])
    return Rows(train, validation, torch.arange(n, n + tests))


def fraction_rows(n: int, fractions: Sequence[float]) -> Rows:
    """Permuted parts of ``n`` rows in these shares; validation and test are rounded up."""
    validations, tests = (math.ceil(n * share - 1e-6) for share in fractions[1:])
    sizes = [max(n - validations - tests, 0), validations, tests]
    return Rows(*permutation(n).split([*sizes[:2], n - sum(sizes[:2])]))


def balanced_rows(
    n: int, fractions: Sequence[float], groups: Array | None, classes: Array | None
) -> Rows:
    """Permuted parts in which no group is divided, and each class has about these shares.

    The largest groups are placed first, and each where its classes lack the most rows. Without
    groups, every class is within one row of its share in every part.

    Args:
        n: Number of rows.
        fractions: Shares of the parts.
        groups: Group of each row, an integer from 0 on; by default each row is its own.
        classes: Class of each row, likewise; by default all are of one.
    """
    order = permutation(n).numpy()
    group = np.arange(n) if groups is None else groups
    kind = np.zeros(n, int) if classes is None else classes
    counts = np.zeros((group.max() + 1, kind.max() + 1))
    np.add.at(counts, (group, kind), 1)
    missing = np.outer(fractions, counts.sum(0))
    drawn = dict.fromkeys(group[order].tolist())  # in permuted order, which breaks ties
    part = np.empty(len(counts), int)
    for each in sorted(drawn, key=lambda g: -counts[g].sum()):
        part[each] = (missing @ counts[each]).argmax()
        missing[part[each]] -= counts[each]
    return Rows(*(torch.from_numpy(order[part[group[order]] == p]) for p in range(3)))


def split(
    name: str,
    x: Tensor | Source,
    labels: Tensor | None,
    *,
    rows: Rows,
    maximum: float | None,
    factors: KnownFactors | None = None,
    variables: Mapping[str, Tensor] | None = None,
    columns: tuple[str, ...] = (),
) -> Splits:
    """Three views of one store ``x`` of shape ``(stored, *shape)``.

    Labels are the variable ``y`` as well, unless there is another of that name.
    """
    known = {**({} if labels is None else {"y": labels}), **(variables or {})}
    whole = Dataset(
        name, x, rows.train, labels, maximum, factors=factors, variables=known, columns=columns
    )
    return Splits(*(replace(whole, rows=part) for part in rows))
