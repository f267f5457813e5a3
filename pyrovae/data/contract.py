"""Contract between a model and its data: binarisation and scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from torch import Tensor

from pyrovae.data.batch import X_KNOWN
from pyrovae.data.binarise import binarise
from pyrovae.data.dataset import Binarisation, Dataset, Splits
from pyrovae.data.transforms import require_same
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
        columns: Names of the columns that the model is for, if they are known; columns of other
            data are matched to them by name.
        transforms: Functions that the values went through before, by column, such as "log"; None
            if they are not known. Data have to have the same; DataFrames and AnnData get them.
    """

    binarisation: Binarisation = "none"
    interval: Interval = "counts"
    variables: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    transforms: Mapping[str, str] | None = None

    def apply(self, splits: Splits) -> Splits:
        """The data as the model sees them; applying twice changes nothing more.

        Raises:
            DataError: Binarisation of data without a largest intensity, or data that lack a
                variable or a column, have values that are not known where the programs take
                no mask, or went through other transforms.
        """
        splits = binarise(matched(splits, self.columns), self.binarisation)
        return Splits(*(self._moved(self._asked(split)) for split in splits))

    def prepared(self, data: Dataset) -> Dataset:
        """One split as the model sees it, as by :meth:`apply`; nothing changes if it is already.

        Raises:
            DataError: As :meth:`apply`.
        """
        if self.binarisation == "none" or data.binarisation != "none":
            return self._moved(self._asked(data.with_columns(self.columns)))
        return self.apply(Splits(data, data, data)).train

    def require_prepared(self, x: Tensor, levels: float | None) -> None:
        """Refuse values beyond those that the model sees, such as grey values for bits.

        Args:
            x: Data ``(batch, *shape)``.
            levels: Largest value in what the model was fitted to; None if there is none.

        Raises:
            DataError: There is a larger value.
        """
        if self.binarisation != "none":
            levels = 1.0
        elif self.interval == "counts":
            levels = None  # new data may have larger counts
        if levels is not None and x.numel() and (largest := x.max().item()) > levels:
            raise DataError(
                f"x has the value {largest:g}, and the model sees values up to {levels:g}: "
                "prepare data as those it was fitted to, with contract.apply(load_data(...)) of "
                "the autoencoder"
            )

    def _asked(self, split: Dataset) -> Dataset:
        if self.transforms is not None:
            require_same(split, self.transforms)
        for name in self.variables:
            if name not in split.variables:
                raise DataError(
                    f"{split.name} has no variable {name}, which the programs take: it has "
                    + ", ".join(["x", *split.variables])
                )
        optional = (name for name in self.optional if name in split.variables)
        asked = (*self.variables, *optional)
        if X_KNOWN not in asked and split.unknown:
            raise DataError(
                f"{split.name} has {split.unknown} values that are not known, and the programs do "
                f"not take {X_KNOWN}, which says where: fill them in, or let them take it"
            )
        return split if split.asked == asked else replace(split, asked=asked)

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


def matched(splits: Splits, columns: tuple[str, ...]) -> Splits:
    """The same data with their columns in the order of a model, where both have names.

    A store that the splits share stays shared.

    Raises:
        DataError: Columns are missing, or there are others.
    """
    if splits.train.columns in ((), columns) or not columns:
        return splits
    return splits.each(lambda split: split.with_columns(columns))
