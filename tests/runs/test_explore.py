"""``python -m pyrovae.explore``: what it says and leaves behind."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pyrovae import explore, load_data
from pyrovae.exploration.outliers import score_outliers
from pyrovae.runs.analyses import ANALYSES

pytestmark = pytest.mark.usefixtures("without_figures", "plain")


@pytest.fixture
def explored(command_of: Any) -> Any:
    return command_of(explore.main)


@pytest.fixture
def refused(explored: Any, refused_by: Any) -> Any:
    return refused_by(explored)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six hundred labelled images with two known factors: sixty to look at."""
    path = tmp_path_factory.mktemp("explored") / "images.npz"
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    factors = np.stack([labels, rng.integers(0, 2, 600)], axis=1)
    x = rng.integers(0, 6, (600, 8, 8)) + 5 * labels[:, None, None]
    np.savez(path, x=x, labels=labels, factors=factors)
    return path


@pytest.fixture
def fitted(command: Any, images: Path, overrides: Any) -> Any:
    """Fit a small model to the images; the folder of the run."""

    def fit(model: Path | str = "vae", *settings: str) -> Path:
        words = overrides(*settings, declared=model == "vae")
        outcome = command(model, "svi", "--data", f"{images}:x", "--output", "run", *words)
        assert outcome.status == 0, outcome.err
        return Path("run")

    return fit


@pytest.fixture
def run(fitted: Any, once: Any) -> Path:
    settings = ("model.latent_dim=2", "inference.batch_size=64")
    return once("explored", lambda: fitted("vae", *settings))


