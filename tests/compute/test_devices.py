"""The device that a name stands for, on machines with and without GPUs."""

from __future__ import annotations

import pytest
import torch

from pyrovae.compute.devices import choose_device
from pyrovae.errors import SpecError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A machine with two GPUs; those that are made the current one."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


@pytest.mark.parametrize(
    ("name", "chosen"), [("auto", "cuda"), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1")]
)
def test_each_gpu_has_a_name(two_gpus: list[torch.device], name: str, chosen: str) -> None:
    assert choose_device(name) == torch.device(chosen)
    assert two_gpus == ([torch.device(chosen)] if ":" in name else [])


def test_one_gpu_too_many_is_refused_with_those_that_there_are(
    two_gpus: list[torch.device],
) -> None:
    with pytest.raises(SpecError, match=r"--device cuda:2: .*: auto, cpu, cuda, cuda:0, cuda:1$"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda1", "", "mps"])
def test_names_of_no_device_are_refused_on_every_machine(
    two_gpus: list[torch.device], name: str
) -> None:
    with pytest.raises(SpecError, match=f"--device {name}"):
        choose_device(name)


def test_mps_is_refused_for_its_lack_of_double_precision() -> None:
    with pytest.raises(SpecError, match="float64, which mps does not have"):
        choose_device("mps")


def test_without_a_gpu_the_device_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(SpecError, match="--device cuda:1: torch finds no GPU"):
        choose_device("cuda:1")
