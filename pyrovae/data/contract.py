"""Contract between a model and its data: binarisation and scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from pyrovae.data.binarise import binarise
from pyrovae.data.dataset import Binarisation, Dataset, Splits
from pyrovae.errors import DataError
from pyrovae.specs.likelihoods import Interval


@dataclass(frozen=True)
class Contract:
    """Transformation of stored data into what a model sees.

    Attributes:
        binarisation: Kind of binarisation of intensities, or "none".
        variables: Names of the variables that the programs take beside the observations.
        optional: Names of those that they take where the data have them.
        interval: Scale of intensities 0..m that stay grey: "counts" leaves them, "unit" divides
            them by m, "open_unit" puts level k at (k + 1/2) / (m + 1), the middle of its bin in
            (0, 1). Real values, and bits, stay as they are.
    """

    binarisation: Binarisation = "none"
    interval: Interval = "counts"
    variables: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def apply(self, splits: Splits) -> Splits:
        """The data as the model sees them; applying twice changes nothing more.

        Raises:
            DataError: Binarisation of data without a largest intensity, or data that lack a
                variable.
        """
        splits = binarise(splits, self.binarisation)
        return Splits(*(self._moved(self._asked(split)) for split in splits))

    def _asked(self, split: Dataset) -> Dataset:
        for name in self.variables:
            if name not in split.variables:
                raise DataError(
                    f"{split.name} has no variable {name}, which the programs take: it has "
                    + ", ".join(["x", *split.variables])
                )
        optional = (name for name in self.optional if name in split.variables)
        return replace(split, asked=(*self.variables, *optional))

    def _moved(self, split: Dataset) -> Dataset:
        m = split.maximum or 1.0
        match self.interval:
            case "counts":
                return split
            case "unit":
                return replace(split, divisor=m)
            case "open_unit":
                # Bits, and values in [0, 1] already, have no levels whose bins have a middle.
                grey = split.binarisation == "none" and m != 1
                return replace(split, offset=0.5, divisor=m + 1) if grey else split
            case _:
                assert_never(self.interval)
