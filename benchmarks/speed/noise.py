"""The same noise for every peer, while its loss is compared with the others'.

Peers are timed with their own random numbers. For the comparison alone, what each of them calls
to draw standard normals is replaced by a function that gives these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from problems import Problem


def standard_normals(problem: Problem) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Noise ``(particles, batch, latent_dim)``."""
    shape = (problem.particles, problem.batch, problem.latent_dim)
    return np.random.default_rng(2).standard_normal(shape, dtype=np.float32)


@contextmanager
def fixed_in_torch(problem: Problem) -> Iterator[None]:
    """PyTorch, Pyro and Pythae draw :func:`standard_normals`, in the layout they ask for.

    The first particle's alone is for Pyro, which runs a guide once to count its plates.
    """
    import torch

    fixed = torch.from_numpy(standard_normals(problem))

    def drawn(shape: Sequence[int], **options: Any) -> torch.Tensor:
        noise = fixed.to(options.get("device"))
        for candidate in (noise, noise[0], noise.transpose(0, 1)):
            if candidate.shape == torch.Size(shape):
                return candidate
        raise ValueError(f"noise of shape {tuple(shape)} was asked for")

    with (
        patch("torch.distributions.normal._standard_normal", drawn),
        patch("torch.randn", lambda *shape, **options: drawn(shape, **options)),
        patch("torch.randn_like", lambda like: drawn(like.shape, device=like.device)),
    ):
        yield


@contextmanager
def fixed_in_jax(problem: Problem) -> Iterator[None]:
    """JAX draws :func:`standard_normals`; inside a ``vmap`` over an axis "particles", its own."""
    import jax

    fixed = jax.numpy.asarray(standard_normals(problem))

    def drawn(key: Any, shape: Sequence[int] = (), *_: Any, **__: Any) -> jax.Array:
        noise = fixed[jax.lax.axis_index("particles") if problem.particles > 1 else 0]
        if tuple(shape) != noise.shape:
            raise ValueError(f"noise of shape {tuple(shape)} was asked for")
        return noise

    with patch("jax.random.normal", drawn):
        yield
