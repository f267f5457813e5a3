"""The processes that train together: one for each GPU, or for some cores.

``torchrun`` starts them and tells each its rank; torch sums and copies tensors between them, by
gloo on CPUs and by NCCL on GPUs.
"""

from __future__ import annotations

import atexit
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pyrovae.errors import LostProcessError, PyrovaeError, reason

Result = TypeVar("Result")

ENDED = "pyrovae: the first process has ended"
# Seconds between looks whether the first has ended, and how long its last word may take.
LOOK_EVERY, LAST_WORD = 0.1, 2.0


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them.

    A process alone is the first of one: it has all of the data, and its methods do nothing.

    Args:
        rank: Number of this process, from 0 on. The first writes, prints and decides.
        size: Number of processes.
        local_rank: Number of this process among those of its machine.
        local_size: Number of processes on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def alone(self) -> bool:
        """True if there is no other."""
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """True of the one that writes, prints and decides."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """Every ``size``-th of a batch, from ``rank`` on; perhaps none."""
        return batch if self.alone else batch[self.rank :: self.size]

    def share_of(self, count: int) -> int:
        """Length of :meth:`share` of a batch of ``count``."""
        return len(range(self.rank, count, self.size))

    def add(self, values: Tensor) -> Tensor:
        """Sum over the processes, in place."""
        if not self.alone:
            with self._lost():
                dist.all_reduce(values)
        return values

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Give tensors the values that they have in the first process, in place."""
        if self.alone:
            return
        with self._lost(), torch.no_grad():
            for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
                alike = [tensor for tensor in tensors if tensor.dtype == dtype]
                flat = torch.cat([tensor.reshape(-1) for tensor in alike])
                dist.broadcast(flat, 0)
                parts = flat.split([tensor.numel() for tensor in alike])
                for tensor, part in zip(alike, parts, strict=True):
                    tensor.copy_(part.view_as(tensor))

    def gather(self, value: Result) -> list[Result]:
        """A small object of each process, by rank."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.size
        with self._lost():
            dist.all_gather_object(found, value)
        return found

    def first(self, value: Result) -> Result:
        """The object of the first process."""
        if self.alone:
            return value
        found: list[Any] = [value if self.is_first else None]
        with self._lost():
            dist.broadcast_object_list(found, 0)
        return found[0]

    def together(self, work: Callable[[], Result]) -> Result:
        """Do some work, which succeeds in all processes or fails in all.

        Raises:
            PyrovaeError: It failed in one; only the first process has the message.
        """
        if self.alone:
            return work()
        error, done = None, None
        try:
            done = [work()]
        except PyrovaeError as raised:
            error = raised
        errors = self.gather(error)
        if done is not None and not any(errors):
            return done[0]
        rank, found = next((rank, each) for rank, each in enumerate(errors) if each is not None)
        if not self.is_first:
            raise type(found)("") from None
        if error is not None:
            raise error
        raise type(found)(f"process {rank}: {found}") from None

    def wait_for_first(self, seconds: float | None = None) -> bool:
        """Wait until the first process has said its last word; False if it is not known to have.

        For torchrun ends all as soon as one has ended with an error.
        """
        if self.is_first:
            return True
        until = None if seconds is None else time.monotonic() + seconds
        with suppress(RuntimeError):  # the store is gone, and with it the process that kept it
            while not _store().check([ENDED]):
                if until is not None and time.monotonic() > until:
                    return False
                time.sleep(LOOK_EVERY)
            return True
        return False

    @contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not self.is_first and self.wait_for_first(LAST_WORD):
                raise LostProcessError("") from None
            raise LostProcessError(
                f"process {self.rank} of {self.size} has lost another one, which has ended or "
                f"cannot be reached ({_said(error)})"
            ) from None


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that torchrun has started beside this one; without torchrun, none.

    At the end the others wait for the first. But where one has an error of its own, it ends, by
    which the first learns of it.

    Raises:
        PyrovaeError: They cannot be reached.
    """
    processes = _join()
    try:
        yield processes
    except PyrovaeError as error:
        if not str(error):  # the first process says it
            with suppress(KeyboardInterrupt):  # torchrun ends this one, as the first has ended
                processes.wait_for_first()
        raise
    processes.wait_for_first()


def _join() -> Processes:
    """The processes, as :func:`joined` has them, for as long as this one runs.

    Raises:
        PyrovaeError: They cannot be reached.
    """
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return ALONE
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if size == 1:
        return ALONE
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise PyrovaeError(
            f"process {rank} of {size} cannot meet the others at {place}: {reason(error)[:120]}"
        ) from None
    if backend == "gloo":  # whose threads may else abort the process when it ends
        atexit.register(dist.destroy_process_group)
    if rank == 0:
        atexit.register(let_others_end)
    local = (int(os.environ.get(name, usual)) for name, usual in
             (("LOCAL_RANK", rank), ("LOCAL_WORLD_SIZE", size)))  # fmt: skip
    return Processes(rank, size, *local)


def let_others_end() -> None:
    """Say in the first process that it has said its last word."""
    with suppress(RuntimeError):
        _store().set(ENDED, "1")


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()


def _said(error: RuntimeError) -> str:
    """Message of torch, without the place in its source."""
    return re.sub(r"^\[[^]]*\] ", "", reason(error)).partition(". ")[0][:80]
