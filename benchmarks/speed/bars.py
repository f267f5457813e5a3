"""What is to be reached: the ratio of medians, this package's over a peer's, at most."""

from __future__ import annotations

from typing import NamedTuple

OURS = "ours-captured"


class Bar(NamedTuple):
    """The first peer is to take at most so many times as long as the second."""

    over: str
    under: str
    most: float


ON_TWO_CORES = (
    Bar(OURS, "pyro", 0.60),
    Bar(OURS, "torch-eager", 0.95),
    Bar(OURS, "torch-compiled", 1.03),
    Bar(OURS, "numpyro", 1.00),
    Bar(OURS, "pythae", 0.50),
    Bar("ours-uncaptured", "torch-eager", 1.15),
)
ON_A_GPU = (
    Bar(OURS, "pyro", 1 / 10),
    Bar(OURS, "torch-eager", 1 / 3),
    Bar(OURS, "torch-graphed", 1.05),
)
ON_A_GPU_IN_LARGE_BATCHES = (  # the arithmetic is more of the step, the handlers are less
    Bar(OURS, "pyro", 1 / 3),
    Bar(OURS, "torch-graphed", 1.05),
)


def bars(problem: str, device: str) -> tuple[Bar, ...]:
    """Those of a problem."""
    if device == "cpu":
        return ON_TWO_CORES
    return ON_A_GPU_IN_LARGE_BATCHES if problem.endswith("-4096") else ON_A_GPU
