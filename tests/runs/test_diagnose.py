"""``python -m pyrovae.diagnose``: what it says and leaves behind."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pytest
import torch

from pyrovae import diagnose, load, save
from pyrovae.diagnosis.mcmc import check_mcmc
from pyrovae.diagnosis.sandwich import check_sandwich
from pyrovae.evaluation.annealed_importance import anneal

pytestmark = pytest.mark.usefixtures("without_figures", "fewer", "plain")

QUESTIONS = [
    "convergence",
    "bound",
    "importance weights",
    "calibration",
    "latent dimensions",
    "aggregated posterior",
    "prior predictive",
]


@pytest.fixture
def diagnosed(command_of: Any) -> Any:
    return command_of(diagnose.main)


@pytest.fixture
def refused(diagnosed: Any, refused_by: Any) -> Any:
    return refused_by(diagnosed)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six hundred images: sixty to look at."""
    path = tmp_path_factory.mktemp("diagnosed") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 17, (600, 8, 8)))
    return path


@pytest.fixture
def fitted(command: Any, images: Path, overrides: Any) -> Any:
    """Fit a small model to the images; the folder of the run."""

    def fit(model: Path | str = "vae", *settings: str) -> Path:
        words = overrides("inference.epochs=3", *settings, declared=model == "vae")
        outcome = command(model, "svi", "--data", images, "--output", "run", *words)
        assert outcome.status == 0, outcome.err
        return Path("run")

    return fit


@pytest.fixture
def run(fitted: Any, once: Any) -> Path:
    return once("diagnosed", lambda: fitted("vae", "model.latent_dim=2"))


def numbers(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "numbers.json").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("pictures")
def test_it_answers_every_question_and_keeps_the_answers(run: Path, diagnosed: Any) -> None:
    outcome = diagnosed(run, "--draws", "200")
    assert outcome.status == 0, outcome.err
    folder = run / "diagnosis"
    found = numbers(folder)
    assert list(found["checks"]) == QUESTIONS
    assert found["data"] == {"name": "images.npy", "count": 60}
    assert found["draws"] == 200
    page = (folder / "report.html").read_text(encoding="utf-8")
    words = " ".join(outcome.out.split())
    assert "asked for" not in words  # no number was given
    for question, answer in found["checks"].items():
        assert question in outcome.out
        assert answer["grade"] in {"ok", "WARN", "FAIL"}
        assert answer["finding"] in words
        assert answer["numbers"]
        assert f">{question}<" in page
    assert "data:image/png;base64" in page
    assert {file.stem for file in (folder / "figures").iterdir()} == {
        *(question.replace(" ", "-") for question in QUESTIONS if question != "bound"),
        "extremes",
    }
    grades = [answer["grade"] for answer in found["checks"].values()]
    assert found["grade"] == max(grades, key=["ok", "WARN", "FAIL"].index)


def test_arviz_opens_what_it_keeps(run: Path, diagnosed: Any) -> None:
    assert diagnosed(run, "--draws", "120", "--num", "55", "--output", "here").status == 0
    tree = az.from_netcdf("here/posterior.nc")
    assert tree["posterior"]["z"].shape == (1, 120, 55, 2)
    assert tree["observed_data"]["x"].shape == (55, 1, 8, 8)
    assert tree["prior_sbc"]["z"].dims == ("chain", "draw", "latent")
    gap = tree["diagnostics"]["log_prob"] - tree["diagnostics"]["elbo"]
    found = numbers(Path("here"))["checks"]["bound"]["numbers"]
    assert float(gap.mean()) == pytest.approx(found["gap"]["value"])
    weights = tree["sample_stats"]["log_weight"]
    assert weights.dtype == np.float64
    assert float(weights.mean()) == pytest.approx(found["ELBO"]["value"])


def test_strict_is_a_status_and_nothing_else(run: Path, diagnosed: Any) -> None:
    """And the answers are the same each time; nothing else in the run's folder is touched."""
    kept = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    lax, strict = diagnosed(run, "--draws", "100"), diagnosed(run, "--draws", "100", "--strict")
    assert numbers(run / "diagnosis")["grade"] == "FAIL"  # trained for four steps
    assert (lax.status, strict.status) == (0, 1)
    assert lax.out == strict.out
    assert {file: file.read_bytes() for file in kept} == kept


