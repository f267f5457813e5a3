"""What every look at a latent space comes to: a sentence, numbers, and arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pyrovae.evaluation.results import Number, Variable


class Result(ABC):
    """Something seen of a latent space.

    It holds data only; ``pyrovae.report.figures`` draws them.

    Attributes:
        name: The word on the command line, and the name of the files.
        title: The heading on the page.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def summary(self) -> str:
        """What was found, with its numbers, in a sentence or two for a person."""

    @abstractmethod
    def numbers(self) -> list[Number]:
        """Every number, with its definition."""

    @abstractmethod
    def variables(self) -> dict[str, Variable]:
        """Arrays by name, with named dimensions; images are attributes of their own."""
