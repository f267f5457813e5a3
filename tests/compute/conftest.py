"""A pretended device: real numbers, which code may not tell from those on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
DEVICE = "meta"  # the one device besides the CPU that torch has everywhere, and differentiates on
CPU = torch.device("cpu")
COPIES = {aten.copy_.default, aten._to_copy.default}
# Indices may lie on the CPU, as on a GPU; they are copied.
INDEXED = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
# What has to know a number, or how many there are of something, waits for the device.
WAITS = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.repeat_interleave.Tensor,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.bincount.default,
}


class Away(Tensor):
    """A tensor that says it is on the pretended device; ``here`` are its numbers."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Away:
        away: Any = torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )
        away.here = here
        return away

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        return compute(operation, arguments, options or {})


def compute(operation: Any, arguments: Any, options: Any) -> Any:
    """Do on the CPU what is asked of the pretended device, if a GPU could do it."""
    tensors = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Tensor)]
    away = [tensor for tensor in tensors if isinstance(tensor, Away)]
    if away and operation not in COPIES:
        free = tensors[1:] if operation in INDEXED and tensors[0] is away[0] else []
        for tensor in tensors:
            if tensor.device == CPU and tensor.ndim and not any(tensor is one for one in free):
                raise RuntimeError(f"{operation} mixes the CPU with the pretended device")
    asked = options.get("device")
    if operation is aten.copy_.default:
        remains = isinstance(tensors[0], Away)
    else:
        remains = bool(away) if asked is None else torch.device(asked).type == DEVICE
    options = {**options, **({} if asked is None else {"device": CPU})}
    found = operation(*tree_map(inside, arguments), **tree_map(inside, options))
    if away and torch.Tag.inplace_view in operation.tags:
        with no_dispatch():  # the shape that is told outside
            operation(*arguments, **options)
    known = {id(tensor.here): tensor for tensor in away}

    def outside(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return known[id(value)] if id(value) in known else Away(value)

    return tree_map(outside, found) if remains else found


def inside(value: Any) -> Any:
    return value.here if isinstance(value, Away) else value


class PretendedDevice(TorchDispatchMode):
    """The device: operations come here, also those that make tensors out of none.

    Attributes:
        name: Name of the device.
        may_wait: False while whatever makes the CPU wait for the device raises.
    """

    name = DEVICE
    may_wait = True

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        options = options or {}
        if not self.may_wait and waits(operation, arguments, options):
            raise RuntimeError(f"{operation} waits for the device")
        return compute(operation, arguments, options)

    @contextmanager
    def no_waiting(self) -> Iterator[None]:
        """Whatever makes the CPU wait for the device raises."""
        self.may_wait = False
        try:
            yield
        finally:
            self.may_wait = True


class Numbers(TorchFunctionMode):
    """Numbers of Python's are copied to a device: by itself, torch leaves those on "meta" out."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        options = dict(options or {})
        if function is Tensor.new_tensor:
            like, *arguments = arguments
            options = {"dtype": like.dtype, "device": like.device, **options}
            function = torch.tensor
        if function in (torch.tensor, torch.as_tensor):
            device = options.pop("device", None)
            made = function(*arguments, **options)
            return made if device is None else made.to(device)
        if function is Tensor.tolist:
            return function(arguments[0].cpu())
        return function(*arguments, **options)


def waits(operation: Any, arguments: Any, options: Any) -> bool:
    """Whether an operation cannot be begun before those on the device have ended."""
    if operation in COPIES:
        source = arguments[1] if operation is aten.copy_.default else arguments[0]
        target = arguments[0].device if operation is aten.copy_.default else options.get("device")
        blocking = not (options.get("non_blocking") or (len(arguments) > 2 and arguments[2]))
        return target is not None and target != source.device and blocking
    if not any(isinstance(leaf, Away) for leaf in tree_leaves((arguments, options))):
        return False
    if operation in INDEXED:
        indices = [index for index in arguments[1] if index is not None]
        return any(
            index.dtype in (torch.bool, torch.uint8) or index.device == CPU for index in indices
        )
    return operation in WAITS


@pytest.fixture
def away() -> Iterator[PretendedDevice]:
    """A pretended device, which is there meanwhile."""
    device = PretendedDevice()
    with Numbers(), device:
        yield device
