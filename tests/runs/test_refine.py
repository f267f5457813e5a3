"""``python -m pyrovae.refine``: a new guide for a model that stays as it is."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pyrovae
from pyrovae.diagnosis.calibration import check_calibration
from pyrovae.evaluation.divergence import divergence
from pyrovae.refine import main

QUICK = ("--set", "inference.epochs=2", "--set", "inference.batch_size=8")
MODEL = ("prior.", "decoder.", "likelihood.")


@pytest.fixture(autouse=True)
def few_simulations(monkeypatch: pytest.MonkeyPatch, without_figures: None) -> None:
    here = "pyrovae.diagnosis.agreement"
    fewer = {"check_calibration": check_calibration, "divergence": divergence}
    for name, function in fewer.items():
        monkeypatch.setattr(f"{here}.{name}", partial(few, function))


def few(function: Any, autoencoder: Any, like: Any, *_: Any) -> Any:
    return function(autoencoder, like, 100)


@pytest.fixture
def refine(command_of: Any) -> Any:
    return command_of(main)


@pytest.fixture
def run(train: Any, once: Any) -> Path:
    return once("vae", lambda: train("vae", "svi"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "weights.safetensors")


def facts(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def test_the_model_is_that_of_the_run_and_the_guide_another(refine: Any, run: Path) -> None:
    before = weights(run)
    outcome = refine(run, "--output", "better", *QUICK)
    assert outcome.status == 0, outcome.err
    after = weights(Path("better"))
    of_model = {name for name in before if name.startswith(MODEL)}
    assert of_model == {name for name in after if name.startswith(MODEL)}
    assert all(torch.equal(before[name], after[name]) for name in of_model)
    assert not torch.equal(
        before["posterior.family.loc.weight"], after["posterior.family.loc.weight"]
    )
    assert "posterior.family.below.weight" in after.keys() - before.keys()
    assert weights(run).keys() == before.keys()  # the run itself is left as it was


def test_run_json_names_the_run_and_what_became_better(refine: Any, run: Path) -> None:
    refine(run, "--output", "better", *QUICK, "--until", "0.25")
    refined = facts(Path("better"))["refined"]
    assert refined["run"] == str(run.absolute())
    assert refined["until"] == 0.25
    for when in ("before", "after"):
        assert refined[when]["divergence"] > 0
    assert "refined" not in facts(run) or facts(run)["refined"] is None


def test_a_guide_that_contains_the_old_one_starts_as_it(run: Path) -> None:
    """With a learning rate of nothing, the refined guide is the run's."""
    from pyrovae.report.display import Display
    from pyrovae.runs.options import RefineOptions
    from pyrovae.runs.refine import refine_run

    settings = {
        "inference.epochs": 1,
        "inference.optimiser.learning_rate": 1e-30,
        "inference.optimiser.weight_decay": 0.0,
    }
    refine_run(RefineOptions(run=run, output=Path("same"), settings=settings), "", Display())
    old, new = pyrovae.load(run), pyrovae.load("same")
    x = pyrovae.open_run(run).data.test.batch(torch.arange(2)).x
    z = torch.randn(5, 2, old.prior.latent_dim)
    torch.testing.assert_close(new.encode(x).log_prob(z), old.encode(x).log_prob(z))


