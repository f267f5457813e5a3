"""Trials of a sweep in the terminal and on a page: the best first, and nothing left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyrovae.report.figures.study import trials as draw
from pyrovae.report.study_page import render
from pyrovae.report.trials import SHOWN, State, Sweep, Trial, table

KEYS = {"inference.optimiser.learning_rate": True, "model.prior.kind": False}


def trial(number: int, state: State, objective: float | None, **others: Any) -> Trial:
    values = {"inference.optimiser.learning_rate": 10.0**-number, "model.prior.kind": "vamp"}
    given: dict[str, Any] = {"values": values, "error": 0.5, "epochs": 3, **others}
    return Trial(number, Path(f"sweep/trial-{number:04d}"), state, objective=objective, **given)


def sweep(*trials: Trial, maximised: bool = True) -> Sweep:
    return Sweep(Path("sweep"), "validation ELBO", maximised, 20, KEYS, trials)


MIXED = (
    trial(0, "failed", None, why="<b>not finite</b>"),
    trial(1, "finished", -9.0),
    trial(2, "pruned", -1.0),
    trial(3, "finished", -8.0),
    trial(4, "running", None),
)


def test_finished_trials_come_first_from_best_to_worst() -> None:
    assert [each.number for each in sweep(*MIXED).ranked()] == [3, 1, 2, 4, 0]
    assert [each.number for each in sweep(*MIXED, maximised=False).ranked()] == [1, 3, 2, 4, 0]
    assert sweep(*MIXED).best == MIXED[3]
    assert sweep(MIXED[0], MIXED[2]).best is None


def test_the_table_has_the_best_and_counts_the_rest() -> None:
    lines = [" ".join(line.split()) for line in table(sweep(*MIXED)).splitlines()]
    assert lines[1:5:3] == [
        "trial validation ELBO state learning_rate prior.kind",
        "trial-0002 -1.00 ± 0.50 pruned, 3 epochs 0.01 vamp",
    ]
    assert lines[2] == "trial-0003 -8.00 ± 0.50 finished 0.001 vamp"
    assert lines[-1] == (
        "5 of 20 trials: 2 finished, 1 pruned, 1 failed, 1 running; best is trial-0003, "
        "validation ELBO -8.00 ± 0.50 nats"
    )
    many = table(sweep(*(trial(number, "finished", -1.0) for number in range(SHOWN + 2))))
    assert "and 2 more" in many.splitlines()
    assert table(sweep()).endswith("0 of 20 trials: none")


def test_the_page_has_every_trial_and_links_to_those_with_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sweep/trial-0001/diagnosis").mkdir(parents=True)
    Path("sweep/trial-0001/diagnosis/report.html").touch()
    Path("sweep/trial-0002").mkdir()
    page = render(sweep(*MIXED), "<i>", "train & see", "sweep", {"torch": "2"})
    assert page.index("trial-0003<") < page.index("trial-0001<") < page.index("trial-0002<")
    assert 'href="trial-0001/diagnosis/report.html"' in page
    assert 'href="trial-0002"' in page
    assert 'href="trial-0003"' not in page
    assert "train &amp; see" in page
    assert "trial-0000 failed: &lt;b&gt;not finite&lt;/b&gt;." in page
    assert "<i>" not in page
    assert page.count("<img") == 1
    without = render(sweep(MIXED[0]), "a", "", "sweep", {})
    assert "<img" not in without
    assert "The best again" not in without


def test_every_finished_trial_is_in_each_panel_and_the_best_so_far_is_a_line() -> None:
    figure = draw(sweep(*MIXED), "study")
    order, rate, kind = (axes for axes in figure.axes if axes.get_visible())
    for axes in (order, rate, kind):
        pruned, finished, best = axes.collections
        assert [len(np.asarray(c.get_offsets())) for c in (pruned, finished, best)] == [1, 2, 1]
        assert np.asarray(best.get_offsets())[0, 1] == -8.0
    (line,) = order.lines
    assert np.asarray(line.get_xydata()).tolist() == [[1, -9], [3, -8], [3, -8]]
    (down,) = draw(sweep(*MIXED, maximised=False), "study").axes[0].lines
    assert np.asarray(down.get_ydata()).tolist() == [-9, -9, -9]


def test_the_best_is_within_the_limits_whatever_the_others_are() -> None:
    for values in ([-8.0], [-8.0, -8.0], [-9.0, -8.5, -8.0, -9.5, -1e9], [0.0, 1e-9]):
        found = sweep(*(trial(number, "finished", v) for number, v in enumerate(values)))
        low, high = draw(found, "study").axes[0].get_ylim()
        assert low < max(values) < high
        assert high - low < 1e3
