"""Killed anywhere, or beside another process, a run ends as if it had been alone and undisturbed.

Processes are forked from this one, which has imported torch.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pyrovae import evaluate, train
from pyrovae.runs.loading import load_run
from pyrovae.runs.manifest import FILES, verify

pytestmark = [
    pytest.mark.usefixtures("without_figures"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
]
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
VARIANTS: tuple[tuple[str, ...], ...] = (
    (),
    ("model.prior.kind=vamp", "inference.early_stopping.patience=1", "inference.epochs=4"),
    ("inference.resampling.kind=histogram", "inference.beta.kind=linear"),
)


def cases(quick: int, all_of_them: int) -> pytest.MarkDecorator:
    """How many a test tries, at once and in ``make slow``."""
    return pytest.mark.parametrize(
        "count", [quick, pytest.param(all_of_them, marks=pytest.mark.slow)]
    )


class Ended(NamedTuple):
    """How a process ended: its exit status, or minus the signal, and its stderr."""

    status: int
    said: str

    def well(self) -> bool:
        """Status 0, or 2 with a sentence."""
        lines = self.said.splitlines()
        short = all(len(line) <= 300 for line in lines)
        told = bool(lines) and short and "Traceback" not in self.said
        return self.status == 0 or (self.status == 2 and told)


class Process:
    """A command in a process of its own."""

    def __init__(self, main: Any, words: list[str | Path], before: Callable[[], None]) -> None:
        self.said = Path(f"said-{time.monotonic_ns()}")
        self.pid = os.fork()
        if self.pid == 0:  # never comes back
            status = 70
            try:
                with self.said.open("w") as file, contextlib.redirect_stdout(None):
                    sys.stderr = sys.__stderr__ = file
                    before()
                    status = main([str(word) for word in words])
            except SystemExit as stop:
                status = stop.code if isinstance(stop.code, int) else 70
            except BaseException as error:
                self.said.write_text(f"Traceback: {error!r}")
            finally:
                os._exit(status)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> Ended:
        _, status = os.waitpid(self.pid, 0)
        said = self.said.read_text() if self.said.exists() else ""
        self.said.unlink(missing_ok=True)
        return Ended(os.waitstatus_to_exitcode(status), said)


def nothing() -> None:
    """Before a command that is left alone."""


def at_change(nth: int, reached: Callable[[int], None]) -> Callable[[], None]:
    """Before a command: something is done when it is about to change files the nth time."""

    def watch() -> None:
        here, count = os.fspath(Path.cwd()), 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if event == "open":
                path, mode, flags = arguments
                writes = any(c in (mode or "") for c in "wax+") or (flags & 3 and mode is None)
                if not writes or not str(path).startswith((here, "run")):
                    return
            elif event not in CHANGES:
                return
            count += 1
            if count >= nth:
                reached(count)

        sys.addaudithook(hook)

    return watch


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def changes(words: list[str | Path]) -> int:
    """How often a command changes files."""
    counted = Path("counted")
    fd = os.open(counted, os.O_WRONLY | os.O_CREAT)
    process = Process(train.main, words, at_change(1, lambda _: os.write(fd, b".") and None))
    assert process.end().status == 0
    os.close(fd)
    return counted.stat().st_size


@pytest.fixture
def begun(counts: Path, overrides: Any) -> Callable[[Path, int], list[str | Path]]:
    """The command that begins a run of one of the variants."""

    def words(folder: Path, variant: int) -> list[str | Path]:
        settings = overrides("inference.epochs=3", *VARIANTS[variant])
        return ["vae", "svi", "--data", counts, "--output", folder, *settings]

    return words


@pytest.fixture
def whole(begun: Any, command: Any) -> Callable[[int], Path]:
    """The run of a variant, uninterrupted."""

    @cache
    def run(variant: int) -> Path:
        folder = Path(f"whole-{variant}")
        outcome = command(*begun(folder, variant))
        assert outcome.status == 0, outcome.err
        return folder

    return run


def again(folder: Path, begin: list[str | Path]) -> list[str | Path]:
    """The command that goes on with a run, or begins it."""
    return ["--resume", folder] if (folder / "checkpoint.pt").exists() else begin


@cases(2, 300)
def test_a_run_that_is_killed_anywhere_goes_on_bit_for_bit(
    begun: Any, whole: Any, assert_same_runs: Any, count: int
) -> None:
    """At each change of a file, and at any time; half of them are killed once more."""
    points = cache(lambda variant: changes(begun(Path(f"run-counted-{variant}"), variant)))
    whole(0)  # the first takes longer
    started = time.monotonic()
    whole(1)
    seconds = time.monotonic() - started
    kills = 0

    def killed(words: list[str | Path], nth: int | None, draw: random.Random) -> None:
        nonlocal kills
        process = Process(train.main, words, nothing if nth is None else at_change(nth, die))
        if nth is None:
            time.sleep(draw.uniform(0.0, 1.1 * seconds))
            process.kill()
        ended = process.end()
        assert ended.status == -signal.SIGKILL or ended.well(), ended
        kills += ended.status == -signal.SIGKILL

    number = 0
    while kills < count:
        draw, variant = random.Random(number), number % len(VARIANTS)
        folder, begin = Path(f"run-{number}"), begun(Path(f"run-{number}"), variant)
        place = number // len(VARIANTS)
        spread = 1 + place * 7919 % points(variant)  # each once, far apart at first
        killed(begin, spread if number % 2 or place < points(variant) else None, draw)
        if draw.random() < 0.5:
            verify(folder, *FILES)
            timed = draw.random() < 0.5
            killed(again(folder, begin), None if timed else draw.randrange(1, 40), draw)
        verify(folder, *FILES)
        ended = Process(train.main, again(folder, begin), nothing).end()
        assert ended.status == 0, (number, ended)
        assert load_run(folder).facts.status == "finished", number
        assert_same_runs(whole(variant), folder)
        assert [file.name for file in folder.glob(".*")] == [], number
        number += 1


@cases(1, 50)
def test_two_processes_at_one_folder_leave_one_whole_run(
    begun: Any, whole: Any, assert_same_runs: Any, count: int
) -> None:
    """The other is refused in a sentence; a reader reads what is whole, or says what is not."""
    for number in range(count):
        draw, folder = random.Random(number), Path(f"run-{number}")
        one, two = draw.sample(range(len(VARIANTS)), 2)
        begin = begun(folder, one)
        if number % 3 == 2:
            nth = draw.randrange(15, 40)
            Process(train.main, begin, at_change(nth, die)).end()
            begin, pair = again(folder, begin), (train.main, again(folder, begin))
            known = [one]
        elif number % 3 == 1:
            pair, known = (evaluate.main, [folder, "--num", "1", "--samples", "2"]), [one]
        else:
            pair, known = (train.main, begun(folder, two)), [one, two]
        first = Process(train.main, begin, nothing)
        time.sleep(draw.choice([0.0, 0.0, draw.uniform(0.0, 0.5)]))
        second = Process(*pair, nothing)
        ended = [first.end(), second.end()]
        assert all(each.well() for each in ended), (number, ended)
        assert 0 in [each.status for each in ended], (number, ended)
        found = [variant for variant in known if same_inference(whole(variant), folder)]
        assert len(found) == 1, number
        verify(folder, *FILES)
        assert_same_runs(whole(found[0]), folder)


def same_inference(first: Path, second: Path) -> bool:
    """Whether two runs were declared alike."""
    names = ("model.toml", "inference.toml")
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
