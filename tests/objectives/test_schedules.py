"""β and the learning rate: their limits, and that what is applied is what is logged."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pyrovae import InferenceSpec, ModelSpec, Splits, Training, build
from pyrovae.objectives.schedules import Budget, beta_at, rate_at
from pyrovae.specs.inference import (
    BetaSpec,
    ConstantBetaSpec,
    ConstantRateSpec,
    CosineRateSpec,
    CyclicalBetaSpec,
    LinearBetaSpec,
    MultiStepRateSpec,
    RateSpec,
)
from pyrovae.training.loop import Callback
from pyrovae.training.records import Record

BUDGETS = [Budget(12, 1), Budget(12, 7), Budget(24, 100)]
budgets = pytest.mark.parametrize("budget", BUDGETS, ids=str)
BETAS = [
    ConstantBetaSpec(value=4.0),
    LinearBetaSpec(value=4.0, warmup_epochs=3),
    LinearBetaSpec(start=0.5, value=0.7, warmup_epochs=2.5),
    LinearBetaSpec(value=1.0, warmup_epochs=1e6),
    CyclicalBetaSpec(value=4.0, cycles=3),
    CyclicalBetaSpec(value=0.3, cycles=5, rise=1.0),
]
RATES = [
    ConstantRateSpec(),
    CosineRateSpec(),
    CosineRateSpec(final=0.1),
    MultiStepRateSpec(milestones=(2, 5), factor=0.3),
]
ROUNDING = 1e-12  # a few operations in float64


@budgets
@pytest.mark.parametrize("spec", BETAS, ids=str)
def test_beta_is_never_outside_of_zero_and_its_value(spec: BetaSpec, budget: Budget) -> None:
    betas = [beta_at(spec, step, budget) for step in range(budget.steps)]
    assert min(betas) >= 0
    assert max(betas) <= spec.value + ROUNDING


@budgets
@pytest.mark.parametrize("start", [0.0, 0.5, 6.0])
def test_the_linear_beta_begins_at_its_start_and_ends_its_warm_up_at_its_value(
    start: float, budget: Budget
) -> None:
    spec = LinearBetaSpec(start=start, value=4.0, warmup_epochs=3)
    end = 3 * budget.steps_per_epoch
    assert beta_at(spec, 0, budget) == start
    assert beta_at(spec, end - 1, budget) != pytest.approx(4.0, abs=1e-3)
    for step in range(end, budget.steps):
        assert beta_at(spec, step, budget) == pytest.approx(4.0, abs=ROUNDING)


@budgets
def test_the_linear_beta_rises_by_the_same_in_every_step(budget: Budget) -> None:
    spec = LinearBetaSpec(start=1.0, value=4.0, warmup_epochs=3)
    end = 3 * budget.steps_per_epoch
    betas = torch.tensor([beta_at(spec, step, budget) for step in range(end + 1)]).double()
    torch.testing.assert_close(
        betas.diff(), torch.full((end,), 3 / end).double(), atol=1e-6, rtol=0
    )


@budgets
@pytest.mark.parametrize("cycles", [1, 3, 4])
@pytest.mark.parametrize("rise", [0.25, 0.5, 1.0])
def test_the_cyclical_beta_is_periodic_and_every_cycle_begins_at_zero(
    budget: Budget, cycles: int, rise: float
) -> None:
    spec = CyclicalBetaSpec(value=4.0, cycles=cycles, rise=rise)
    period = budget.steps // cycles
    assert period * cycles == budget.steps  # else no whole number of steps is the period
    for step in range(budget.steps - period):
        now, later = (beta_at(spec, s, budget) for s in (step, step + period))
        assert later == pytest.approx(now, abs=1e-9)
    for cycle in range(cycles):
        assert beta_at(spec, cycle * period, budget) == 0


@budgets
@pytest.mark.parametrize("rise", [0.25, 0.5])
def test_the_cyclical_beta_rises_over_its_share_of_the_cycle_and_then_stays(
    budget: Budget, rise: float
) -> None:
    spec = CyclicalBetaSpec(value=4.0, cycles=3, rise=rise)
    period = budget.steps // 3
    betas = [beta_at(spec, step, budget) for step in range(period)]
    top = round(rise * period)
    assert betas == sorted(betas)
    assert betas[top:] == pytest.approx([4.0] * (period - top), abs=ROUNDING)
    assert betas[:top] == pytest.approx([4.0 * s / (rise * period) for s in range(top)], abs=1e-9)


@budgets
@pytest.mark.parametrize("spec", RATES, ids=str)
def test_the_learning_rate_begins_whole_and_never_rises(spec: RateSpec, budget: Budget) -> None:
    rates = [rate_at(spec, step, budget) for step in range(budget.steps)]
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert min(rates) > 0


@budgets
@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_the_cosine_is_halfway_down_at_half_time_and_ends_at_its_final_value(
    final: float, budget: Budget
) -> None:
    spec = CosineRateSpec(final=final)
    assert rate_at(spec, budget.steps // 2, budget) == pytest.approx((1 + final) / 2)
    assert rate_at(spec, budget.steps, budget) == pytest.approx(final, abs=ROUNDING)
    # One step before the end: 1 - cos(t) <= t² / 2.
    above = (1 - final) * (torch.pi / budget.steps) ** 2 / 4
    assert final - ROUNDING <= rate_at(spec, budget.steps - 1, budget) <= final + above + ROUNDING


@budgets
def test_a_milestone_multiplies_from_the_first_step_after_its_epoch(budget: Budget) -> None:
    spec = MultiStepRateSpec(milestones=(2, 5), factor=0.3)
    epochs = [step // budget.steps_per_epoch for step in range(budget.steps)]
    expected = [0.3 ** ((epoch >= 2) + (epoch >= 5)) for epoch in epochs]
    actual = [rate_at(spec, step, budget) for step in range(budget.steps)]
    assert actual == pytest.approx(expected, rel=ROUNDING)


class Listener(Callback):
    """Writes down β, the learning rate and the step after each step, and the records."""

    def __init__(self) -> None:
        self.betas: list[float] = []
        self.rates: list[float] = []
        self.steps: list[int] = []
        self.records: list[Record] = []

    def on_step(self, training: Training) -> None:
        self.betas.append(training.take_step.beta.item())
        self.rates.append(training.take_step.rate.item())
        self.steps.append(training.step)

    def on_epoch_end(self, training: Training, records: Any) -> None:
        self.records += records


SMALL = ModelSpec(latent_dim=2, decoder={"kind": "mlp", "widths": (6,), "activation": "tanh"})
SCHEDULED = InferenceSpec(
    epochs=4,
    batch_size=16,
    beta=LinearBetaSpec(start=0.25, value=4.0, warmup_epochs=2.5),
    learning_rate_schedule=CosineRateSpec(final=0.1),
)


@pytest.fixture
def training(few_digits: Splits) -> Training:
    return Training(build(SMALL, SCHEDULED, few_digits), few_digits, SCHEDULED)


def test_the_beta_that_was_applied_at_a_step_is_the_beta_that_is_logged(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[float] = []
    losses: list[tuple[float, float]] = []
    original = training.objective.loss_and_terms

    def listening(autoencoder: Any, x: Any, beta: Any, weights: Any = None) -> Any:
        loss, terms = original(autoencoder, x, beta, weights)
        if autoencoder.training:
            applied.append(float(beta))
            by_hand = float(beta) * terms.total_kl - terms.reconstruction
            losses.append((loss.item(), by_hand.mean().item()))
        return loss, terms

    monkeypatch.setattr(training.objective, "loss_and_terms", listening)
    listener = Listener()
    training.run([listener])
    budget = training.budget
    scheduled = [beta_at(SCHEDULED.beta, step, budget) for step in range(budget.steps)]
    assert applied == pytest.approx(scheduled, rel=1e-6)  # β is in float32 on the device
    assert listener.betas == applied
    assert listener.steps == list(range(1, budget.steps + 1))
    for record in listener.records:
        assert record.beta == applied[record.step - 1]
    # The loss of each step has that β in it.
    assert [loss for loss, _ in losses] == pytest.approx([hand for _, hand in losses], rel=1e-5)


def test_the_learning_rate_of_a_step_is_the_scheduled_one(training: Training) -> None:
    listener = Listener()
    training.run([listener])
    base, budget = SCHEDULED.optimiser.learning_rate, training.budget
    schedule = SCHEDULED.learning_rate_schedule
    expected = [base * rate_at(schedule, step, budget) for step in range(budget.steps)]
    assert listener.rates == pytest.approx(expected, rel=1e-6)  # in float32 on the device


def test_the_loss_of_a_record_is_beta_kl_minus_reconstruction(training: Training) -> None:
    # Of the validation records: in a training record β has moved during the epoch.
    validation = training.run()[1::2]
    for record in validation:
        expected = record.beta * record.kl - record.reconstruction
        assert record.loss == pytest.approx(expected, rel=1e-5)  # batches in float32
