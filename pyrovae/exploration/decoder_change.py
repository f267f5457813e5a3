"""Distances between decoder outputs, and their change along a path of latents."""

from __future__ import annotations

import torch
from torch import Tensor

# Relative to the outputs: differences as small as this are what their precision leaves of none.
ROUNDING = 8


def distance(a: Tensor, b: Tensor, event_dims: int) -> Tensor:
    r"""Root mean squared difference of outputs per value, in units of the data; float64.

    .. math::
        d(a, b) = \sqrt{\frac1n \sum_{i=1}^n (a_i - b_i)^2}

    A Euclidean distance, so that no path is shorter than the distance of its ends. Differences
    that are no more than rounding count as none.

    Args:
        a: Outputs ``(*batch, *shape)``.
        b: Outputs of the same shape.
        event_dims: Number of dimensions of one output.

    Returns:
        Shape ``(*batch,)``.
    """
    found = _root_mean_square(a.double() - b.double(), event_dims)
    size = torch.maximum(_root_mean_square(a, event_dims), _root_mean_square(b, event_dims))
    return torch.where(found > ROUNDING * torch.finfo(a.dtype).eps * size, found, 0.0)


def changes(outputs: Tensor, event_dims: int) -> Tensor:
    """Distances of neighbours along paths: ``(*paths, steps, *shape)`` to ``(*paths, steps - 1)``.

    Their sum over the steps is the length of the path.
    """
    axis = outputs.ndim - event_dims - 1
    count = outputs.shape[axis] - 1
    first, second = outputs.narrow(axis, 0, count), outputs.narrow(axis, 1, count)
    return distance(first, second, event_dims)


def _root_mean_square(values: Tensor, event_dims: int) -> Tensor:
    flat = values.double().flatten(values.ndim - event_dims)
    return flat.square().mean(-1).sqrt()
