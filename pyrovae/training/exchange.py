"""Exchange in each step between processes that train together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from pyrovae.compute.distributed import Processes

# Steps after which a GPU is asked whether to stop, for which it has to wait.
LOOK_EVERY = 16


class Exchange:
    r"""One sum over the processes in each step: gradients, reported sums, and the wish to stop.

    .. math::
        g = \sum_r \frac{n_r}{n} g_r

    is the gradient of the mean loss of n observations, from the gradients of the mean losses of
    the :math:`n_r` that process r has; also where some have fewer, or none. Everything is in one
    flat tensor, of the gradients' type.

    Args:
        processes: The processes.

    Attributes:
        wanted: Whether this process wants to stop.
        agreed: Whether one of them wanted, as all know after the same step.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.wanted = False
        self.agreed = False
        self._count = 0

    def __call__(
        self, total: Tensor, gradients: Sequence[Tensor], share: float
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """The reported sums and the gradients of the whole batch.

        Args:
            total: Sums of the own share of the batch, in float64.
            gradients: Gradients of its mean loss.
            share: Which part of the batch it is.
        """
        if self.processes.alone:
            return total, gradients
        dtype = reduce(torch.promote_types, {each.dtype for each in gradients})
        wish = total.new_full((1,), float(self.wanted), dtype=dtype)
        own = [(each * share).reshape(-1) for each in gradients]
        flat = self.processes.add(torch.cat([*own, total.to(dtype), wish]))
        self._count += 1
        if not flat.is_cuda or self._count % LOOK_EVERY == 0:
            self.agreed = bool(flat[-1] > 0)
        *parts, reported, _ = flat.split([*(each.numel() for each in own), len(total), 1])
        summed = [
            part.view_as(each).to(each.dtype) for part, each in zip(parts, gradients, strict=True)
        ]
        return reported.to(total.dtype), summed