def test_full_runs_chains_and_says_what_it_costs(
    run: Path, diagnosed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = "pyrovae.diagnosis.diagnosis"
    monkeypatch.setattr(f"{here}.check_mcmc", partial(check_mcmc, warmup=5, draws=20))
    monkeypatch.setattr(f"{here}.check_sandwich", partial(check_sandwich, steps=2))
    monkeypatch.setattr(f"{here}.anneal", partial(anneal, steps=2))
    monkeypatch.setattr(f"{here}.CHAINED", 3)
    monkeypatch.setattr(f"{here}.SIMULATED", 4)
    monkeypatch.setattr("pyrovae.diagnosis.gap.STEPS", 5)
    monkeypatch.setattr("pyrovae.evaluation.annealed_importance.PILOT_TRIES", 2)
    outcome = diagnosed(run, "--draws", "100", "--num", "50", "--full")
    assert outcome.status == 0, outcome.err
    assert "--full takes about" in outcome.out.splitlines()[1]
    found = numbers(run / "diagnosis")["checks"]
    assert list(found) == [*QUESTIONS, "log p(x)", "inference gap", "chains"]
    chains = az.from_netcdf(run / "diagnosis" / "chains.nc")
    assert chains["posterior"]["z"].shape == (4, 20, 3, 2)
    assert list(chains["posterior"]["init"].to_numpy()) == ["guide", "guide", "prior", "prior"]


def test_a_handwritten_program_is_asked_the_same(
    fitted: Any, diagnosed: Any, write_program: Any
) -> None:
    run = fitted(write_program())
    outcome = diagnosed(run, "--draws", "100")
    assert outcome.status == 0, outcome.err
    assert all("grade" in answer for answer in numbers(run / "diagnosis")["checks"].values())


def test_what_does_not_apply_says_why(fitted: Any, diagnosed: Any) -> None:
    run = fitted("vae", "inference.guide.kind=delta")
    outcome = diagnosed(run, "--draws", "100")
    assert outcome.status == 0, outcome.err
    found = numbers(run / "diagnosis")["checks"]
    for question in ("bound", "importance weights", "calibration"):
        assert "is a point" in found[question]["does_not_apply"]
    assert "grade" in found["latent dimensions"]


def test_an_unfinished_run_and_fewer_data_than_asked_for_are_said(
    run: Path, diagnosed: Any
) -> None:
    for name in ("weights.safetensors", "manifest.json"):
        (run / name).unlink()
    outcome = diagnosed(run, "--draws", "100", "--num", "5000")
    assert outcome.status == 0, outcome.err
    page = (run / "diagnosis" / "report.html").read_text(encoding="utf-8")
    for said in (outcome.out, page):
        assert "is unfinished" in said
        assert "only 60 test data" in " ".join(said.split())


def test_other_data_get_a_folder_of_their_own(run: Path, diagnosed: Any, images: Path) -> None:
    other = images.with_name("other.npy")
    np.save(other, 16 - np.load(images))
    outcome = diagnosed(run, "--data", other, "--draws", "100")
    assert outcome.status == 0, outcome.err
    assert numbers(run / "diagnosis" / "other.npy")["data"]["name"] == "other.npy"
    assert "fitted to other data" in outcome.out


def test_what_cannot_be_looked_at_is_refused(run: Path, refused: Any, images: Path) -> None:
    refused("nowhere", words=("nowhere",))
    refused(run, "--num", "3", words=("3 data", "need 5"))
    refused(run, "--draws", "9", words=("draws = 9", "100"))
    wide = images.with_name("wide.npy")
    np.save(wide, np.zeros((100, 9, 9), dtype=np.uint8))
    refused(run, "--data", wide, words=("1 × 9 × 9", "1 × 8 × 8"))
    np.save(wide, np.full((600, 8, 8), 17, dtype=np.uint8))
    refused(run, "--data", wide, words=("17", "DiscretizedLogistic"))
    newer = shutil.copytree(run, Path("newer"))
    facts = json.loads((newer / "run.json").read_text(encoding="utf-8"))
    facts["versions"]["pyrovae"] = "99.0"
    (newer / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    refused(newer, words=("99.0",))


def test_weights_that_are_not_finite_name_the_data(run: Path, diagnosed: Any) -> None:
    vae = load(run)
    with torch.no_grad():
        vae.decoder.last.bias.fill_(torch.nan)
    save(vae, run / "weights.safetensors")
    (run / "manifest.json").unlink()
    outcome = diagnosed(run)
    assert outcome.status == 2
    assert "not finite for 60 data (number 0, 1, 2, 3, 4, ...)" in outcome.err
    assert not (run / "diagnosis" / "report.html").exists()


def test_a_folder_that_cannot_be_written_is_said_at_once(run: Path, diagnosed: Any) -> None:
    Path("file").write_text("no folder")
    outcome = diagnosed(run, "--full", "--output", "file")
    assert outcome.status == 2
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    assert "file" in outcome.err
