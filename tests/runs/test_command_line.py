"""What all commands share: streams of any kind, signals, memory."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from pyrovae.compare import main as compare
from pyrovae.objectives import Objective
from pyrovae.programs.program_file import ProgramFile
from pyrovae.runs.command_line import run
from pyrovae.runs.interruption import interruptible
from pyrovae.train import main


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding_takes_the_plan_and_the_help(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding))
    assert main(["vae", "svi", "--dry-run"]) == 0
    with pytest.raises(SystemExit):
        compare(["--help"])
    sys.stdout.flush()
    assert b"latent_dim = 8" in out.getvalue()
    assert b"usage" in out.getvalue()


def test_streams_that_are_closed_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["vae", "svi", "--dry-run"]) == 0
    assert main(["vea"]) == 2
    for stream in (sys.stdout, sys.stderr):
        stream.close()  # what took their place


def raising(error: BaseException) -> Any:
    def program() -> int:
        raise error

    return program


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (SystemExit(0), 2, ["sys.exit(0)"]),
        (MemoryError(), 2, ["not enough memory", "batch_size"]),
        (torch.OutOfMemoryError("CUDA out of memory"), 2, ["GPU memory", "inference.accumulate"]),
        (RuntimeError("CUDA error: out of memory"), 2, ["GPU memory", "accumulate"]),
        (OSError(28, "No space left on device", "run/last"), 2, ["run/last", "No space left"]),
        (OSError("of another library"), 2, ["of another library"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
    ],
)
def test_ends_that_are_no_mistakes_of_the_package_are_said(
    capsys: Any, error: BaseException, status: int, words: list[str]
) -> None:
    assert run(raising(error)) == status
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize(("model", "place"), [("vae", Objective), ("handwritten", ProgramFile)])
def test_a_gpu_that_is_too_small_is_said_to_be_wherever_that_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, model: str, place: type
) -> None:
    def full(*arguments: Any, **options: Any) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB.")

    name = "loss_and_terms" if place is Objective else "call"
    monkeypatch.setattr(place, name, full)
    assert main([model, "svi", "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "set inference.accumulate = 2" in said
    assert len(said.splitlines()) == 1


def test_ctrl_c_is_one_also_where_an_import_gives_it_another_type(capsys: Any) -> None:
    def importing() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ImportError("an extension failed") from error
        return 0

    assert run(importing) == 130
    assert capsys.readouterr().err.startswith("interrupted")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_a_command_wherever_it_is(number: signal.Signals) -> None:
    # A shell starts what is in the background with SIGINT ignored.
    expected = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    signal.signal(number, expected)

    def busy() -> int:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:  # as where it is lost in an import
            signal.raise_signal(number)
        return 0

    child = os.fork()
    if child == 0:
        run(busy)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
    assert signal.getsignal(number) == expected


def test_a_working_directory_that_is_gone_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gone").mkdir()
    os.chdir("gone")
    (tmp_path / "gone").rmdir()
    assert main(["vae", "svi", "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith("the working directory has been deleted: change to")
    os.chdir(tmp_path)


def test_a_mistake_of_the_package_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        run(raising(RuntimeError("shapes do not fit")))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    from pyrovae.runs.atomic_files import replaced

    with pytest.raises(OSError, match="No space") as error, replaced(tmp_path / "file"):
        raise OSError(28, "No space left on device")
    assert error.value.filename == str(tmp_path / "file")


def test_the_first_signal_ends_a_step_and_the_second_all(make_training: Any) -> None:
    training = make_training()
    with interruptible(training) as received:
        signal.raise_signal(signal.SIGINT)
        assert training.interrupted
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL  # the third kills the process
    assert received == [signal.SIGINT]
