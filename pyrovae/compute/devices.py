"""The device that a run asks for."""

from __future__ import annotations

import torch

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