def test_a_vamp_prior_becomes_the_mixture_that_it_is(refine: Any, train: Any) -> None:
    run = train("vamp", "svi", settings=("model.prior.pseudo_inputs=5",))
    outcome = refine(run, "--output", "better", *QUICK)
    assert outcome.status == 0, outcome.err
    assert "prior" not in outcome.out.split("starts at")[1].splitlines()[0]
    old, new = pyrovae.load(run), pyrovae.load("better")
    z = torch.randn(9, old.prior.latent_dim)
    torch.testing.assert_close(
        new.prior(new.posterior).log_prob(z),
        old.prior(old.posterior).log_prob(z),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("guide", ["diagonal", "full_rank"])
def test_a_mixture_of_another_size_does_not_start_at_a_vamp_prior(train: Any, guide: str) -> None:
    kind = f"inference.guide.kind={guide}"
    run = train("vamp", "svi", settings=("model.prior.pseudo_inputs=5", kind))
    other = train("mixture", "svi", "--start", run, output="other", settings=(kind,))
    assert facts(other)["status"] == "finished"


def test_a_program_keeps_its_model(refine: Any, train: Any, write_program: Any) -> None:
    run = train(write_program(), "svi")
    before = weights(run)
    outcome = refine(run, "--output", "better", *QUICK)
    assert outcome.status == 0, outcome.err
    after = weights(Path("better"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("encoder") for name in changed)


def test_test_data_play_no_part(refine: Any, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for output, poisoned in (("one", False), ("two", True)):
        if poisoned:
            poison_test_data(monkeypatch)
        assert refine(run, "--output", output, *QUICK, "--until", "calibrated").status == 0
        found.append(weights(Path(output)))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def poison_test_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other test data than those that were there before."""
    from pyrovae.runs import refine as module

    load = module.load_run

    def poisoned(*arguments: Any, **options: Any) -> Any:
        run = load(*arguments, **options)
        run.data.test.x[run.data.test.rows] = 16
        return run

    monkeypatch.setattr(module, "load_run", poisoned)


def test_it_ends_where_the_goal_is_reached(refine: Any, run: Path) -> None:
    refine(run, "--output", "better", "--until", "1e9", "--set", "inference.epochs=40")
    lines = (Path("better") / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line)["epoch"] for line in lines]
    assert max(epochs) == 4  # the goal is looked at after each tenth
    refine(run, "--output", "longer", "--until", "never", "--set", "inference.epochs=6")
    lines = (Path("longer") / "metrics.jsonl").read_text().splitlines()
    assert max(json.loads(line)["epoch"] for line in lines) == 6


def test_every_command_takes_the_refined_run(refine: Any, run: Path, command_of: Any) -> None:
    from pyrovae.encode import main as encode
    from pyrovae.evaluate import main as evaluate

    refine(run, "--output", "better", *QUICK)
    for other in (evaluate, encode):
        outcome = command_of(other)("better")
        assert outcome.status == 0, outcome.err


def test_a_time_becomes_a_number_of_epochs(refine: Any, run: Path) -> None:
    outcome = refine(run, "--output", "better", "--minutes", "0.02", "--until", "never")
    assert outcome.status == 0, outcome.err
    assert "budget" in outcome.out
    assert facts(Path("better"))["status"] == "finished"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), ("there is no folder nowhere",)),
        (("run", "--minutes", "0"), ("--minutes 0", "positive")),
        (("run", "--set", "model.latent_dim=3"), ("model.latent_dim", "stays as it is")),
        (("run", "splien"), ("splien", "spline")),
        (("run", "delta"), ()),
    ],
)
def test_mistakes_are_refused(
    refine: Any, run: Path, refused_by: Any, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    if arguments[1:] == ("delta",):
        arguments = ("run", "svi", "--set", "inference.guide.kind=delta")
        words = ("is a point",)
    refused_by(refine)(*arguments, "--output", "better", words=words)


def test_a_goal_is_calibrated_nats_or_never(refine: Any, run: Path) -> None:
    outcome = refine(run, "--until", "soon")
    assert outcome.status == 2
    assert "'soon' is no goal" in outcome.err


def test_a_frozen_model_needs_a_start(refused_by: Any, command: Any) -> None:
    words = ("frozen = 'model'", "--start", "pyrovae.refine")
    refused_by(command)("vae", "svi", "--set", "inference.frozen=model", words=words)


def test_training_starts_at_a_run(train: Any, run: Path) -> None:
    richer = train("vae", "full_rank", "--start", run, output="richer",
                   settings=("inference.optimiser.learning_rate=1e-30",))  # fmt: skip
    before, after = weights(run), weights(richer)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert facts(richer)["started"] == str(run.absolute())


def test_nothing_of_another_shape_is_refused(
    train: Any, run: Path, command: Any, tmp_path: Path
) -> None:
    other = tmp_path / "rows.npy"
    np.save(other, np.random.default_rng(0).integers(0, 17, (20, 5)))
    outcome = command(
        "vae",
        "svi",
        "--data",
        other,
        "--start",
        run,
        "--output",
        "new",
        "--set",
        "model.latent_dim=3",
        "--set",
        "model.decoder.widths=[7]",
    )
    assert outcome.status == 2
    assert "no parameter has the name and the shape" in outcome.err
