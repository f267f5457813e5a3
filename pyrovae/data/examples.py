"""Choice of observations to show, or to stand for all."""

from __future__ import annotations

import torch
from torch import Tensor

from pyrovae.data.dataset import Dataset


def evenly(data: Dataset, count: int) -> Tensor:
    """Indices ``(count,)`` spread over the data, repeated if there are fewer."""
    return torch.arange(count) * len(data) // count


def classes(data: Dataset, index: Tensor) -> Tensor | None:
    """Classes ``(len(index),)`` on the CPU, if there are any."""
    labels = data.label(index)
    return None if labels is None else labels.cpu()


def one_of_each_class(data: Dataset, count: int) -> Tensor:
    """Indices ``(count,)``: the first of each class, then the second of each, and so on.

    Without labels the first ones; fewer if there are fewer.

    Example:
        >>> x, rows = torch.zeros(6, 2), torch.arange(6)
        >>> data = Dataset("six", x, rows, torch.tensor([1, 1, 0, 2, 0, 2]), None)
        >>> one_of_each_class(data, 5)
        tensor([2, 0, 3, 4, 1])
    """
    index = torch.arange(len(data))
    labels = classes(data, index)
    if labels is not None:
        by_class = labels.argsort(stable=True)
        ordered = labels[by_class]
        rank_in_class = index - torch.searchsorted(ordered, ordered)
        index = by_class[rank_in_class.argsort(stable=True)]
    return index[:count]


def pairs_of_data(data: Dataset, most: int) -> Tensor:
    """Pairs of data at random, ``(pairs, 2)``, those of different classes first."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    pairs = order[: len(data) // 2 * 2].unflatten(0, (-1, 2))
    labels = data.label(pairs.flatten())
    if labels is not None:
        first, second = labels.cpu().unflatten(0, pairs.shape).unbind(1)
        pairs = pairs[(first == second).long().argsort(stable=True)]
    return pairs[:most]
