"""Interface of the results of an analysis: a sentence, numbers and arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pyrovae import notebook
from pyrovae.evaluation.results import Number, Variable, numbers_table


class Result(ABC):
    """Result of an analysis of a latent space.

    It holds data only; ``pyrovae.report.figures`` draws them.

    Attributes:
        name: Name on the command line and of the files.
        title: The heading on the page.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.summary()})"

    def _repr_html_(self) -> str:
        summary = notebook.paragraph(self.summary())
        return notebook.card(self.title, summary, numbers_table(self.numbers()))

    @abstractmethod
    def summary(self) -> str:
        """Summary with the main numbers, in one or two sentences."""

    @abstractmethod
    def numbers(self) -> list[Number]:
        """Every number, with its definition."""

    @abstractmethod
    def variables(self) -> dict[str, Variable]:
        """Arrays by name, with named dimensions; images are attributes of their own."""
