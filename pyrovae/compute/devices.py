"""The device that a run asks for."""

from __future__ import annotations

import torch

from pyrovae.compute.distributed import Processes
from pyrovae.errors import SpecError


def choose_device(name: str) -> torch.device:
    """The device that a name stands for.

    Args:
        name: "auto", "cpu", "cuda", or one of several GPUs, such as "cuda:1".

    Raises:
        SpecError: There is no such device on this machine, or it lacks double precision.
    """
    if name == "mps":
        raise SpecError(
            "--device mps is not supported, because log-densities are summed in float64, which "
            "mps does not have; choose --device cpu"
        )
    gpus = []
    if torch.cuda.is_available():
        gpus = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name.partition(":")[0] == "cuda" and not gpus:
        raise SpecError(
            f"--device {name}: torch finds no GPU on this machine; choose --device cpu or auto"
        )
    if name not in (known := ["auto", "cpu", *gpus]):
        raise SpecError(
            f"--device {name}: there is no such device on this machine; choose one of: "
            + ", ".join(known)
        )
    chosen = torch.device("cuda" if name == "auto" and gpus else name.replace("auto", "cpu"))
    if chosen.index is not None:
        torch.cuda.set_device(chosen)  # streams and graphs are made on the current device
    return chosen


def own_device(name: str, processes: Processes) -> str:
    """The device of one of several processes: each has a GPU of its machine to itself.

    Args:
        name: The device that is asked for, as in :func:`choose_device`.
        processes: The processes.

    Raises:
        SpecError: There are fewer GPUs than processes, or all processes ask for the same.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if processes.alone or name == "cpu" or gpus == 0:
        return name
    if ":" in name:
        raise SpecError(
            f"--device {name}: several processes cannot have the same GPU; choose --device cuda"
        )
    if processes.local_size > gpus:
        raise SpecError(
            f"{processes.local_size} processes need a GPU each, and this machine has {gpus}: "
            f"give torchrun --nproc-per-node {gpus}, or choose --device cpu"
        )
    return f"cuda:{processes.local_rank}"
