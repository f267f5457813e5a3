"""Contract between a model and its data: binarisation and scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from pyrovae.data.binarise import binarise
from pyrovae.data.dataset import Binarisation, Dataset, Splits
from pyrovae.specs.likelihoods import Interval


@dataclass(frozen=True)
class Contract:
    """Transformation of stored data into what a model sees.

    Attributes:
        binarisation: Kind of binarisation of intensities, or "none".
        interval: Scale of intensities 0..m that stay grey: "counts" leaves them, "unit" divides
            them by m, "open_unit" puts level k at (k + 1/2) / (m + 1), the middle of its bin in
            (0, 1). Real values, and bits, stay as they are.
    """

    binarisation: Binarisation = "none"
    interval: Interval = "counts"

    def apply(self, splits: Splits) -> Splits:
        """The data as the model sees them; applying twice changes nothing more.

        Raises:
            DataError: Binarisation of data without a largest intensity.
        """
        splits = binarise(splits, self.binarisation)
        return Splits(*(self._moved(split) for split in splits))

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
