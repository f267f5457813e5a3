"""Observations of one split, and the three splits of a data set."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae import notebook
from pyrovae.data.batch import X_KNOWN, Batch
from pyrovae.data.display import IMAGES, ROWS, first_images, first_rows
from pyrovae.data.sources import Source, chunks_of, rows_at_once
from pyrovae.data.tables import places
from pyrovae.specs.model import Binarisation as Binarisation

FIRST = 16
"""Observations in a check sum that is otherwise of files, which tell how they are decoded."""

Move = Callable[[Any], Any]
"""From a tensor or a source to one on another device."""


@dataclass(frozen=True, eq=False)
class KnownFactors:
    """Known factors of variation of each observation, as in synthetic data.

    Args:
        names: Names of the factors, all different.
        classes: The value of each factor as an integer, ``(stored, factors)`` int64, never seen
            by a model.
    """

    names: tuple[str, ...]
    classes: Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Observations as stored (images stay uint8), turned into floats batch by batch.

    Several splits share one store and differ in ``rows`` only, so that a large data set is never
    copied.

    Args:
        name: Name of the data in messages and reports.
        x: Stored observations, ``(stored, *shape)``, uint8 or float32, in memory or where they
            lie. Images are ``(channels, height, width)``, tables ``(columns,)``.
        rows: Indices of the stored observations in this split, ``(n,)`` int64.
        labels: Classes of the stored observations, ``(stored,)`` int64.
        maximum: Largest intensity a value can take, such as 255; ``None`` if real-valued.
        binarisation: Kind of binarisation of grey values; ``"dynamic"`` draws anew in every batch.
        divisor: Divisor of intensities that stay grey; 1 leaves counts as they are.
        offset: Added to them before the division.
        factors: Factors of variation of the stored observations, if known.
        variables: Further variables of the stored observations by name, ``(stored, *shape)``.
        asked: Names of the variables that are in a batch, which are those that the programs take.
        columns: Names of the columns of a table, if they are known.
        counts: Where the same data are counts, if these are real values; the end of a message.
        transforms: Names of functions that values went through before, by column; "*" is all.
    """

    name: str
    x: Tensor | Source
    rows: Tensor
    labels: Tensor | None
    maximum: float | None
    binarisation: Binarisation = "none"
    divisor: float = 1.0
    offset: float = 0.0
    factors: KnownFactors | None = None
    variables: Mapping[str, Tensor] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    counts: str = ""
    transforms: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of observations in this split."""
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Dataset({self.name}: {len(self)} observations; {self.kind})"

    def _repr_html_(self) -> str:
        return notebook.card(
            f"{self.name}: {len(self)} observations", notebook.paragraph(self.kind), self.preview()
        )

    @property
    def shape(self) -> torch.Size:
        """Event shape of one observation, such as ``torch.Size([1, 8, 8])``."""
        return self.x.shape[1:]

    @property
    def are_images(self) -> bool:
        """True if observations are ``(channels, height, width)`` with one or three channels."""
        return len(self.shape) == 3 and self.shape[0] in (1, 3)

    @property
    def levels(self) -> float | None:
        """Largest value the model sees: 1 once binarised, else that of ``maximum``."""
        if self.binarisation != "none":
            return 1.0
        return None if self.maximum is None else (self.maximum + self.offset) / self.divisor

    @property
    def unknown(self) -> int:
        """Number of values in this split that are not known."""
        known = self.variables.get(X_KNOWN)
        if known is None:
            return 0
        hidden = int((~known[self.rows]).sum())
        return hidden if known.ndim > 1 else hidden * self.shape.numel()

    @property
    def kind(self) -> str:
        """Shape, values and further variables, in words."""
        shape = " × ".join(map(str, self.shape))
        what = f"images {shape}" if self.are_images else f"arrays {shape}"
        if len(self.shape) == 1:
            what = f"rows of {shape} columns"
        values = "real values" if self.levels is None else f"intensities 0 to {self.levels:g}"
        bits = "" if self.binarisation == "none" else f", binarised ({self.binarisation})"
        extra = "" if not self.variables else f"; variables {', '.join(self.variables)}"
        names = dict.fromkeys(self.transforms.values())
        functions = "" if not names else f", through {', '.join(names)}"
        return f"{what}, {values}{functions}{bits}{extra}"

    def preview(self) -> str:
        """The first images or rows as HTML; empty for other shapes and for no data."""
        index = torch.arange(min(len(self), IMAGES if self.are_images else ROWS))
        if not len(index) or not (self.are_images or len(self.shape) == 1):
            return ""
        x = self._expected(index)
        if self.are_images:
            return first_images(x, self.levels)
        return first_rows(x, self._known(index).expand_as(x), self.columns)

    def batch(self, index: Tensor) -> Batch:
        r"""Observations ``rows[index]`` on the data's device, with the variables asked for.

        The observations ``x`` are float32 ``(len(index), *shape)``. Intensities are counts
        between 0 and ``maximum``, unless ``offset`` and ``divisor`` move them. With dynamic
        binarisation every call draws anew from the global random stream of that device,

        .. math::
            x \sim \operatorname{Bernoulli}(\text{intensity} / \text{maximum}).
        """
        x = self._expected(index)
        if self.binarisation == "dynamic":
            # As torch.bernoulli, which on a CPU takes three times as long.
            x = (torch.rand_like(x) < x).to(x.dtype)
        if not self.asked:
            return Batch(x)
        stored = self._stored(index)
        return Batch(x, {name: self.variables[name][stored] for name in self.asked})

    def mean(self) -> Tensor:
        """The mean observation as the model sees it, float64 ``shape``, on the data's device.

        Nothing is drawn: bits that are drawn anew in every batch count by their probabilities.
        Values that are not known do not count; where none is, the mean is zero.
        """
        return self._kept("mean", self._mean)

    def _mean(self) -> Tensor:
        total, count = torch.zeros(2, *self.shape, dtype=torch.float64, device=self.x.device)
        for index in self._in_chunks():
            known = self._known(index)
            total += (self._expected(index) * known).sum(0, dtype=torch.float64)
            count += known.sum(0)
        return total / count.clamp(min=1)

    def deviation(self) -> Tensor:
        """The standard deviation of each value as the model sees it, float64 ``shape``.

        Exactly zero for a value that is the same in all data: it is taken around the first of
        them. Values that are not known do not count.
        """
        return self._kept("deviation", self._deviation)

    def _deviation(self) -> Tensor:
        sums = torch.zeros(3, *self.shape, dtype=torch.float64, device=self.x.device)
        total, squares, count = sums
        first = self._first_known()
        for index in self._in_chunks(8):  # eight times a byte
            known = self._known(index)
            distance = (self._expected(index).double() - first) * known
            total += distance.sum(0)
            squares += distance.square().sum(0)
            count += known.sum(0)
        count = count.clamp(min=1)
        return (squares / count - (total / count).square()).clamp(min=0).sqrt()

    def _kept(self, name: str, find: Callable[[], Tensor]) -> Tensor:
        """A statistic of these observations, which of a large file is kept beside it."""
        if not isinstance(self.x, Source) or X_KNOWN in self.variables:
            return find()
        rows = hashlib.sha256(self.rows.numpy().data).hexdigest()
        seen = (self.binarisation, self.maximum, self.divisor, self.offset, tuple(self.shape))
        found = self.x.kept(f"{name} of {seen} in rows {rows}", lambda: find().tolist())
        return torch.tensor(found, dtype=torch.float64)

    def read_ahead(self, index: Tensor) -> None:
        """Begin to read the observations of the next batch, if they are not in memory."""
        if isinstance(self.x, Source) and len(index):
            self.x.read_ahead(self._stored(index))

    def label(self, index: Tensor) -> Tensor | None:
        """Classes ``(len(index),)`` of the observations ``rows[index]``, if there are any."""
        return None if self.labels is None else self.labels[self._stored(index)]

    def first(self, n: int) -> Dataset:
        """The first ``n`` observations, or all of them if there are fewer."""
        return replace(self, rows=self.rows[:n])

    def with_columns(self, columns: tuple[str, ...]) -> Dataset:
        """The same observations with the columns in another order, where they have names.

        Raises:
            DataError: Columns are missing, or there are others.
        """
        order = places(self.columns, columns, self.name)
        return self if isinstance(order, slice) else self.selected(columns)

    def selected(self, columns: tuple[str, ...]) -> Dataset:
        """The same observations with some of their columns alone, by name."""
        order = [self.columns.index(column) for column in columns]
        known = self.variables.get(X_KNOWN)
        moved = {} if known is None or known.ndim == 1 else {X_KNOWN: known[:, order]}
        x = self.x
        x = x.changed(lambda rows: rows[:, order]) if isinstance(x, Source) else x[:, order]
        return replace(self, x=x, columns=columns, variables={**self.variables, **moved})

    def to(self, device: str | torch.device) -> Dataset:
        """The same observations with every tensor on ``device``."""
        return self.changed(moving(device))

    def changed(self, change: Move) -> Dataset:
        """The same observations with ``change`` applied to every tensor.

        Observations that stay where they lie keep the others at their side.
        """
        x = change(self.x)
        if x is self.x and isinstance(x, Source):
            return self
        labels = None if self.labels is None else change(self.labels)
        known = self.factors
        return replace(
            self,
            x=x,
            rows=change(self.rows),
            labels=labels,
            factors=None if known is None else replace(known, classes=change(known.classes)),
            variables={name: change(values) for name, values in self.variables.items()},
        )

    def _expected(self, index: Tensor) -> Tensor:
        """Observations ``rows[index]``, or the probabilities of bits that are yet to be drawn."""
        x = self.x.index_select(0, self._stored(index)).float()
        if self.binarisation == "dynamic" and self.maximum is not None:
            return x / self.maximum
        moved = x if self.offset == 0 else x + self.offset
        return moved if self.divisor == 1 else moved / self.divisor

    def _known(self, index: Tensor) -> Tensor:
        """True for the values of ``rows[index]`` that are known, to be broadcast to them."""
        known = self.variables.get(X_KNOWN)
        if known is None:
            ones = (1,) * len(self.shape)
            return torch.ones(len(index), *ones, dtype=torch.bool, device=self.x.device)
        known = known[self._stored(index)]
        return known.reshape(known.shape + (1,) * (1 + len(self.shape) - known.ndim))

    def _first_known(self) -> Tensor:
        """The first known value of each kind, float64 ``shape``; zero where none is."""
        first = torch.zeros(self.shape, dtype=torch.float64, device=self.x.device)
        found = torch.zeros_like(first, dtype=torch.bool)
        for index in self._in_chunks(8):
            known = self._known(index).expand(len(index), *self.shape)
            place = known.int().argmax(0, keepdim=True)
            values = self._expected(index).double().gather(0, place)[0]
            first = torch.where(~found & known.any(0), values, first)
            found |= known.any(0)
            if found.all():
                break
        return first

    def _in_chunks(self, parts: int = 1) -> Iterator[Tensor]:
        """All indices in order, some at a time."""
        size = max(1, rows_at_once(self.shape) // parts)
        for start in range(0, len(self), size):
            yield torch.arange(start, min(start + size, len(self)), device=self.rows.device)

    def _stored(self, index: Tensor) -> Tensor:
        return self.rows[index.to(self.rows.device)]


class Splits(NamedTuple):
    """Training, validation and test data."""

    train: Dataset
    validation: Dataset
    test: Dataset

    @property
    def name(self) -> str:
        """Name of the data."""
        return self.train.name

    def __repr__(self) -> str:
        return f"Splits({self.description})"

    def _repr_html_(self) -> str:
        return notebook.card(self.name, notebook.paragraph(self.description), self.train.preview())

    @property
    def description(self) -> str:
        """Name, sizes and kind of the data, and how many values are not known, in a line."""
        train, validation, test = map(len, self)
        sizes = f"{train} training, {validation} validation, {test} test"
        unknown = sum(split.unknown for split in self)
        values = (train + validation + test) * self.train.shape.numel()
        note = f"; {unknown} of {values} values not known" if unknown else ""
        return f"{self.name}: {sizes}; {self.train.kind}{note}"

    def each(self, change: Callable[[Dataset], Dataset]) -> Splits:
        """The same parts of changed data; a store that was shared stays shared."""
        if any(split.x is not self.train.x for split in self):
            return Splits(*map(change, self))
        whole = change(self.train)
        return Splits(*(replace(whole, rows=split.rows) for split in self))

    def to(self, device: str | torch.device) -> Splits:
        """The same splits on ``device``; a store that was shared stays shared."""
        move = functools.cache(moving(device))
        return Splits(*(split.changed(move) for split in self))

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, over stored values, labels and rows of the three splits.

        Variables that programs ask for are part of it. Known factors are not: no model is fitted
        to them, nor chosen by them. It does
        not depend on the device, nor on whether the splits share a store.
        """
        digest = functools.cache(digest_of)
        total = hashlib.sha256()
        for split in self:
            for tensor in (split.x, split.labels, split.rows):
                total.update(b"absent" if tensor is None else digest(tensor))
            for name in split.asked:
                total.update(name.encode() + digest(split.variables[name]))
        return total.hexdigest()


def moving(device: str | torch.device) -> Move:
    """The function that moves a tensor to a device."""
    target = torch.device(device)
    return lambda values: values.to(target)


def digest_of(values: Tensor | Source) -> bytes:
    """SHA-256 of type, shape and values, read chunk by chunk; of a large file it is kept.

    Of images in files, it is over these, and over the first images as they are decoded here.
    """
    if isinstance(values, Source):
        what = f"SHA-256 of {values.dtype} {tuple(values.shape)}"
        return bytes.fromhex(values.kept(what, lambda: _digest(values).hex()))
    return _digest(values)


def _digest(values: Tensor | Source) -> bytes:
    digest = hashlib.sha256(f"{values.dtype} {tuple(values.shape)}".encode())
    parts: Iterable[Tensor] = chunks_of(values)
    if isinstance(values, Source) and (stored := values.stored_digest()) is not None:
        digest.update(stored)
        parts = [values.index_select(0, torch.arange(min(FIRST, len(values))))]
    for part in parts:
        digest.update(part.cpu().contiguous().numpy().data)
    return digest.digest()
