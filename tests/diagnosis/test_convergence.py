"""Convergence: trends of known slope, against least squares, and the advice that follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from pyrovae import InferenceSpec, Splits, build, fit
from pyrovae.diagnosis import diagnose
from pyrovae.diagnosis.convergence import Convergence, check_convergence
from pyrovae.errors import SpecError
from pyrovae.evaluation.hidden_units import HiddenUnits
from pyrovae.evaluation.results import NotApplicable
from pyrovae.training.records import History, Record, Split

ALIVE = HiddenUnits(total=100, dead=0)


def record(epoch: int, split: Split, elbo: float, kl: float, loss: float) -> Record:
    return Record(epoch, epoch, split, elbo, elbo + kl, kl, {"z": kl}, None, {}, loss, 1.0, 0.0)


def check(
    validation: Sequence[float],
    train: Sequence[float] | None = None,
    *,
    loss: Sequence[float] | None = None,
    kl: float = 10.0,
    kept: int | None = None,
    units: HiddenUnits = ALIVE,
) -> Convergence:
    history = History()
    for epoch, elbo in enumerate(validation, 1):
        known = elbo if train is None else train[epoch - 1]
        lost = -elbo if loss is None else loss[epoch - 1]
        history.append(record(epoch, "train", known, kl, -known))
        history.append(record(epoch, "validation", elbo, kl, lost))
    history.kept = kept
    return check_convergence(history, units)


def line(change: float, epochs: int = 50) -> list[float]:
    """Flat, and then a line that changes by so much over the last fifth."""
    last = epochs // 5
    return [-90.0] * (epochs - last) + (-90 + np.linspace(0, change, last)).tolist()


@pytest.mark.parametrize("change", [-3.0, -1.0, 0.0, 1.0, 3.0])
def test_the_change_of_a_line_is_exact(change: float) -> None:
    trend = check(line(change)).trend
    assert (trend.measure, trend.epochs) == ("ELBO", 10)
    assert trend.change == pytest.approx(change, abs=1e-9)
    assert trend.error == pytest.approx(0, abs=1e-9)


def test_the_change_and_its_error_are_those_of_least_squares() -> None:
    values = np.random.default_rng(0).normal(size=40)
    trend = check(values.tolist()).trend
    expected = stats.linregress(np.arange(8), values[-8:])
    assert trend.change == pytest.approx(7 * expected.slope)
    assert trend.error == pytest.approx(7 * expected.stderr)


@pytest.mark.parametrize(
    ("change", "grade", "advice"),
    [
        (3.0, "FAIL", "train longer, inference.epochs = 100 at least"),
        (1.0, "WARN", "train longer"),
        (0.1, "ok", ""),
        (-1.0, "WARN", "stop earlier, with inference.early_stopping"),
        (-3.0, "FAIL", "stop earlier"),
    ],
)
def test_the_verdict_follows_the_trend(change: float, grade: str, advice: str) -> None:
    verdict = check(line(change)).verdict()
    assert verdict.grade == grade
    assert advice in verdict.advice
    assert bool(verdict.advice) == (grade != "ok")


def test_a_fall_after_the_kept_weights_does_not_concern_them() -> None:
    assert check(line(-3.0), kept=40).verdict().grade == "ok"
    assert check(line(3.0), kept=49).verdict().grade == "FAIL"


def test_noise_alone_is_no_trend() -> None:
    """Of changes that are noise, few are beyond two standard errors."""
    random = np.random.default_rng(1)
    grades = [check((5 * random.normal(size=100)).tolist()).trend.grade() for _ in range(200)]
    assert np.mean([grade != "ok" for grade in grades]) < 0.1


def test_another_objective_is_followed_by_its_own_loss() -> None:
    """With β = 4 the ELBO at β = 1 may fall while training goes well."""
    falling, at_rest = line(-3.0), [120.0] * 50
    found = check(falling, loss=at_rest)
    assert found.trend.measure == "objective"
    assert found.trend.change == pytest.approx(0, abs=1e-9)
    assert check(at_rest, loss=falling).trend.change == pytest.approx(3.0)


def test_the_generalisation_gap_is_that_of_the_kept_epoch() -> None:
    train = np.linspace(-90, -80, 50)
    late = check(line(0.0), train.tolist())
    assert late.gap == pytest.approx(10)
    assert late.verdict().grade == "WARN"
    assert "training data much better" in late.verdict().advice
    early = check(line(0.0), train.tolist(), kept=1)
    assert early.gap == pytest.approx(0)
    assert early.verdict().grade == "ok"
    assert check(line(0.0), train.tolist(), kl=100.0).verdict().grade == "ok"


def test_dead_units_are_named() -> None:
    verdict = check(line(0.0), units=HiddenUnits(total=100, dead=51)).verdict()
    assert verdict.grade == "WARN"
    assert "51 of 100 hidden units dead" in verdict.finding
    assert check(line(0.0), units=HiddenUnits(total=0, dead=0)).verdict().grade == "ok"


def test_longer_training_is_advised_before_smaller_networks() -> None:
    verdict = check(line(3.0), (np.array(line(3.0)) + 10).tolist()).verdict()
    assert "train longer" in verdict.advice


@pytest.mark.parametrize("epochs", [1, 2])
def test_two_epochs_show_no_trend(epochs: int) -> None:
    with pytest.raises(SpecError, match=f"{epochs} epochs of training show no trend"):
        check([-90.0] * epochs)


@pytest.mark.usefixtures("fewer")
def test_it_is_the_first_question_of_a_diagnosis(few_digits: Splits) -> None:
    spec = InferenceSpec(epochs=3)
    vae = build("vae", spec, few_digits)
    history = fit(vae, few_digits, spec)
    told = diagnose(vae, few_digits.train, num=60, draws=100, history=history).checks
    assert told[0].question == "convergence"
    assert "train longer" in told[0].verdict().advice
    without = diagnose(vae, few_digits.train, num=60, draws=100)
    assert [check.question for check in without.checks] == [check.question for check in told[1:]]
    left_out = without.outcomes[0]
    assert isinstance(left_out, NotApplicable)
    assert left_out.question == "convergence"
    assert "history=history" in left_out.why
