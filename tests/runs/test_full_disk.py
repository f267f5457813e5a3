"""On a disk that is full from any write on nothing is lost, and a sentence says so.

With space again, the same command or ``--resume`` ends as if there had always been some.
"""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from pyrovae import compare, encode, evaluate, explore, reconstruct, refine, sample
from pyrovae.runs.manifest import FILES, verify

pytestmark = [
    pytest.mark.usefixtures("without_figures", "plain", "annealing"),
    pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device is always full"),
]
# Which writes are tried: some at once, all in ``make slow``.
EVERY = pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])


@contextmanager
def full_from(nth: int, *, even_names: bool) -> Iterator[list[str]]:
    """The disk is full when a file is written the nth time: no byte more, or no new name either.

    Yields:
        The files that could not be written.
    """
    here, count, failed = Path.cwd(), itertools.count(1), []
    opened, os_open, mkdir = io.open, os.open, os.mkdir

    def is_full(path: Any) -> bool:
        inside = here in (here / os.fsdecode(path)).parents
        if inside and next(count) >= nth:
            failed.append(os.fsdecode(path))
            return True
        return False

    def no_space(path: Any) -> OSError:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))

    def opening(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        writes = set(mode) & set("wax+") and not isinstance(file, int)
        if writes and is_full(file):
            if even_names:
                raise no_space(file)
            if not Path(file).exists():
                os.close(os_open(file, os.O_CREAT | os.O_WRONLY))  # a name needs no space
            file, mode = "/dev/full", mode.replace("x", "w")
        return opened(file, mode, *rest, **named)

    def opening_low(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if even_names and flags & os.O_CREAT and is_full(path):
            raise no_space(path)
        return os_open(path, flags, *rest, **named)

    def making(path: Any, *rest: Any, **named: Any) -> None:
        if even_names and is_full(path):
            raise no_space(path)
        mkdir(path, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", opening)
        patch.setattr(builtins, "open", opening)
        patch.setattr(os, "open", opening_low)
        patch.setattr(os, "mkdir", making)
        yield failed


Words = list[str | Path]
FEW = ["--num", "1", "--samples", "2"]
OTHERS: dict[str, tuple[Any, Words]] = {
    "evaluate": (evaluate.main, ["run", *FEW]),
    "encode": (encode.main, ["run"]),
    "encode to CSV": (encode.main, ["run", "--output", "codes.csv"]),
    "sample": (sample.main, ["run", "--num", "2"]),
    "reconstruct": (reconstruct.main, ["run", "--output", "x.npz"]),
    "compare": (compare.main, ["run", "other", *FEW, "--output", "compared"]),
    "explore": (explore.main, ["run", "interpolations"]),
    "refine": (refine.main, ["run", "--set", "inference.epochs=1", "--output", "refined"]),
}


NEW = ("compared", "refined")  # what has to be a new folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_said(outcome: Any) -> None:
    lines = outcome.err.splitlines()
    assert outcome.status == 2, outcome
    assert "Traceback" not in outcome.err
    assert any("No space left on device" in line for line in lines), lines
    assert all(len(line) <= 300 for line in lines)


@EVERY
@pytest.mark.parametrize("even_names", [False, True])
def test_a_training_on_a_full_disk_loses_nothing(
    command: Any,
    counts: Path,
    overrides: Any,
    train: Any,
    assert_same_runs: Callable[[Path, Path], None],
    even_names: bool,
    every: int,
) -> None:
    whole = train(output="whole")
    for nth in itertools.count(1, every):
        folder = Path(f"run-{nth}")
        begin = ["--data", counts, "--output", folder, *overrides()]
        with full_from(nth, even_names=even_names) as failed:
            outcome = command(*begin)
        if not failed:
            break
        assert_said(outcome)
        assert list(folder.rglob(".*.writing")) == [], nth
        verify(folder, *FILES)
        begun = (folder / "checkpoint.pt").exists()
        after = command(*(["--resume", folder] if begun else begin))
        assert after.status == 0, (nth, after)
        assert_same_runs(whole, folder)
    assert nth > 20  # else it was not tried at every write


@EVERY
@pytest.mark.parametrize("even_names", [False, True])
def test_other_commands_on_a_full_disk_lose_nothing(
    command_of: Any,
    train: Any,
    once: Any,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    even_names: bool,
    every: int,
) -> None:
    """Each command was there before, and what it wrote then stays."""
    monkeypatch.setattr("pyrovae.report.figures.comparison.differences", lambda *_: Figure())
    monkeypatch.setattr("pyrovae.runs.refine._before", lambda _: None)
    monkeypatch.setattr("pyrovae.runs.train._say_agreement", lambda *_: None)
    once("finished", train)
    train(settings=("inference.seed=1",), output="other")
    for name, (main, words) in OTHERS.items():
        before = {n: b for n, b in files(here).items() if not n.startswith(NEW)}
        for nth in itertools.count(1, every):
            for new in NEW:
                shutil.rmtree(here / new, ignore_errors=True)
            with full_from(nth, even_names=even_names) as failed:
                outcome = command_of(main)(*words)
            if not failed:
                break
            assert_said(outcome)
            after = files(here)
            assert before.items() <= after.items(), (name, nth)
            assert not [file for file in after if file.endswith((".writing", ".part"))], name
        assert outcome.status == 0, (name, outcome)
