"""What a person reads while training runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyrovae import InferenceSpec, Splits, Training, build
from pyrovae.report.console import plan
from pyrovae.report.display import Bar, Lines, Terminal
from pyrovae.training.loop import Callback


def trained(data: Splits, callback: Callback) -> Training:
    training = Training(build("vae", "svi", data), data, InferenceSpec(epochs=2))
    training.run([callback])
    return training


@pytest.mark.parametrize("columns", ["0", "80"])
def test_the_bar_tells_time_left_and_the_bound_with_its_parts(
    few_digits: Splits,
    columns: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    trained(few_digits, Bar(Terminal()))
    last = capsys.readouterr().err.split("\r")[-1]
    assert "100%" in last
    for word in ("left", "ELBO", "validation", "KL"):
        assert word in last
    assert len(last.rstrip()) <= 80


def test_a_log_has_a_line_for_each_epoch(
    few_digits: Splits, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(few_digits, Lines(Terminal()))
    route, *lines = capsys.readouterr().out.splitlines()
    assert route.split()[:3] == ["steps", "as", "programs:"]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]


@pytest.fixture
def planned(few_digits: Splits) -> Callable[[str], str]:
    def text(inference: str) -> str:
        return plan(Training(build("vae", inference, few_digits), few_digits, spec), "here")

    spec = InferenceSpec(epochs=2)
    return text


def test_the_plan_names_both_programs(planned: Callable[[str], str]) -> None:
    for part in ("p(z)", "p(x | z)", "q(z | x)", "objective", "β", "data", "device", "here"):
        assert part in planned("svi")
    assert "L(x)" in planned("full_rank")
