"""What is timed: four autoencoders on binary pixels, and the data of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

SCALE_FLOOR = 1e-5  # the guide's scale is softplus(.) + this
LEARNING_RATE = 1e-3  # of Adam with betas (0.9, 0.999) and eps 1e-8, for everybody


@dataclass(frozen=True)
class Problem:
    """One autoencoder: a diagonal normal guide, Bernoulli pixels, static bits as data.

    Attributes:
        name: What it is called.
        batch: Data in a step.
        latent_dim: Length of the code.
        widths: Of the encoder's hidden layers (channels of convolutions); the decoder's are the
            same, the other way round.
        network: Fully connected, gated (Tomczak and Welling, 2018, arXiv:1705.07120), or
            convolutional as in models/conv.toml.
        activation: Of the hidden layers.
        particles: More than one is the importance-weighted bound.
        pseudo_inputs: Components of a VampPrior; 0 is the standard normal.
        side: Height and width of the images.
        data: About how many there are; a short last batch is left out.
        steps: In a block on two cores, such that a block takes about a second.
    """

    name: str
    batch: int
    latent_dim: int
    widths: tuple[int, ...]
    network: Literal["mlp", "gated", "conv"]
    activation: Literal["softplus", "tanh", "identity", "relu"]
    particles: int = 1
    pseudo_inputs: int = 0
    side: int = 28
    data: int = 60_000
    steps: int = 100

    @property
    def bound(self) -> Literal["exact", "sampled", "weighted"]:
        """The ELBO with its KL in closed form, or sampled; or the importance-weighted bound."""
        if self.particles > 1:
            return "weighted"
        return "sampled" if self.pseudo_inputs else "exact"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one datum."""
        return (1, self.side, self.side) if self.network == "conv" else (self.side**2,)

    @property
    def rows(self) -> int:
        """Number of data, a multiple of the batch.

        A short batch is another shape, for which the compilers among the peers compile again.
        """
        return self.data // self.batch * self.batch


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("classic", 128, 20, (400,), "mlp", "softplus"),
        Problem("burda", 100, 50, (200, 200), "mlp", "tanh", particles=5, steps=50),
        Problem("vamp", 100, 40, (300, 300), "gated", "identity", pseudo_inputs=500, steps=15),
        Problem("conv", 128, 8, (32, 64), "conv", "relu", steps=10),
        Problem("classic-4096", 4096, 20, (400,), "mlp", "softplus"),
    )
}
NAMES = {  # which are run unless others are asked for
    "cpu": ("classic", "burda", "vamp", "conv"),
    "cuda": tuple(PROBLEMS),
}


def steps(problem: Problem, device: str) -> int:
    """In a block, unless another number is asked for."""
    return problem.steps if device == "cpu" else 500


def bits(problem: Problem) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The data, ``(rows, *shape)`` of 0 and 1, each pixel with a probability of its own."""
    rng = np.random.default_rng(0)
    pixels = math.prod(problem.shape)
    probabilities = rng.beta(0.4, 1.6, size=pixels).astype(np.float32)  # a fifth is white
    drawn = rng.random((problem.rows, pixels), dtype=np.float32) < probabilities
    return drawn.astype(np.uint8).reshape(-1, *problem.shape)
