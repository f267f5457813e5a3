"""Data in which some classes are rare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from pyrovae.data.dataset import Dataset, Splits
from pyrovae.data.examples import classes as classes_of
from pyrovae.errors import DataError


def thin(data: Splits, classes: Sequence[int], keep: float) -> Splits:
    """Make some classes rare.

    Args:
        data: Splits with labels.
        classes: Classes of which only few training and validation data are kept, always the same
            ones. The test data stay as they are.
        keep: Fraction kept of each, 0 to 1.

    Raises:
        DataError: No labels, a class that is not there, or one of which nothing would be left.
    """
    labels = classes_of(data.train, torch.arange(len(data.train)))
    if labels is None:
        raise DataError(f"{data.name} has no labels, and no class of it can be made rare")
    for label in classes:
        count = int((labels == label).sum())
        if count == 0:
            known = ", ".join(map(str, labels.unique().tolist()))
            raise DataError(f"{data.name} has no class {label} to make rare; it has {known}")
        if not 0 < keep <= 1 or round(keep * count) < 1:
            raise DataError(
                f"keeping {keep:g} of the {count} training data of class {label} in {data.name} "
                f"would leave none, or more than there are; choose {1 / count:.2g} to 1"
            )
    cut = Splits(
        _thinned(data.train, classes, keep), _thinned(data.validation, classes, keep), data.test
    )
    if not len(cut.validation):
        raise DataError(f"keeping {keep:g} would leave no validation data in {data.name}")
    return cut


def _thinned(data: Dataset, classes: Sequence[int], keep: float) -> Dataset:
    labels = classes_of(data, torch.arange(len(data)))
    if labels is None:
        return data
    kept = torch.ones(len(data)).bool()
    for label in classes:
        members = (labels == label).nonzero()[:, 0]
        mixed = members[torch.randperm(len(members), generator=torch.Generator().manual_seed(0))]
        kept[mixed[round(keep * len(members)) :]] = False
    return replace(data, rows=data.rows[kept.to(data.rows.device)])
