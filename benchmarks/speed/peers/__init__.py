"""Who is timed: one class for each peer, imported where it runs."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, NamedTuple, NoReturn, Protocol

from clock import Clock
from problems import Problem
from weights import Weights


class Peer(Protocol):
    """One way to train an autoencoder."""

    def __init__(self, problem: Problem, data: Any, weights: Weights, device: str) -> None:
        """Built and ready to train, from these weights."""

    def loss(self, x: Any) -> float:
        """Its loss on a batch of bits, in nats per datum, with the noise of noise.py."""

    def train(self, clock: Clock) -> NoReturn:
        """Its training loop, for ever; tells the clock how far it is."""


class Entry(NamedTuple):
    """Where a peer is to be found.

    Attributes:
        module: In this folder.
        name: Of the class.
        needs: Package without which there is no such peer.
        devices: On which it is timed.
    """

    module: str
    name: str
    needs: str
    devices: tuple[str, ...] = ("cpu", "cuda")


PEERS = {
    "pyro": Entry("pyro_svi", "StockPyro", "pyro"),
    "torch-eager": Entry("handwritten", "Eager", "torch"),
    "torch-compiled": Entry("handwritten", "Compiled", "torch"),
    "torch-graphed": Entry("handwritten", "Graphed", "torch", ("cuda",)),
    "numpyro": Entry("numpyro_svi", "NumPyro", "numpyro", ("cpu",)),
    "pythae": Entry("pythae_trainer", "Pythae", "pythae", ("cpu",)),
    "ours-uncaptured": Entry("ours", "Uncaptured", "pyrovae"),
    "ours-captured": Entry("ours", "Captured", "pyrovae"),
}


def load(name: str) -> type[Peer]:
    """The class of a peer."""
    entry = PEERS[name]
    return getattr(importlib.import_module(f"peers.{entry.module}"), entry.name)


def obstacle(name: str, device: str) -> str | None:
    """Why a peer cannot be timed here, if so."""
    entry = PEERS[name]
    if device not in entry.devices:
        return f"not timed on {device}"
    if importlib.util.find_spec(entry.needs) is None:
        return f"{entry.needs} is not installed"
    return None
