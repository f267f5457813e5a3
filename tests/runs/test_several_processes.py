"""One run in several processes: its folder, what may be wrong with them, and how they end.

Processes are forked from this one, with what torchrun tells those that it starts; one test starts
it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import pyrovae
from pyrovae import compare, diagnose, evaluate, explore, refine, train
from pyrovae.compute.devices import own_device
from pyrovae.compute.distributed import Processes, let_others_end
from pyrovae.diagnosis import agreement, diagnosis
from pyrovae.errors import SpecError
from pyrovae.runs.loading import load_run
from pyrovae.runs.manifest import verify

pytestmark = [
    pytest.mark.usefixtures("without_figures"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
]
PORTS = itertools.count()
ENDLESS = ("--set", "inference.epochs=100000", "--compile", "off")


class Ended(NamedTuple):
    """How a process ended: its exit status, or minus the signal, and what it said."""

    status: int
    out: str
    err: str


def free_port() -> int:
    """A port that nobody else is given meanwhile, as those of 32768 and above may be."""
    for port in (20000 + (os.getpid() * 7 + next(PORTS)) % 10000 for _ in range(100)):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Started:
    """Processes that run a command together, rank by rank with some words more."""

    def __init__(
        self,
        words: tuple[Any, ...],
        *more: tuple[Any, ...],
        where: Any = None,
        main: Any = train.main,
    ) -> None:
        self.main = main
        port = free_port()
        self.pids = [
            self._fork(rank, len(more), port, [*map(str, (*words, *own))], where)
            for rank, own in enumerate(more)
        ]

    def _fork(self, rank: int, size: int, port: int, words: list[str], where: Any) -> int:
        pid = os.fork()
        if pid:
            return pid
        status = 70
        try:
            signal.alarm(60)
            torch.set_num_threads(1)
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
                           "MASTER_PORT": str(port)}  # fmt: skip
            out, err = (Path(f"{name}-{rank}") for name in ("out", "err"))
            with out.open("w") as sys.stdout, err.open("w") as sys.stderr:
                if where is not None:
                    where(rank)
                status = self.main(words)
            if rank == 0:
                with contextlib.suppress(ValueError):  # they have not met
                    let_others_end()
        except BaseException as error:
            Path(f"err-{rank}").write_text(f"Traceback: {error!r}")
        os._exit(status)

    def saved(self, folder: str) -> None:
        """Wait until the run has finished an epoch."""
        until = time.monotonic() + 30
        while not (Path(folder) / "last.safetensors").exists():
            assert time.monotonic() < until, [*map(Path.read_text, Path().glob("err-*"))]
            time.sleep(0.02)

    def end(self) -> list[Ended]:
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in self.pids]
        said = [[Path(f"{name}-{r}").read_text() for name in ("out", "err")]
                for r in range(len(statuses))]  # fmt: skip
        return [Ended(status, *texts) for status, texts in zip(statuses, said, strict=True)]


@pytest.fixture
def words(counts: Path, overrides: Any) -> tuple[Any, ...]:
    """A small run; two of its processes share batches of eight."""
    return ("vae", "svi", "--data", counts, "--output", "run", *overrides())


def facts(folder: str = "run") -> dict[str, Any]:
    return json.loads((Path(folder) / "run.json").read_text())


def test_a_run_of_two_processes_is_a_run_and_goes_on_in_one(
    words: tuple[Any, ...], command: Any
) -> None:
    first, second = Started(words, (), ()).end()
    assert (first.status, first.err) == (0, "")
    assert second == Ended(0, "", "")  # the first writes and prints
    assert "processes   2, each with its share of every batch\n" in first.out
    assert facts()["processes"] == 2
    assert load_run(Path("run"))
    assert not verify(Path("run"))
    alone = command("--resume", "run", "--set", "inference.epochs=3")
    assert alone.status == 0, alone.err
    assert facts()["processes"] == 1
    again = ("--resume", "run", "--set", "inference.epochs=4")
    assert [each.status for each in Started(again, (), ()).end()] == [0, 0]
    lines = [json.loads(line) for line in (Path("run") / "metrics.jsonl").read_text().splitlines()]
    epochs = [line["epoch"] for line in lines if line["split"] == "train"]
    assert (epochs, facts()["status"]) == ([1, 2, 3, 4], "finished")


def test_an_evaluation_of_two_processes_is_that_of_one(
    words: tuple[Any, ...], command: Any, command_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrovae.compute.chunks.data", lambda device: 3)
    assert command(*words).status == 0
    asked = ("run", "--samples", "10")
    assert command_of(evaluate.main)(*asked, "--output", "alone").status == 0
    first, second = Started((*asked, "--output", "shared"), (), (), main=evaluate.main).end()
    assert (first.status, first.err) == (0, "")
    assert second == Ended(0, "", "")
    assert "log p(x)" in first.out
    alone, shared = (next(Path(name).glob("*.csv")).read_text() for name in ("alone", "shared"))
    assert shared == alone
    nowhere = Started(("no-run",), (), (), main=evaluate.main).end()
    assert [each.status for each in nowhere] == [2, 2]
    assert [each.err.count("\n") for each in nowhere] == [1, 0]


def test_processes_that_would_share_other_work_say_so_once(
    words: tuple[Any, ...], command: Any, counts: Path
) -> None:
    assert command(*words).status == 0
    assert command(*words, "--seed", "3", "--output", "another").status == 0
    np.save("other.npy", np.load(counts)[::-1])
    cases: list[tuple[tuple[Any, ...], str]] = [
        (("run", "--num", "1"), "its options: give all"),
        (("another",), "its weights: copy"),
        (("run", "--data", "other.npy"), "its data: copy"),
    ]
    for more, expected in cases:
        asked = [("run",), more]
        first, second = Started(("--samples", "5"), *asked, main=evaluate.main).end()
        assert (first.status, second) == (2, Ended(2, "", second.err)), (first, second)
        assert f"process 1: not those of process 0 are {expected}" in first.err


def test_a_refinement_of_two_processes_is_a_run(
    words: tuple[Any, ...], command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("check_calibration", "divergence"):
        function = getattr(agreement, name)
        few = partial(lambda check, vae, like, _: check(vae, like, 100), function)
        monkeypatch.setattr(agreement, name, few)
    assert command(*words).status == 0
    asked = ("run", "--minutes", "0.01", "--until", "1000000", "--output", "better",
             "--compile", "off")  # fmt: skip
    first, second = Started(asked, (), (), main=refine.main).end()
    assert (first.status, first.err) == (0, "")
    assert second == Ended(0, "", "")
    assert first.out.count("on data from the model KL") == 2  # before and after
    found = facts("better")
    assert (found["processes"], found["status"]) == (2, "finished")
    lines = [json.loads(line) for line in Path("better/metrics.jsonl").read_text().splitlines()]
    budget = load_run("better").inference.epochs
    assert max(line["epoch"] for line in lines) == -(-budget // 10)  # as the first has decided
    assert not verify(Path("better"))


def none(*_: Any) -> Any:
    raise SpecError("not looked at here")


def test_a_diagnosis_of_two_processes_is_that_of_one(
    words: tuple[Any, ...],
    command: Any,
    command_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    fewer: None,
    plain: None,
) -> None:
    for name in ("collapse", "aggregate", "predictive"):  # in each process, and not shared
        monkeypatch.setattr(diagnosis, f"check_{name}", none)
    quick = {"check_mcmc": {"warmup": 2, "draws": 8}, "check_sandwich": {"steps": 2},
             "anneal": {"steps": 2}}  # fmt: skip
    for name, options in quick.items():
        monkeypatch.setattr(diagnosis, name, partial(getattr(diagnosis, name), **options))
    monkeypatch.setattr("pyrovae.diagnosis.gap.STEPS", 2)
    monkeypatch.setattr("pyrovae.evaluation.annealed_importance.PILOT_TRIES", 2)
    monkeypatch.setattr("pyrovae.diagnosis.mcmc.DATA_ON_A_CPU", 2)
    assert command(*words, "--split", "fractions=0.4,0.2,0.4").status == 0
    asked = ("run", "--full", "--draws", "100")
    assert command_of(diagnose.main)(*asked, "--output", "alone").status == 0
    strict = (*asked, "--strict", "--output", "shared")
    first, second = Started(strict, (), (), main=diagnose.main).end()
    one, two = (json.loads(Path(name, "numbers.json").read_text()) for name in ("alone", "shared"))
    for question, answer in one["checks"].items():
        assert two["checks"][question] | {"seconds": 0} == answer | {"seconds": 0}
    assert one["grade"] == "FAIL"  # of a model that was trained for two epochs
    assert (first.status, first.err) == (1, "")
    assert second == Ended(1, "", "")
    first, second = Started((*asked, "--num", "2"), (), (), main=diagnose.main).end()
    assert (first.status, first.err.count("\n")) == (2, 1)
    assert second == Ended(2, "", "")


def test_factors_in_two_processes_are_those_in_one(
    words: tuple[Any, ...], command: Any, command_of: Any, plain: None
) -> None:
    x = np.random.default_rng(0).integers(0, 17, (60, 8, 8))
    np.savez("known.npz", x=x, factors=np.stack([np.arange(60) % 2, x[:, 3, 3] // 9], 1))
    assert command(*words, "--data", "known.npz").status == 0
    assert command_of(explore.main)("run", "factors", "--output", "by-1").status == 0
    asked = ("run", "factors", "--output", "by-2")
    first, second = Started(asked, (), (), main=explore.main).end()
    assert (first.status, first.err) == (0, "")
    assert second == Ended(0, "", "")
    one, two = (json.loads(Path(f"by-{size}/factors.json").read_text()) for size in (1, 2))
    assert one["numbers"] == two["numbers"]
    assert command(*words, "--output", "unknown").status == 0
    first, second = Started(("unknown", "factors"), (), (), main=explore.main).end()
    assert (first.status, first.err.count("\n")) == (2, 1)
    assert second == Ended(2, "", "")


def test_processes_that_cannot_train_together_say_why_once(
    words: tuple[Any, ...], counts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrovae.runs.processes.UNTIL_SEEN", 0.5)
    np.save("other.npy", np.load(counts) // 2)
    Path("elsewhere").mkdir()

    def elsewhere(rank: int) -> None:
        if rank:
            os.chdir("elsewhere")

    one: tuple[Any, ...] = ("--set", "inference.batch_size=1")
    cases: list[tuple[list[tuple[Any, ...]], Any, tuple[str, ...]]] = [
        ([one, one], None, ("2 processes share batches of inference.batch_size = 1 obs",)),
        ([(), ("--data", "other.npy")], None, ("process 1: its data are others",)),
        ([(), ("--seed", "3")], None, ("process 1: its specification is another",)),
        ([(), ("--compile", "off")], None, ("process 1: its --compile",)),
        ([(), ("--start", "nowhere")], None, ("process 1: ", "nowhere")),
        ([(), ()], elsewhere, ("process 1: its ", "--output has to be on")),
    ]
    for more, where, expected in cases:
        first, second = Started(words, *more, where=where).end()
        assert not Path("run/checkpoint.pt").exists()
        assert (first.status, second.status) == (2, 2), (first, second)
        assert all(word in first.err for word in expected), first.err
        assert first.err.count("\n") == 1
        assert second.err == ""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_interrupts_all_after_a_step(words: tuple[Any, ...], rank: int) -> None:
    started = Started((*words, *ENDLESS), (), ())
    started.saved("run")
    os.kill(started.pids[rank], signal.SIGTERM)
    ended = started.end()
    assert ended[rank].status == 128 + signal.SIGTERM
    assert ended[1 - rank].status == 0
    assert "go on with\n  python -m pyrovae.train --resume run\n" in ended[0].out
    assert [each.err for each in ended] == ["", ""]
    assert facts()["status"] == "interrupted"


@pytest.mark.parametrize("rank", [0, 1])
def test_where_one_is_killed_all_end_and_say_how_the_run_goes_on(
    words: tuple[Any, ...], rank: int, command: Any
) -> None:
    started = Started((*words, *ENDLESS), (), ())
    started.saved("run")
    os.kill(started.pids[rank], signal.SIGKILL)
    killed = time.monotonic()
    ended = started.end()
    assert time.monotonic() - killed < 30
    left = ended[1 - rank]
    assert left.status == 2, ended
    assert left.err.startswith(f"process {1 - rank} of 2 has lost another one, which has ended")
    assert left.err.endswith("; go on from the last epoch with --resume run\n")
    assert left.err.count("\n") == 1
    assert facts()["status"] == ("interrupted" if rank else "running")
    step = torch.load("run/checkpoint.pt", weights_only=True)["state"]["step"]
    again = command("--resume", "run", "--set", f"inference.epochs={step // 2 + 1}")
    assert again.status == 0, again.err


def test_each_process_has_a_gpu_of_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Processes(rank=3, size=4, local_rank=1, local_size=2)
    assert own_device("auto", two) == "auto"  # there is none
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [own_device(name, two) for name in ("auto", "cuda", "cpu")] == [
        "cuda:1",
        "cuda:1",
        "cpu",
    ]
    assert own_device("cuda:1", Processes()) == "cuda:1"
    with pytest.raises(SpecError, match=r"cannot have the same GPU; choose --device cuda$"):
        own_device("cuda:1", two)
    with pytest.raises(SpecError, match=r"3 processes need .* --nproc-per-node 2, or .* cpu$"):
        own_device("auto", Processes(rank=0, size=3, local_rank=0, local_size=3))


def test_other_commands_refuse_to_be_started_several_times(
    command_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "here"}.items():
        monkeypatch.setenv(name, value)
    alone = (compare, "run", "other"), (diagnose, "run"), (explore, "run", "factors", "samples")
    for command, *words in alone:
        outcome = command_of(command.main)(*words)
        assert outcome.status == 2
        assert "as one process alone, without torchrun" in outcome.err


@pytest.mark.slow
def test_torchrun(words: tuple[Any, ...]) -> None:
    root = str(Path(pyrovae.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "pyrovae.train", *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test ELBO") == 1
    assert facts()["processes"] == 2
