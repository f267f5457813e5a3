"""``python -m pyrovae.evaluate``: what it says and leaves behind."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pyrovae.runs.held_out
from pyrovae import evaluate, load, save
from pyrovae.evaluation.bound import evaluate as bound
from pyrovae.runs.loading import load_run

pytestmark = pytest.mark.usefixtures("without_figures")

DATUM = ["index", "label", "elbo", "reconstruction", "kl", "log_prob", "effective_samples"]


@pytest.fixture
def evaluated(command_of: Any) -> Any:
    return command_of(evaluate.main)


@pytest.fixture
def refused(evaluated: Any, refused_by: Any) -> Any:
    return refused_by(evaluated)


def rows(run: Path, name: str = "counts.npy") -> list[dict[str, str]]:
    with (run / "evaluation" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(run: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows(run)]


def summary(run: Path, name: str = "counts.npy") -> dict[str, Any]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    text = (run / "evaluation" / f"{name}.json").read_text()
    return json.loads(text, parse_constant=refuse)


def test_every_datum_goes_to_a_file_and_their_means_to_another(
    train: Any, evaluated: Any, counts: Path
) -> None:
    run = train()
    outcome = evaluated(run, "--samples", "20")
    assert outcome.status == 0, outcome.err
    assert {file.name for file in (run / "evaluation").iterdir()} == {
        "counts.npy.csv",
        "counts.npy.json",
    }
    assert [list(row) for row in rows(run)] == [DATUM] * 2
    assert [row["index"] for row in rows(run)] == ["0", "1"]
    found = summary(run)
    for name in DATUM[2:]:
        values = column(run, name)
        assert found[name]["mean"] == pytest.approx(np.mean(values))
        error = np.std(values, ddof=1) / math.sqrt(2)
        assert found[name]["standard_error"] == pytest.approx(error)
    for row in rows(run):
        parts = float(row["reconstruction"]) - float(row["kl"])
        assert float(row["elbo"]) == pytest.approx(parts)
    assert found["samples"] == 20
    assert found["bound"] is True
    assert found["kl_kind"] == "exact"
    assert found["command"].startswith("python -m pyrovae.evaluate run")
    assert found["data"]["source"] == str(counts)
    assert found["notes"] == []
    for words in ("ELBO", "(exact)", "importance sampling", "effective sample", "standard error"):
        assert words in outcome.out


def test_the_bound_is_that_of_training_but_for_chance(train: Any, evaluated: Any) -> None:
    run = train(settings=("inference.beta.kind=constant", "inference.beta.value=9.0"))
    evaluated(run, "--samples", "2000")
    opened = load_run(run)
    one_draw = bound(opened.autoencoder, opened.data.test)
    assert summary(run)["kl"]["mean"] == pytest.approx(one_draw.kl, rel=1e-5)
    assert summary(run)["elbo"]["mean"] == pytest.approx(one_draw.elbo, rel=0.1)


def test_it_is_repeated_to_the_last_digit(train: Any, evaluated: Any) -> None:
    run = train("bernoulli", settings=("model.binarisation=dynamic",))
    contents = []
    for _ in range(2):
        assert evaluated(run, "--samples", "5").status == 0
        files = sorted((run / "evaluation").iterdir())
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]


def test_bits_per_dimension_are_given_of_grey_images(train: Any, evaluated: Any) -> None:
    run = train()
    outcome = evaluated(run, "--samples", "5")
    bits = [-value / (64 * math.log(2)) for value in column(run, "log_prob")]
    assert summary(run)["bits_per_dimension"]["mean"] == pytest.approx(np.mean(bits))
    assert "bits/dim" in outcome.out


@pytest.mark.parametrize(
    ("model", "setting"), [("bernoulli", "model.binarisation=static"), ("vae", None)]
)
def test_bits_per_dimension_are_given_of_nothing_else(
    train: Any, evaluated: Any, model: str, setting: str | None
) -> None:
    run = train(model, settings=(setting or "model.likelihood.kind=normal",))
    outcome = evaluated(run, "--samples", "5")
    assert outcome.status == 0, outcome.err
    assert "bits_per_dimension" not in summary(run)
    assert "bits" not in outcome.out


def test_several_runs_on_other_data_have_a_table_each(
    train: Any, evaluated: Any, here: Path
) -> None:
    x = np.random.default_rng(3).integers(0, 17, (20, 8, 8))
    np.savez(here / "more.npz", images=x, labels=np.arange(20))
    runs = [train(output="one"), train("vamp", output="two")]
    outcome = evaluated(*runs, "--data", "more.npz:images", "--samples", "5", "--num", "1")
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("on 1 test data of more.npz:images") == 2
    assert "(sampled)" in outcome.out
    for run in runs:
        (row,) = rows(run, "more.npz-images")
        assert row["label"].isdecimal()
        found = summary(run, "more.npz-images")
        assert found["elbo"]["standard_error"] is None
        assert "fitted to other data" in found["notes"][0]
        assert found["data"]["source"] == "more.npz:images"


def test_notes_are_said_and_kept(train: Any, evaluated: Any) -> None:
    run = train()
    for name in ("weights.safetensors", "manifest.json"):
        (run / name).unlink()
    outcome = evaluated(run, "--samples", "5", "--num", "7")
    assert outcome.status == 0, outcome.err
    unfinished, fewer = summary(run)["notes"]
    assert "unfinished" in unfinished
    assert "fewer than the 7 asked for" in fewer
    assert f"note        {unfinished}\nnote        {fewer}\n" in outcome.out


@pytest.mark.usefixtures("annealing")
def test_annealed_estimates_stand_beside(train: Any, evaluated: Any) -> None:
    run = train()
    outcome = evaluated(run, "--samples", "5", "--ais")
    assert outcome.status == 0, outcome.err
    assert [list(row) for row in rows(run)] == [[*DATUM, "log_prob_ais", "error_ais"]] * 2
    assert column(run, "log_prob_ais") == [-1.0, -1.0]
    assert column(run, "error_ais") == [0.25, 0.25]
    assert summary(run)["bits_per_dimension"]["mean"] == pytest.approx(1 / (64 * math.log(2)))
    assert "by annealing, each ± 0.25" in outcome.out


def test_a_refined_guide_is_evaluated_beside_the_encoders(train: Any, evaluated: Any) -> None:
    run = train()
    assert evaluated(run, "--samples", "30").status == 0
    elbo = column(run, "elbo")
    outcome = evaluated(run, "--samples", "30", "--refine-steps", "20")
    assert outcome.status == 0, outcome.err
    assert [list(row) for row in rows(run)] == [[*DATUM, "elbo_encoder", "khat"]] * 2
    assert np.mean(column(run, "elbo")) > np.mean(column(run, "elbo_encoder"))
    assert column(run, "elbo_encoder") == pytest.approx(elbo, rel=0.1)
    assert summary(run)["refine_steps"] == 20
    for words in ("refined", "nats in 20 steps", "s per observation"):
        assert words in outcome.out


def test_a_point_has_no_bound_and_nothing_to_sample_from(train: Any, evaluated: Any) -> None:
    run = train(settings=("inference.guide.kind=delta",))
    outcome = evaluated(run, "--samples", "5")
    assert outcome.status == 0, outcome.err
    assert "no bound" in outcome.out
    assert "--ais" in outcome.out
    assert "ELBO" not in outcome.out
    found = summary(run)
    assert found["bound"] is False
    assert found["log_prob"] == {"mean": None, "standard_error": None}
    assert {row["log_prob"] for row in rows(run)} == {""}
    opened = load_run(run)
    joint = bound(opened.autoencoder, opened.data.test)
    assert found["elbo"]["mean"] == pytest.approx(joint.elbo, rel=1e-5)


@pytest.mark.usefixtures("annealing")
def test_a_point_is_annealed_from_the_prior(train: Any, evaluated: Any) -> None:
    run = train(settings=("inference.guide.kind=delta",))
    outcome = evaluated(run, "--ais")
    assert outcome.status == 0, outcome.err
    assert column(run, "log_prob_ais") == [-2.0, -2.0]
    assert "not known" not in outcome.out


def test_a_program_is_judged_like_any_other(
    train: Any, evaluated: Any, write_program: Any
) -> None:
    run = train(write_program())
    outcome = evaluated(run, "--samples", "5")
    assert outcome.status == 0, outcome.err
    assert summary(run)["kl_kind"] == "exact"


def test_what_takes_long_is_said_beforehand(
    train: Any, evaluated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train()
    assert "this takes about" not in evaluated(run, "--samples", "5").out
    monkeypatch.setattr(pyrovae.runs.held_out, "LONG", 0.0)
    assert evaluated(run, "--samples", "5").out.startswith("this takes about ")


def test_what_cannot_be_evaluated_is_refused(train: Any, refused: Any, here: Path) -> None:
    run = train()
    refused("nowhere", words=("no folder nowhere",))
    refused(run, here, words=("not the folder of a run",))
    np.save(here / "small.npy", np.zeros((20, 6, 6), dtype=np.uint8))
    refused(run, "--data", "small.npy", words=("1 × 6 × 6", "1 × 8 × 8"))
    np.save(here / "real.npy", np.random.default_rng(0).normal(size=(20, 8, 8)))
    refused(run, "--data", "real.npy", words=("real.npy has the value",))
    refused(run, "--data", "digitz", words=("did you mean 'digits'?",))
    refused(run, "--device", "cuda", words=("no GPU",))
    for file in (*run.glob("*.safetensors"), run / "manifest.json"):
        file.unlink()
    refused(run, words=("no weights yet",))


def test_weights_that_are_no_numbers_are_refused(train: Any, evaluated: Any) -> None:
    run = train()
    vae = load(run)
    with torch.no_grad():
        vae.decoder.last.bias.fill_(torch.nan)
    save(vae, run / "weights.safetensors")
    (run / "manifest.json").unlink()
    outcome = evaluated(run, "--samples", "5")
    assert outcome.status == 2
    assert "not finite for 2 data (number 0, 1)" in outcome.err


@pytest.mark.parametrize(
    "arguments", [[], ["run", "--samples", "0"], ["run", "--num", "-1"], ["run", "--samples", "x"]]
)
def test_a_mistake_in_the_arguments_is_refused(evaluated: Any, arguments: list[str]) -> None:
    outcome = evaluated(*arguments)
    assert outcome.status == 2
    assert "usage" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_folder_that_is_moved_is_still_a_run(train: Any, evaluated: Any) -> None:
    run = Path(shutil.move(train(), "moved"))
    assert evaluated(run, "--samples", "5").status == 0


def test_a_run_that_cannot_be_written_to_is_evaluated_elsewhere(
    train: Any, evaluated: Any, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train()
    before = sorted(run.rglob("*"))
    monkeypatch.setattr("os.access", lambda place, _: "run" not in Path(place).parts)
    refused(run, "--samples", "5", words=["run cannot be written to", "--output"])
    assert evaluated(run, "--samples", "5", "--output", "other").status == 0
    assert sorted(file.name for file in Path("other").iterdir()) == [
        "counts.npy.csv",
        "counts.npy.json",
    ]
    assert sorted(run.rglob("*")) == before


def test_runs_of_one_name_are_not_written_to_one_folder(refused: Any) -> None:
    refused("a/run", "b/run", "--output", "other", words=["--output other", "called run"])
