"""The folder of a run, opened again: what is in it, and what cannot be opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pyrovae import load, load_data, save
from pyrovae.errors import CheckpointError, DataError
from pyrovae.runs.loading import load_run

pytestmark = pytest.mark.usefixtures("without_figures")


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    facts = json.loads((run / "run.json").read_text())
    change(facts)
    (run / "run.json").write_text(json.dumps(facts))


def values(folder: Path, numbers: Any, name: str = "other.npy") -> Path:
    np.save(folder / name, numbers)
    return Path(name)


def test_a_run_comes_back_with_its_weights_and_its_data(train: Any, counts: Path) -> None:
    run = train()
    opened = load_run(run)
    weights = load_file(run / "weights.safetensors")
    state = opened.autoencoder.state_dict()
    assert state.keys() == weights.keys()
    assert all(torch.equal(state[name], weights[name]) for name in weights)
    assert not opened.autoencoder.training
    assert opened.name == "run"
    assert opened.notes == ()
    batch, labels, note = opened.first()
    test = load_data(counts).test
    assert torch.equal(batch.x, test.batch(torch.arange(len(test))).x)
    assert labels is None
    assert note == ""


def test_the_same_densities_come_back_in_a_program(train: Any, write_program: Any) -> None:
    run = train(write_program())
    first, second = load_run(run), load_run(run)
    assert not any(module.training for module in first.autoencoder.modules())
    weights = load_file(run / "weights.safetensors")
    state = first.autoencoder.state_dict()
    assert all(torch.equal(state[name], weights[name]) for name in weights)
    with torch.no_grad():
        next(iter(first.autoencoder.parameters())).zero_()
    state = second.autoencoder.state_dict()
    assert all(torch.equal(state[name], weights[name]) for name in weights)


def test_opening_leaves_the_callers_random_stream_as_it_was(
    train: Any, write_program: Any
) -> None:
    runs = [train(write_program(), output="program"), train(output="declared")]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for run in runs:
        load_run(run).first()
    assert torch.equal(torch.get_rng_state(), before)


def test_bits_that_are_drawn_are_always_the_same(train: Any) -> None:
    opened = load_run(train("bernoulli", settings=("model.binarisation=dynamic",)))
    x = opened.first().batch.x
    assert opened.data.test.binarisation == "dynamic"
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(opened.first().batch.x, x)


def test_fewer_data_than_asked_for_are_all_and_it_is_said(train: Any) -> None:
    opened = load_run(train())
    assert len(opened.first(1).batch.x) == 1
    assert opened.first(1).note == ""
    assert opened.first(2).note == ""
    x, _, note = opened.first(3)
    assert len(x) == 2
    assert "only 2" in note
    assert "the 3 asked for" in note


def test_labels_come_along(train: Any, here: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 17, (20, 8, 8)), np.arange(20)
    np.savez(here / "labelled.npz", images=x, labels=y)
    opened = load_run(train(), data="labelled.npz:images")
    expected = load_data("labelled.npz:images").test
    assert opened.first().labels.tolist() == expected.label(torch.arange(2)).tolist()


@pytest.mark.parametrize("stopping", [(), ("inference.early_stopping={}",)])
def test_an_unfinished_run_has_the_weights_it_would_have_had_and_a_note(
    train: Any, stopping: tuple[str, ...]
) -> None:
    run = train(settings=("inference.epochs=3", *stopping))
    for name in ("weights.safetensors", "manifest.json"):
        (run / name).unlink()
    # Epochs two and three were worse than the first, and last.safetensors is of the third.
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line["elbo"] = -float(line["epoch"])
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    best = load(run / "best.safetensors")
    with torch.no_grad():
        best.decoder.last.bias.fill_(7.0)
    save(best, run / "best.safetensors")
    opened = load_run(run)
    is_best = bool((opened.autoencoder.state_dict()["decoder.last.bias"] == 7).all())
    assert is_best == bool(stopping)
    (note,) = opened.notes
    epoch = 1 if stopping else 3
    assert "unfinished" in note
    assert f"{'best' if stopping else 'last'} weights, of epoch {epoch} of 3" in note


def test_a_run_without_any_weights_says_how_to_go_on(train: Any) -> None:
    run = train()
    for file in (*run.glob("*.safetensors"), run / "manifest.json"):
        file.unlink()
    with pytest.raises(CheckpointError, match=r"no weights yet.*--resume run"):
        load_run(run)


def test_what_is_no_run_is_refused(here: Path, train: Any) -> None:
    with pytest.raises(CheckpointError, match="no folder nowhere"):
        load_run("nowhere")
    (here / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty is not the folder of a run"):
        load_run("empty")
    run = train()
    (run / "inference.toml").unlink()
    with pytest.raises(CheckpointError, match=r"not a whole run: it has no inference\.toml"):
        load_run(run)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("data"),
        lambda facts: facts["data"].pop("shape"),
        lambda facts: facts.pop("versions"),
        lambda facts: facts.update(versions=3),
        lambda facts: facts["versions"].update(pyrovae="of late"),
    ],
)
def test_a_damaged_description_is_refused(train: Any, change: Any) -> None:
    run = train()
    edit(run, change)
    with pytest.raises(CheckpointError, match=r"run\.json is damaged"):
        load_run(run)


def test_a_run_of_a_newer_version_is_refused(train: Any) -> None:
    run = train()
    (run / "manifest.json").unlink()
    edit(run, lambda facts: facts["versions"].update(pyrovae="0.0.9"))
    assert load_run(run).notes == ()  # of an older one it is not
    edit(run, lambda facts: facts["versions"].update(pyrovae="0.10.0"))
    with pytest.raises(CheckpointError, match=r"made by pyrovae 0\.10\.0, and this is"):
        load_run(run)


def test_a_specification_of_another_version_is_refused(train: Any) -> None:
    run = train()
    text = (run / "inference.toml").read_text()
    (run / "inference.toml").write_text(f"of_the_future = 1\n{text}")
    with pytest.raises(CheckpointError, match=r"cannot be read by this version.*of_the_future"):
        load_run(run)


@pytest.mark.parametrize("model", ["vae", "program"])
def test_data_of_another_shape_are_refused(
    train: Any, here: Path, write_program: Any, model: str
) -> None:
    run = train(write_program() if model == "program" else model)
    other = values(here, np.zeros((20, 6, 7), dtype=np.uint8))
    with pytest.raises(DataError, match=r"1 × 6 × 7.*1 × 8 × 8"):
        load_run(run, data=other)


def test_data_outside_the_support_are_refused(train: Any, here: Path) -> None:
    run = train()
    rng = np.random.default_rng(1)
    other = values(here, rng.integers(0, 256, (20, 8, 8)).astype(np.uint8))
    with pytest.raises(DataError, match=r"other\.npy has the value \d+"):
        load_run(run, data=other)


@pytest.fixture
def own(command: Any, overrides: Any, counts: Path, here: Path) -> Path:
    """A copy of the twenty images, to which a run in the folder "run" is fitted."""
    path = Path(shutil.copy(counts, here / "own.npy"))
    assert command("--data", path, "--output", "run", *overrides()).status == 0
    return path


def test_data_that_are_gone_are_missed(own: Path, counts: Path) -> None:
    run = Path("run")
    assert load_run(run).notes == ()
    own.unlink()
    with pytest.raises(DataError, match=r"own\.npy, are no longer there.*--data"):
        load_run(run)
    assert len(load_run(run, data=counts).first().batch.x) == 2


def test_data_that_have_changed_are_looked_at_with_a_note(own: Path, counts: Path) -> None:
    run = Path("run")
    np.save(own, np.load(counts)[::-1].copy())
    (note,) = load_run(run).notes
    assert "own.npy has changed" in note
    (note,) = load_run(run, data=own).notes
    assert "fitted to other data" in note
    assert load_run(run, data=counts).notes == ()  # the very data it was fitted to


def test_data_with_other_levels_are_looked_at_with_a_note(train: Any, here: Path) -> None:
    run = train(settings=("model.likelihood.kind=poisson",))
    other = values(here, np.random.default_rng(2).integers(0, 200, (20, 8, 8)).astype(np.uint8))
    notes = load_run(run, data=other).notes
    assert "fitted to other data" in notes[0]
    assert "the largest value in other.npy is" in notes[1]
