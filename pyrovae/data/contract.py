"""How a model wants its data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyrovae.data.binarise import binarise
from pyrovae.data.dataset import Binarisation, Splits


@dataclass(frozen=True)
class Contract:
    """What happens to stored data before a model sees them.

    Attributes:
        binarisation: Whether and how intensities become 0 and 1.
        unit_interval: Whether intensities are divided by the largest one; a likelihood of
            real values wants that, one of counts does not.
    """

    binarisation: Binarisation = "none"
    unit_interval: bool = False

    def apply(self, splits: Splits) -> Splits:
        """The data as the model sees them; applying twice changes nothing more.

        Raises:
            DataError: Binarisation of data without a largest intensity.
        """
        splits = binarise(splits, self.binarisation)
        if not self.unit_interval:
            return splits
        return Splits(*(replace(split, divisor=split.maximum or 1.0) for split in splits))
