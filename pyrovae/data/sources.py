"""Observations that stay where they lie, such as in a file, and are fetched by index."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.kept_facts import Fact, KeptFacts
from pyrovae.data.values import Array, as_tensor

IN_MEMORY = 2**30
"""Largest size of a file, in bytes, whose observations are read into memory at once."""

CHUNK = 4096
"""Most observations per chunk, wherever a pass over all of them must not copy the whole store."""

VALUES = 2**24
"""Most values per chunk."""

Change = Callable[[Tensor], Tensor]


class Reader(Protocol):
    """Access to rows by index.

    Attributes:
        shape: ``(rows, *shape of a row)``.
        dtype: Type of the values as they lie.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, index: Array) -> Array:
        """Rows ``(len(index), ...)`` at increasing indices, each only once."""
        ...


@runtime_checkable
class Digested(Protocol):
    """A reader with a check sum of all rows that takes less time than to read them."""

    def digest(self) -> bytes:
        """Check sum of all rows as they are stored."""
        ...


class Source:
    """Rows of a reader as a data set keeps them, in the place of a tensor of all rows.

    One thread reads: the rows of the next batch while a step is taken with those of this one
    (:meth:`read_ahead`). What a batch holds does not depend on it.

    Args:
        reader: Access to the rows.
        dtype: Type of the values as kept, uint8 or float32.
        changes: Changes of rows after they are read, such as the order of axes, one after the
            other.
        lock: Held while rows are read, if others have the same reader.
        facts: Where facts about the rows are kept, which may depend on their shape, but on no
            other change.
    """

    def __init__(
        self,
        reader: Reader,
        dtype: torch.dtype,
        changes: Sequence[Change] = (),
        lock: threading.Lock | None = None,
        facts: KeptFacts | None = None,
    ) -> None:
        self._reader = reader
        self._changes, self._facts = tuple(changes), facts
        self.dtype = dtype
        example = self._changed(torch.empty(1, *reader.shape[1:], dtype=dtype))
        self.dtype = example.dtype
        self._kept = dtype
        self.shape = torch.Size((reader.shape[0], *example.shape[1:]))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pyrovae-rows")
        self._lock = lock or threading.Lock()  # of readers, few may be used by two threads at once
        # The batch that is used next, and the one after it.
        self._ahead: deque[tuple[Tensor, Future[Tensor]]] = deque(maxlen=2)

    device = torch.device("cpu")
    """Where rows arrive."""

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes that a tensor of all rows would take."""
        return self.shape.numel() * self.dtype.itemsize

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """The rows at some indices, in their order, as of a tensor; ``dim`` is 0."""
        for asked, rows in self._ahead:
            if torch.equal(asked, index):
                return rows.result()
        return self._fetch(index)

    def read_ahead(self, index: Tensor) -> None:
        """Begin to read the rows that are asked for next."""
        self._ahead.append((index, self._thread.submit(self._fetch, index)))

    def changed(self, change: Change) -> Source:
        """The same rows with a change to each, made when they are read."""
        return Source(self._reader, self._kept, (*self._changes, change), self._lock)

    def to(self, device: torch.device) -> Source | Tensor:
        """A tensor of all rows on another device than the CPU, which has them as they are."""
        if device.type == "cpu":
            return self
        found = torch.empty(self.shape, dtype=self.dtype, device=device)
        size = rows_at_once(self.shape[1:])
        for target, rows in zip(found.split(size), self.chunks(size), strict=True):
            target.copy_(rows)
        return found

    def chunks(self, size: int) -> Iterator[Tensor]:
        """All rows in the order in which they lie, some at a time."""
        for start in range(0, len(self), size):
            yield self._fetch(torch.arange(start, min(start + size, len(self))))

    def kept(self, name: str, find: Callable[[], Fact]) -> Fact:
        """A fact about the rows, as by :meth:`KeptFacts.get`; found anew where none are kept."""
        return find() if self._facts is None else self._facts.get(name, find)

    def stored_digest(self) -> bytes | None:
        """Check sum of the rows before any changes, where the reader has one."""
        return self._reader.digest() if isinstance(self._reader, Digested) else None

    def _fetch(self, index: Tensor) -> Tensor:
        rows, places = np.unique(index.cpu().numpy(), return_inverse=True)
        with self._lock:
            found = self._reader.read(rows)
        in_order = np.array_equal(places, np.arange(len(rows)))
        return self._changed(_kept(found if in_order else found[places], self._kept))

    def _changed(self, rows: Tensor) -> Tensor:
        for change in self._changes:
            rows = change(rows)
        return rows


def rows_at_once(shape: Sequence[int]) -> int:
    """Number of rows of a shape that a pass over all of them may hold at once."""
    return min(CHUNK, max(1, VALUES // max(1, math.prod(shape))))


def chunks_of(x: Tensor | Source) -> Iterator[Tensor]:
    """All rows in their order, some at a time."""
    size = rows_at_once(x.shape[1:])
    return x.chunks(size) if isinstance(x, Source) else iter(torch.split(x, size))


def _kept(values: Array, dtype: torch.dtype) -> Tensor:
    """Values in the type in which a data set keeps them."""
    kind = np.uint8 if dtype == torch.uint8 else np.float32
    with np.errstate(over="ignore"):  # found by the check of all values
        return as_tensor(values.astype(kind, copy=False))