def found(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("pictures")
def test_without_words_it_looks_at_all_that_is_quick(run: Path, explored: Any) -> None:
    outcome = explored(run)
    assert outcome.status == 0, outcome.err
    folder = run / "exploration"
    names = ["traversals", "interpolations", "samples", "manifold"]
    assert {file.stem for file in folder.glob("*.json")} == set(names)
    page = (folder / "report.html").read_text(encoding="utf-8")
    words = " ".join(outcome.out.split())
    for name in names:
        content = found(folder, name)
        assert content["summary"] in words
        assert content["numbers"]
        assert content["data"] == {"name": "images.npz:x", "count": 60}
        assert content["pictures"][0]["file"] == f"{name}.png"
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 300
        assert f'id="{name}"' in page
    with Image.open(folder / "traversals.gif") as animation:
        assert animation.n_frames > 5
    assert "data:image/gif;base64" in page


def test_the_page_keeps_what_was_looked_at_before(run: Path, explored: Any) -> None:
    assert explored(run, "samples").status == 0
    assert explored(run, "manifold").status == 0
    page = (run / "exploration" / "report.html").read_text(encoding="utf-8")
    assert page.index('id="samples"') < page.index('id="manifold"')
    assert 'id="traversals"' not in page


def test_the_same_numbers_each_time(run: Path, explored: Any) -> None:
    for output in ("first", "second"):
        assert explored(run, "--output", output).status == 0
    for name in ("traversals", "interpolations", "samples", "manifold"):
        first, second = (found(Path(output), name) for output in ("first", "second"))
        assert first["numbers"] == second["numbers"]
        assert first["variables"] == second["variables"]


def test_what_does_not_apply_does_not_stop_the_others(fitted: Any, explored: Any) -> None:
    run = fitted("vae", "model.latent_dim=3")
    usual = explored(run)
    assert usual.status == 0
    assert "no manifold: " in usual.out
    asked = explored(run, "manifold", "samples")
    assert asked.status == 2
    assert asked.err.startswith("manifold: ")
    assert "traversals" in asked.err  # the alternative
    assert (run / "exploration" / "samples.json").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["factors", "sweep"], "factors: the factors that made counts.npy are not known"),
        (["sweep", "traversals", "factors"], "factors: the factors"),
        (["debias", "--rare", "1"], "debias: counts.npy has no labels"),
        (["debias", "--rare", "1", "--keep", "0.5"], "debias: counts.npy has no labels"),
        (["ablation", "--betas", "2", "2"], "must be positive and different"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_what_data_or_options_rule_out_is_refused_before_anything_is_done(
    train: Any, once: Any, refused: Any, words: list[str], said: str
) -> None:
    run = once("plain", train)
    refused(run, *words, words=(said,))


def test_classes_that_are_not_there_are_refused_before_training(run: Path, refused: Any) -> None:
    refused(run, "debias", "--rare", "99", words=("no class 99, but 0, 1, 2",))


def test_nothing_is_trained_after_an_analysis_has_failed(run: Path, explored: Any) -> None:
    outcome = explored(run, "sweep", "traversals", "samples", "--datum", "60", "--epochs", "1")
    assert outcome.status == 2
    refusals = outcome.err.splitlines()
    assert [line.partition(":")[0] for line in refusals] == ["traversals", "sweep"]
    assert "not trained" in refusals[1]
    folder = run / "exploration"
    assert (folder / "samples.json").is_file()
    assert not (folder / "sweep").exists()


def test_factors_of_the_data_are_scored(run: Path, explored: Any) -> None:
    outcome = explored(run, "factors")
    assert outcome.status == 0, outcome.err
    values = {n: v["value"] for n, v in found(run / "exploration", "factors")["numbers"].items()}
    assert 0 <= values["MIG"] <= 1


def test_other_data_are_stranger(
    run: Path, explored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.npy"
    np.save(other, np.random.default_rng(1).choice([0, 15], (400, 8, 8)))
    for module in ("analyses", "explore"):
        monkeypatch.setattr(f"pyrovae.runs.{module}.FEW", 25)
    monkeypatch.setattr("pyrovae.runs.analyses.score_outliers", partial(score_outliers, steps=10))
    outcome = explored(run, "outliers", "--against", other, "--samples", "50")
    assert outcome.status == 0, outcome.err
    content = found(run / "exploration", "outliers")
    scores = {name: len(scores["values"]) for name, scores in content["variables"].items()}
    assert set(scores.values()) == {25}
    numbers = content["numbers"]
    assert any(value["value"] > 0.9 for value in numbers.values())


@pytest.mark.parametrize("look", ["ablation", "sweep"])
def test_twins_are_trained_once(run: Path, explored: Any, look: str) -> None:
    words = (run, look, "--epochs", "1", "--betas", "0.5", "2")
    assert explored(*words).status == 0
    before = found(run / "exploration", look)
    again = explored(*words)
    assert again.status == 0, again.err
    assert "epoch" not in again.out
    assert found(run / "exploration", look)["numbers"] == before["numbers"]
    other = explored(run, look, "--epochs", "2", "--betas", "0.5", "2")
    assert other.status == 2
    assert "another budget" in other.err


def test_rare_classes_are_drawn_more_often(run: Path, explored: Any) -> None:
    words = ("--rare", "2", "--keep", "0.1", "--epochs", "2", "--samples", "20")
    outcome = explored(run, "debias", *words)
    assert outcome.status == 0, outcome.err
    assert found(run / "exploration", "debias")["numbers"]
    twins = sorted(path.name for path in (run / "exploration" / "debias").iterdir())
    assert twins == ["off", "on"]


def test_a_program_has_twins_with_the_same_guide(
    fitted: Any, explored: Any, write_program: Any
) -> None:
    run = fitted(write_program())
    for words in (("sweep", "--betas", "1", "4"), ("debias", "--samples", "20")):
        outcome = explored(run, *words, "--epochs", "1")
        assert outcome.status == 0, outcome.err
    again = explored(run, "sweep", "--betas", "1", "4", "--epochs", "1")
    assert again.out.count("is there already") == 2
    outcome = explored(run, "ablation")
    assert outcome.status == 2
    assert "has a guide of its own" in outcome.err


def test_nothing_else_in_the_runs_folder_is_touched(run: Path, explored: Any) -> None:
    kept = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    assert explored(run, "samples").status == 0
    assert all(file.read_bytes() == content for file, content in kept.items())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "sampels"], ["'sampels'", "did you mean 'samples'"]),
        (["run", "outliers"], ["--against"]),
        (["run", "samples", "--against", "mnist"], ["--against", "outliers"]),
        (["run", "--betas", "1"], ["--betas", "ablation", "sweep"]),
        (["run", "debias", "--keep", "0.1"], ["--keep", "--rare"]),
        (["run", "ablation", "--data", "mnist"], ["ablation", "--data"]),
        (["nowhere"], ["nowhere"]),
    ],
    ids=lambda value: "-".join(value),
)
def test_mistakes_are_answered_in_a_sentence(
    refused: Any, arguments: list[str], words: list[str]
) -> None:
    refused(*arguments, words=tuple(words))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["traversals", "--datum", "60"], "60"),
        (["traversals", "--datum", "-1"], "-1"),
        (["outliers", "--against", "digits.npy"], "digits.npy"),
        (["debias", "--rare", "7", "--keep", "0.1"], "7"),
        (["sweep", "--betas", "1", "1"], "twice"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else value,
)
def test_so_are_those_that_only_the_run_shows(
    run: Path, explored: Any, arguments: list[str], words: str
) -> None:
    outcome = explored(run, *arguments)
    assert outcome.status == 2
    assert words in outcome.err
    assert "Traceback" not in outcome.err


def test_every_look_is_described() -> None:
    assert list(ANALYSES) == list(explore.ANALYSES)


def test_data_without_known_factors_say_so(command: Any, explored: Any) -> None:
    words = ("--set", "inference.epochs=1", "--set", "model.latent_dim=2")
    assert command("--output", "digits", *words).status == 0
    outcome = explored("digits", "factors")
    assert outcome.status == 2
    assert "dsprites" in outcome.err
    assert load_data("digits").train.factors is None
