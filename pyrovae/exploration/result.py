"""Interface of the results of an analysis: a sentence, numbers and arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pyrovae.evaluation.results import Number, Variable


class Result(ABC):
    """Result of an analysis of a latent space.

    It holds data only; ``pyrovae.report.figures`` draws them.

    Attributes:
        name: Name on the command line and of the files.
        title: The heading on the page.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def summary(self) -> str:
        """Summary with the main numbers, in one or two sentences."""

    @abstractmethod
    def numbers(self) -> list[Number]:
        """Every number, with its definition."""

    @abstractmethod
    def variables(self) -> dict[str, Variable]:
        """Arrays by name, with named dimensions; images are attributes of their own."""
