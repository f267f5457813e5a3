"""``python -m pyrovae.compare``: what it says, leaves behind and refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from pyrovae import compare, evaluate

pytestmark = pytest.mark.usefixtures("without_figures")

QUICK = ("--samples", "5")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is an empty figure: it is looked for in one test."""
    monkeypatch.setattr(
        "pyrovae.report.figures.comparison.differences", lambda _: Figure(figsize=(1, 1))
    )


@pytest.fixture
def compared(command_of: Any) -> Any:
    return command_of(compare.main)


@pytest.fixture
def refused(compared: Any, refused_by: Any) -> Any:
    return refused_by(compared)


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    with (folder / "comparison.csv").open(newline="") as file:
        return json.loads((folder / "comparison.json").read_text()), list(csv.DictReader(file))


def test_runs_are_compared_datum_by_datum(
    train: Any, compared: Any, command_of: Any, here: Path
) -> None:
    runs = [train(output="one"), train("mixture", output="two"), train("vamp", output="three")]
    outcome = compared(*runs, *QUICK, "--output", "result")
    assert outcome.status == 0, outcome.err
    found, rows = read(here / "result")
    assert {file.name for file in (here / "result").iterdir()} == {
        "comparison.json",
        "comparison.csv",
        "comparison.png",
    }
    names = list(found["models"])
    assert sorted(names) == ["one", "three", "two"]
    assert list(rows[0]) == ["index", "label", *names]
    means = [found["models"][name]["log_prob"]["mean"] for name in names]
    assert means == sorted(means, reverse=True)
    values = np.array([[float(row[name]) for name in names] for row in rows])
    np.testing.assert_allclose(values.mean(0), means)
    pairs = values - values[:, :1]
    for model, name in enumerate(names):
        row = found["models"][name]
        assert row["difference"]["mean"] == pytest.approx(pairs[:, model].mean())
        error = pairs[:, model].std(ddof=1) / np.sqrt(2)
        assert row["difference"]["standard_error"] == pytest.approx(error)
    weights = [row["stacking_weight"] for row in found["models"].values()]
    assert sum(weights) == pytest.approx(1.0)
    assert len(found["verdicts"]) == 2
    assert all(verdict in outcome.out for verdict in found["verdicts"])
    assert "only 2 data" in found["notes"][0]
    assert "only 2 data" in outcome.out
    # As each by itself.
    assert command_of(evaluate.main)(*runs, *QUICK).status == 0
    for run in runs:
        alone = json.loads((run / "evaluation" / "counts.npy.json").read_text())
        assert alone["log_prob"] == pytest.approx(found["models"][run.name]["log_prob"])


@pytest.mark.usefixtures("plain")
def test_without_a_folder_one_is_made(train: Any, compared: Any, here: Path) -> None:
    runs = [train(output="a/run"), train("mixture", output="b/run")]
    outcome = compared(*runs, *QUICK)
    assert outcome.status == 0, outcome.err
    (folder,) = (here / "runs").iterdir()
    assert folder.name.endswith("-compare")
    assert sorted(read(folder)[0]["models"]) == ["a/run", "b/run"]


@pytest.mark.usefixtures("plain")
def test_dynamic_bits_are_the_same_for_all(train: Any, compared: Any, here: Path) -> None:
    bits = ("model.binarisation=dynamic",)
    runs = [train("bernoulli", output="one", settings=bits)]
    runs.append(train("bernoulli", output="two", settings=(*bits, "inference.seed=2")))
    assert compared(*runs, *QUICK, "--output", "result").status == 0


@pytest.mark.usefixtures("annealing", "plain")
def test_annealed_estimates_are_compared_if_asked_for(
    train: Any, compared: Any, here: Path
) -> None:
    runs = [train(output="one"), train(output="point", settings=("inference.guide.kind=delta",))]
    outcome = compared(*runs, *QUICK, "--ais", "--output", "result")
    assert outcome.status == 0, outcome.err
    found, _ = read(here / "result")
    assert found["models"]["one"]["log_prob"]["mean"] == -1.0
    assert found["models"]["point"]["log_prob"]["mean"] == -2.0
    assert found["models"]["point"]["bound_gap"]["mean"] == 0.5
    assert "by annealing" in outcome.out
    assert "(--num" not in outcome.out


def test_what_is_no_comparison_is_refused(train: Any, refused: Any, here: Path) -> None:
    run = train()
    (here / "link").symlink_to(run)
    refused(run, words=("at least two runs",))
    refused(run, here / "run", words=("same run",))
    refused(run, "link", words=("run and link are the same run",))
    refused(run, "nowhere", words=("no folder nowhere",))
    other = train("mixture", output="other")
    refused(run, other, "--output", run, words=("--output run", "not an empty folder"))


@pytest.mark.usefixtures("plain")
def test_different_test_data_are_refused(
    train: Any, command: Any, overrides: Any, refused: Any, here: Path, compared: Any
) -> None:
    rng = np.random.default_rng(5)
    np.save(here / "more.npy", rng.integers(0, 17, (20, 8, 8)))
    np.save(here / "longer.npy", rng.integers(0, 17, (30, 8, 8)))
    run = train()
    for name in ("more", "longer"):
        assert command("--data", f"{name}.npy", "--output", name, *overrides()).status == 0
    refused(run, "more", words=("run and more have different test data", "more.npy", "--data"))
    refused(run, "longer", words=("run and longer have different test data", "longer.npy"))
    assert compared(run, "more", *QUICK, "--data", "more.npy").status == 0


def test_densities_of_different_things_are_refused(train: Any, refused: Any) -> None:
    counts = train(output="counts")
    bits = [
        train("bernoulli", output=kind, settings=(f"model.binarisation={kind}",))
        for kind in ("static", "threshold")
    ]
    refused(*bits, words=("binarisation of their data is 'static' and 'threshold'",))
    refused(counts, bits[0], words=("binarisation of their data is 'none' and 'static'",))
    unit = train(output="unit", settings=("model.likelihood.kind=normal",))
    refused(counts, unit, words=("different scales, up to 16 and up to 1",))
    inside = train(output="inside", settings=("model.likelihood.kind=beta",))
    refused(unit, inside, words=("different scales, up to 1 and up to 0.97",))


def test_probabilities_and_densities_are_not_compared(
    command: Any, overrides: Any, refused: Any, here: Path
) -> None:
    np.save(here / "bits.npy", np.random.default_rng(4).integers(0, 2, (20, 8, 8)))
    for name, kind in (("discrete", "bernoulli"), ("continuous", "normal")):
        words = overrides(f"model.likelihood.kind={kind}")
        assert command("--data", "bits.npy", "--output", name, *words).status == 0
    refused("discrete", "continuous", words=("discrete gives data probabilities", "densities"))


def test_a_point_is_refused_without_annealing(train: Any, refused: Any) -> None:
    runs = [train(output="one"), train(output="point", settings=("inference.guide.kind=delta",))]
    refused(*runs, words=("the guide of point is a point", "--ais"))
