"""A batch of data: the named tensors that both programs are called with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

KNOWN = "_known"
"""End of the name of a mask: ``y_known`` is true where the value of ``y`` is known."""

X_KNOWN = "x" + KNOWN
"""Mask of the observations."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some observations, each a row of every tensor.

    The programs are called as ``model(x=x, **others)`` and ``guide(x=x, **others)``.

    Attributes:
        x: The observations, ``(batch, *shape)``.
        others: Further variables by name, such as labels, covariates, masks and lengths, each
            ``(batch, *shape of the variable)``.
    """

    x: Tensor
    others: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Batch | Tensor) -> Batch:
        """The batch itself, or a tensor as a batch of ``x`` alone."""
        return data if isinstance(data, Batch) else cls(data)

    @classmethod
    def cat(cls, batches: Sequence[Batch]) -> Batch:
        """One batch after the other; all have the same variables."""
        columns = zip(*(batch.tensors for batch in batches), strict=True)
        return batches[0].rebuilt([torch.cat(column) for column in columns])

    @property
    def variables(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {"x": self.x, **self.others}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, ``x`` first; see :meth:`rebuilt`."""
        return (self.x, *self.others.values())

    @property
    def device(self) -> torch.device:
        """Device of the observations."""
        return self.x.device

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {tuple(v.shape)}" for name, v in self.variables.items())
        return f"Batch({shapes})"

    def __len__(self) -> int:
        """Number of observations."""
        return len(self.x)

    def __getitem__(self, rows: slice | Tensor) -> Batch:
        """Some of the observations."""
        return self.changed(lambda tensor: tensor[rows])

    def split(self, size: int) -> list[Batch]:
        """Batches of ``size`` observations, the last of which may be smaller."""
        parts = zip(*(tensor.split(size) for tensor in self.tensors), strict=True)
        return [self.rebuilt(part) for part in parts]

    def repeat(self, times: int) -> Batch:
        """All observations, one after the other, ``times`` times."""
        return self.changed(lambda tensor: tensor.repeat(times, *(1 for _ in tensor.shape[1:])))

    def to(self, device: str | torch.device, *, non_blocking: bool = False) -> Batch:
        """Move every tensor to a device."""
        return self.changed(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def cpu(self) -> Batch:
        """Move every tensor to the CPU."""
        return self.to("cpu")

    def with_x(self, x: Tensor) -> Batch:
        """Other observations with the same further variables."""
        return Batch(x, self.others)

    def unlabelled(self, names: Collection[str]) -> Batch:
        """The same batch in which no value of some variables is known.

        Args:
            names: Names of variables, of which ``name_known`` becomes false.
        """
        hidden = {name + KNOWN for name in names}
        others = {
            name: torch.zeros_like(tensor) if name in hidden else tensor
            for name, tensor in self.others.items()
        }
        return Batch(self.x, others)

    def rebuilt(self, tensors: Sequence[Tensor]) -> Batch:
        """A batch of the same variables with other values, in the order of :attr:`tensors`."""
        x, *others = tensors
        return Batch(x, dict(zip(self.others, others, strict=True)))

    def changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with ``change`` applied to every tensor."""
        return self.rebuilt([change(tensor) for tensor in self.tensors])
