"""A run's folder is what the run wrote: damage is named, and nothing that was on disk is lost."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file

import pyrovae.report.figures
from pyrovae import Splits, build, load, load_data, load_weights, save
from pyrovae.errors import CheckpointError
from pyrovae.evaluation.bound import evaluate
from pyrovae.runs.atomic_files import write_atomically
from pyrovae.runs.facts import RunFacts
from pyrovae.runs.loading import load_run
from pyrovae.runs.manifest import FILES, verify
from pyrovae.runs.metrics_file import read_metrics

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture
def run(train: Any, once: Any) -> Path:
    """A run of two epochs that has ended."""
    return once("finished", train)


def flip(file: Path, place: float) -> None:
    """Change one bit of a file, without a change of its size."""
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    file.write_bytes(content)


def digit(file: Path) -> None:
    """Change one digit of a text, which is as valid as before."""
    text = file.read_text(encoding="utf-8")
    place = next(at for at in range(len(text) - 1, 0, -1) if text[at] in "12345678")
    new = str(int(text[place]) + 1)
    file.write_text(f"{text[:place]}{new}{text[place + 1 :]}", encoding="utf-8")


def assert_named(attempt: Callable[[], object], file: str) -> None:
    with pytest.raises(CheckpointError) as error:
        attempt()
    assert file in str(error.value)
    assert len(str(error.value)) <= 300
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7, 0.9, 1.0])
def test_a_flipped_bit_in_the_weights_is_named(run: Path, place: float) -> None:
    flip(run / "weights.safetensors", place)
    assert_named(lambda: load_run(run), "weights.safetensors")
    assert_named(lambda: load(run), "weights.safetensors")
    assert_named(lambda: load(run / "weights.safetensors"), "weights.safetensors")


def test_a_flipped_bit_in_a_file_of_weights_alone_is_named(few: Splits, here: Path) -> None:
    vae = build("vae", "svi", few, {"model.decoder.widths": [4]})
    file = here / "vae.safetensors"
    for place in torch.linspace(0, 1, 30).tolist():  # none is in the name of the check sum
        save(vae, file)
        flip(file, place)
        assert_named(lambda: load(file), file.name)
        assert_named(lambda: load_weights(vae, file), file.name)


def test_the_same_weights_are_the_same_file(few: Splits, here: Path) -> None:
    vae = build("vae", "svi", few, {"model.decoder.widths": [4]})
    found = set()
    for _ in range(10):
        save(vae, "vae.safetensors")
        found.add((here / "vae.safetensors").read_bytes())
    assert len(found) == 1


def test_a_file_of_weights_without_a_check_sum_opens_as_it_did(few: Splits, here: Path) -> None:
    vae = build("vae", "svi", few, {"model.decoder.widths": [4]})
    save(vae, "new.safetensors")
    with safe_open("new.safetensors", "pt") as file:
        metadata = {"declaration": file.metadata()["declaration"]}
    weights = {name: value.clone() for name, value in vae.state_dict().items()}
    save_file(weights, "old.safetensors", metadata)
    found = [load(f"{name}.safetensors").state_dict() for name in ("old", "new")]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[1])


@pytest.mark.parametrize("name", ["run.json", "inference.toml"])
def test_a_changed_digit_in_what_describes_the_run_is_named(run: Path, name: str) -> None:
    digit(run / name)
    assert_named(lambda: load_run(run), name)


def test_weights_of_another_run_are_not_taken(run: Path, train: Any) -> None:
    other = train(settings=("inference.seed=1",), output="other")
    shutil.copy(other / "weights.safetensors", run)
    assert_named(lambda: load_run(run), "weights.safetensors")


def test_weights_that_are_gone_are_missed(run: Path) -> None:
    (run / "weights.safetensors").unlink()
    assert_named(lambda: load_run(run), "weights.safetensors is missing")


def test_a_checkpoint_of_another_run_of_the_same_specification_is_not_taken(
    run: Path, train: Any, refused: Any
) -> None:
    again = train(settings=("inference.epochs=2",), output="again")
    other = torch.load(again / "checkpoint.pt", weights_only=True)
    other["state"]["step"] = -1
    torch.save(other, run / "checkpoint.pt")
    refused("--resume", run, words=["checkpoint.pt", "SHA-256"])


def test_a_damaged_manifest_is_named_and_without_one_a_run_is_what_it_was(
    run: Path, counts: Path
) -> None:
    data = load_data(counts)
    before = evaluate(load(run), data.test).elbo
    (run / "manifest.json").write_text("{}")
    assert_named(lambda: load_run(run), "manifest.json is damaged")
    (run / "manifest.json").unlink()
    assert evaluate(load_run(run).autoencoder, data.test).elbo == before


@contextmanager
def killed_at(nth: int) -> Iterator[list[int]]:
    """The process dies when it is about to put the nth file in its place."""
    replace, count = Path.replace, itertools.count(1)
    reached: list[int] = []

    def dying(path: Path, target: Path) -> Path:
        if reached or next(count) == nth:
            reached.append(nth)
            raise KeyboardInterrupt
        return replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        yield reached


def test_a_run_that_is_killed_between_any_two_files_is_as_it_wrote_itself(
    command: Any, counts: Path, overrides: Any
) -> None:
    """And it can be gone on with, or begun again by the same command."""
    words = ["--data", counts, *overrides("inference.epochs=1")]
    for nth in itertools.count(1):
        folder = Path(f"killed-{nth}")
        with killed_at(nth) as reached:
            command(*words, "--output", folder)
        verify(folder, *FILES)
        if not reached:
            break
        assert sorted(folder.glob(".*.writing")) == []
        begun = (folder / "checkpoint.pt").exists()
        again = ["--resume", folder] if begun else [*words, "--output", folder]
        outcome = command(*again)
        assert outcome.status == 0, outcome.err
        assert load_run(folder).facts.status == "finished"
    assert nth > 12  # files, and the manifest before each


LINES: dict[str, bytes] = {
    "no JSON": b"[",
    "no record": b"{}",
    "a number": b"3",
    "a record without numbers": b'{"split": "test", "step": 1}',
    "no text": b"\xff\xfe",
    "very deep": b"[" * 5000,
}


@pytest.mark.parametrize("damage", LINES.values(), ids=LINES)
@pytest.mark.parametrize("listed", [True, False])
def test_a_damaged_line_of_the_metrics_takes_no_other_with_it(
    run: Path, command: Any, metrics: Any, caplog: Any, damage: bytes, listed: bool
) -> None:
    before = metrics(run)
    file = run / "metrics.jsonl"
    _, *others = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(damage + b"\n" + b"".join(others))
    damaged = file.read_bytes()
    if not listed:
        (run / "manifest.json").unlink()
    assert_named(lambda: read_metrics(run), "metrics.jsonl is damaged: line 1")
    assert command("--resume", run).status == 0
    assert metrics(run) == before[1:]
    assert (run / "metrics.damaged-1.jsonl").read_bytes() == damaged
    assert "kept as metrics.damaged-1.jsonl" in caplog.text


def test_a_record_of_an_epoch_that_was_saved_is_not_taken_for_one_that_was_cut_off(
    run: Path, command: Any, caplog: Any
) -> None:
    (run / "manifest.json").unlink()
    file = run / "metrics.jsonl"
    *_, test = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(file.read_bytes()[: -len(test) - 20])
    damaged = file.read_bytes()
    assert command("--resume", run).status == 0
    assert (run / "metrics.damaged-1.jsonl").read_bytes() == damaged
    assert "lacks records of epoch 2" in caplog.text


def test_a_changed_digit_of_the_metrics_is_named(run: Path) -> None:
    digit(run / "metrics.jsonl")
    assert_named(lambda: load_run(run).records, "metrics.jsonl")


def test_a_run_that_no_process_holds_is_not_running(run: Path) -> None:
    (run / "manifest.json").unlink()
    facts = RunFacts.read(run).with_changes({"status": "running"})
    (run / "run.json").write_text(facts.to_json())
    assert load_run(run).facts.status == "interrupted"
    with FileLock(run / ".lock"):
        assert load_run(run).facts.status == "running"
    (run / ".lock").touch()  # left by a process that was killed
    assert load_run(run).facts.status == "interrupted"


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("no luck"), "failed"), (KeyboardInterrupt(), "interrupted")],
)
def test_the_status_is_true_after_an_end_in_the_figures(
    command: Any, counts: Path, overrides: Any, monkeypatch: Any, error: Any, status: str
) -> None:
    def end(*_: object) -> None:
        raise error

    monkeypatch.setattr(pyrovae.report.figures, "draw_figures", end)
    with suppress(RuntimeError):
        command("--data", counts, "--output", "run", *overrides())
    assert RunFacts.read(Path("run")).status == status


def test_sigterm_in_the_figures_is_an_interruption(
    command: Any, counts: Path, overrides: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(
        pyrovae.report.figures, "draw_figures", lambda *_: signal.raise_signal(signal.SIGTERM)
    )
    before = signal.getsignal(signal.SIGTERM)
    outcome = command("--data", counts, "--output", "run", *overrides())
    assert outcome.status == 128 + signal.SIGTERM
    assert "interrupted" in outcome.err
    assert RunFacts.read(Path("run")).status == "interrupted"
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("left", [["run.json", "model.toml"], ["run.json"], [".lock"], []])
def test_a_folder_in_which_nothing_was_saved_is_begun_again(
    run: Path, command: Any, counts: Path, overrides: Any, left: list[str]
) -> None:
    begun = Path("begun")
    begun.mkdir()
    (run / ".lock").touch()
    for name in left:
        shutil.copy(run / name, begun)
    (begun / ".checkpoint.pt.1234.writing").touch()
    outcome = command("--data", counts, "--output", begun, *overrides())
    assert outcome.status == 0, outcome.err
    assert [file.name for file in begun.glob(".*")] == []


@pytest.mark.parametrize(
    "there", [["model.py"], ["run.json", "metrics.jsonl"], ["run.json", "own"]]
)
def test_a_folder_with_anything_of_worth_is_not_begun_again(
    run: Path, refused: Any, counts: Path, overrides: Any, there: list[str]
) -> None:
    folder = Path("folder")
    folder.mkdir()
    (run / "model.py").touch()
    (run / "own").touch()
    for name in there:
        shutil.copy(run / name, folder)
    words = ["--data", counts, "--output", folder, *overrides()]
    refused(*words, words=["--output folder", "not an empty folder"])


def test_a_file_that_cannot_be_put_in_its_place_leaves_nothing_else(here: Path) -> None:
    (here / "a folder").mkdir()
    with pytest.raises(OSError, match="a folder"):
        write_atomically(here / "a folder", b"content")
    assert [file.name for file in here.iterdir()] == ["a folder"]


HARMFUL = "import pathlib\npathlib.Path('harm').touch()\n"


@pytest.mark.parametrize("listed", [True, False])
def test_a_program_beside_a_declared_model_is_not_run(
    run: Path, command: Any, here: Path, listed: bool
) -> None:
    if not listed:
        (run / "manifest.json").unlink()
    (run / "model.py").write_text(HARMFUL)
    load_run(run)
    load(run)
    assert command("--resume", run).status == 0
    assert not (here / "harm").exists()


def test_a_program_in_place_of_a_declared_model_is_not_run(
    run: Path, here: Path, refused: Any
) -> None:
    (run / "model.py").write_text(HARMFUL)
    (run / "model.toml").unlink()
    assert_named(lambda: load_run(run), "model.py is not of this run")
    refused("--resume", run, words=["model.py is not of this run"])
    assert not (here / "harm").exists()


def test_a_program_that_was_changed_is_not_run(
    train: Any, write_program: Any, here: Path, caplog: Any
) -> None:
    run = train(write_program())
    load_run(run)
    assert f"runs {run / 'model.py'}" in caplog.text
    (run / "model.py").write_text(HARMFUL + (run / "model.py").read_text())
    assert_named(lambda: load_run(run), "model.py")
    assert not (here / "harm").exists()


def test_what_a_received_description_names_is_said(run: Path, counts: Path, caplog: Any) -> None:
    load_run(run)
    assert f"reads {counts}, the data of {run}" in caplog.text


def test_the_advice_to_trust_a_pickle_is_not_passed_on(run: Path, command: Any) -> None:
    torch.save({"declarations": Path("harmful")}, run / "checkpoint.pt")
    outcome = command("--resume", run)
    assert outcome.status == 2
    assert "weights_only" not in outcome.err


def test_facts_that_are_nested_beyond_measure_are_damaged(run: Path) -> None:
    text = json.dumps(json.loads((run / "run.json").read_text()))
    (run / "run.json").write_text(f'{text[:-1]}, "more": {"[" * 5000}{"]" * 5000}}}')
    assert_named(lambda: load_run(run), "run.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(step=-1),
        lambda state: state.update(step=10**6),
        lambda state: state.update(step=1.0),
        lambda state: state.update(seconds="long"),
        lambda state: state.update(seconds=-1.0),
        lambda state: state.update(random=torch.zeros(3)),
        lambda state: state.update(tally={"count": 0, "sums": torch.zeros(2, 2)}),
        lambda state: state.update(best=[]),
        lambda state: state.pop("weights"),
    ],
)
def test_a_state_at_no_step_of_the_training_is_not_gone_on_from(
    run: Path, command: Any, change: Any
) -> None:
    (run / "manifest.json").unlink()
    saved = torch.load(run / "checkpoint.pt", weights_only=True)
    change(saved["state"])
    torch.save(saved, run / "checkpoint.pt")
    outcome = command("--resume", run)
    assert outcome.status == 2
    assert "checkpoint was not written by this version" in outcome.err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"shape": [1, 8, 8]', b'"shape": ["1", 8]  '),
        (b'"shape": [1, 8, 8]', b'"shape": [1, 8,-8]'),
        (b'"shape": [1, 8, 8]', b'"shape": [99999999]'.ljust(18)[:18]),
        (b'"levels": 16.0', b'"levels": true'),
        (b'"levels": 16.0', b'"levels": -1.0'),
        (b'"levels": 16.0', b'"levels": []  '),
        (b'"dtype":"F32"', b'"dtype":"I32"'),
    ],
)
def test_what_is_wrong_in_weights_of_a_run_without_check_sums_is_named(
    run: Path, old: bytes, new: bytes
) -> None:
    (run / "manifest.json").unlink()
    file = run / "weights.safetensors"
    content = file.read_bytes()
    before = old if old in content else old.replace(b'"', b'\\"')
    after = new if old in content else new.replace(b'"', b'\\"')
    assert before in content
    size = int.from_bytes(content[:8], "little")
    head = content[8 : 8 + size].replace(before, after)
    file.write_bytes(len(head).to_bytes(8, "little") + head + content[8 + size :])
    assert_named(lambda: load(run), "weights.safetensors")


def test_a_folder_in_the_place_of_a_file_is_named(run: Path, refused: Any) -> None:
    (run / "weights.safetensors").unlink()
    (run / "weights.safetensors").mkdir()
    refused("--resume", run, words=["weights.safetensors is no file"])
