"""The weights that every peer starts from, by name, in the layout of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from problems import Problem, bits

Weights = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


def initial(problem: Problem) -> Weights:
    """Uniform, with a variance of one over the number of inputs; pseudo-inputs are data.

    So numbers keep their size through the layers, and each weight has a say in the loss by which
    peers are compared. PyTorch's own start is smaller, and some would hardly be seen in it.
    """
    rng = np.random.default_rng(1)
    weights = {}
    for name, shape in layers(problem):
        limit = math.sqrt(3 / math.prod(shape[1:]))
        weights[f"{name}.weight"] = rng.uniform(-limit, limit, shape)
        weights[f"{name}.bias"] = rng.uniform(-0.5, 0.5, shape[0])
    if problem.pseudo_inputs:
        # At the edges of [0, 1], to which they are clamped, peers differ in the gradient.
        weights["pseudo_inputs"] = 0.05 + 0.9 * bits(problem)[: problem.pseudo_inputs]
    return {name: value.astype(np.float32) for name, value in weights.items()}


def layers(problem: Problem) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each weight that has a bias: encoder, its heads, decoder."""
    parts = ("value", "gate") if problem.network == "gated" else ("",)
    if problem.network == "conv":
        encoder = [(o, i, 3, 3) for i, o in pairwise((1, *problem.widths))]
        features = problem.widths[-1] * smallest(problem) ** 2
        channels = (*problem.widths[::-1], 1)
        decoder = [(features, problem.latent_dim), *((o, i, 3, 3) for i, o in pairwise(channels))]
    else:
        sizes = (math.prod(problem.shape), *problem.widths)
        encoder = [(o, i) for i, o in pairwise(sizes)]
        features = sizes[-1]
        decoder = [(o, i) for i, o in pairwise((problem.latent_dim, *sizes[::-1]))]
    for role, hidden in (("encoder", encoder), ("decoder", decoder[:-1])):
        for index, shape in enumerate(hidden):
            for part in parts:
                yield f"{role}.hidden.{index}.{part}".rstrip("."), shape
        if role == "encoder":
            yield "encoder.loc", (problem.latent_dim, features)
            yield "encoder.scale", (problem.latent_dim, features)
    yield "decoder.last", decoder[-1]


def smallest(problem: Problem) -> int:
    """Side of the smallest image of a convolutional network."""
    return problem.side >> len(problem.widths)
