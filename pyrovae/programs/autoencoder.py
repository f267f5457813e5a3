"""What training, evaluation and pictures need of an autoencoder: a pair of Pyro programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor, nn

from pyrovae.data.contract import Contract
from pyrovae.programs.traces import Traces
from pyrovae.specs import InferenceSpec, ModelSpec


class Formulas(NamedTuple):
    """The three distributions of an autoencoder, in words."""

    prior: str
    likelihood: str
    guide: str


class Declaration(NamedTuple):
    """All that an autoencoder is built from again, but for its weights.

    Attributes:
        model: Specification of the model, resolved.
        inference: Specification of the inference, resolved.
        shape: Shape of one observation.
        levels: Largest intensity that the model sees; None for real-valued data.
    """

    model: ModelSpec
    inference: InferenceSpec
    shape: tuple[int, ...]
    levels: float | None


class Autoencoder(nn.Module, ABC):
    """Two Pyro programs of the data and their parameters.

    :class:`pyrovae.VAE` is one made of parts,
    :class:`pyrovae.programs.handwritten.Handwritten` one from a user's file. Whatever works on one
    works on the other: it sees sites in traces.

    Attributes:
        vectorisable: Whether particles may be drawn at once, in a dimension left of the data.
        contract: How the programs want their data.
        declaration: What it was built from, where that was specifications.
        source: What errors about the programs begin with, where they are a user's own.
        advice: Which data p(x | z) takes and what to choose for others; ends a sentence.
    """

    vectorisable: bool
    contract: Contract = Contract()
    declaration: Declaration | None = None
    source: str = ""
    advice: str = "none outside its support: change the data or the program"

    @abstractmethod
    def model(self, x: Tensor) -> Any:
        """The generative program, with ``x`` observed, in one plate over the data."""

    @abstractmethod
    def guide(self, x: Tensor) -> Any:
        """The inference program, with the latent sites of the model."""

    def traces(self, x: Tensor) -> Traces:
        """One run of both programs on a batch ``(batch, *shape)``, in whatever mode they are."""
        return Traces.run(self.model, self.guide, x)

    def networks(self) -> list[nn.Module]:
        """Those that may compute in another precision than the densities."""
        return list(self.children())

    @abstractmethod
    def formulas(self) -> Formulas:
        """p(z), p(x | z) and q(z | x) in words."""


def mean_or_draw(distribution: Any) -> Tensor:
    """The mean, or one draw where a distribution, such as a flow, has none that is known."""
    try:
        return distribution.mean
    except NotImplementedError:
        return distribution.sample()
