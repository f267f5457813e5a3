"""The progress bar of fit."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pyrovae import InferenceSpec, Splits, build, fit
from pyrovae.errors import DivergenceError
from pyrovae.training.loop import Callback, Training

TWO = InferenceSpec(epochs=2)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook, whose kernel's package is loaded."""
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))


def test_no_bar_is_drawn_where_nobody_watches(
    few_digits: Splits, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(build(data=few_digits), few_digits, TWO)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("watched")
def test_a_bar_goes_to_the_end_and_changes_no_number(
    few_digits: Splits, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = fit(build(data=few_digits), few_digits, TWO)
    out, bar = capsys.readouterr()
    assert not out
    assert "100%" in bar
    unseen = fit(build(data=few_digits), few_digits, TWO, progress=False)
    assert capsys.readouterr() == ("", "")
    assert [record.elbo for record in seen] == [record.elbo for record in unseen]


class Stumble(Callback):
    def on_epoch_end(self, training: Training, records: object) -> None:
        raise DivergenceError("here")


@pytest.mark.usefixtures("watched")
def test_the_bar_is_ended_where_the_fit_is_not(
    few_digits: Splits, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DivergenceError, match="here") as caught:
        fit(build(data=few_digits), few_digits, TWO, [Stumble()])
    bar = capsys.readouterr().err
    assert caught.tb is not None  # which holds the bar: nothing but fit has ended it
    assert "100%" not in bar
    assert bar.endswith("\n")
