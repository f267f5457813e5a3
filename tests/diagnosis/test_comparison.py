"""Which of several models is better, where that is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from pyrovae.diagnosis.comparison import (
    Comparison,
    compare,
)
from pyrovae.diagnosis.stacking import stacking_weights
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.pointwise import Evaluation
from pyrovae.report.figures.comparison import differences

EXACT = 1e-10


@pytest.fixture
def models(make_linear_gaussian: Any) -> dict[str, Any]:
    """Three models with exact guides; the data are of the first."""
    x = (first := make_linear_gaussian(data=150)).x
    return {"a": first, **{name: make_linear_gaussian()._replace(x=x) for name in "bc"}}


def compare_all(models: dict[str, Any], **options: Any) -> Comparison:
    x = next(iter(models.values())).x
    vaes = {name: oracle.vae for name, oracle in models.items()}
    return compare(vaes, x, samples=4, simulations=20, **options)


def test_differences_are_those_of_log_p(models: dict[str, Any]) -> None:
    found = compare_all(models)
    evidence = torch.stack([models[name].evidence for name in found.names])
    torch.testing.assert_close(found.log_prob, evidence, rtol=0, atol=EXACT)
    assert found.mean.tolist() == sorted(found.mean.tolist(), reverse=True)
    pairs = (evidence - evidence[0]).numpy()
    np.testing.assert_allclose(found.difference, pairs.mean(1), atol=EXACT)
    error = pairs.std(1, ddof=1) / np.sqrt(150)
    np.testing.assert_allclose(found.difference_error, error, atol=EXACT)
    np.testing.assert_allclose(found.error, evidence.numpy().std(1, ddof=1) / np.sqrt(150))
    assert found.names[0] == "a"
    assert found.verdicts()[0].startswith(f"a is better than {found.names[1]} by ")


def test_the_gap_of_an_exact_guide_is_nothing(models: dict[str, Any]) -> None:
    found = compare_all(models)
    torch.testing.assert_close(found.gap, torch.zeros(3, 20).double(), rtol=0, atol=EXACT)
    torch.testing.assert_close(found.rise, torch.zeros(3).double(), rtol=0, atol=EXACT)


def test_the_order_of_the_models_makes_no_difference(models: dict[str, Any]) -> None:
    found = compare_all(models)
    again = compare_all(dict(reversed(models.items())))
    assert found.names == again.names
    for name in ("log_prob", "gap", "weights"):
        torch.testing.assert_close(getattr(found, name), getattr(again, name))
    assert found.verdicts() == again.verdicts()


def test_a_model_is_not_ranked_against_itself(models: dict[str, Any]) -> None:
    found = compare_all({"one": models["a"], "another": models["a"]})
    assert found.names == ("another", "one")
    assert found.weights.sum() == pytest.approx(1.0)
    assert not found.ranked(1)
    assert "cannot be ranked" in found.verdicts()[0]


def test_stacking_is_as_good_as_any_weights_of_two() -> None:
    log_prob = torch.randn(2, 80, dtype=torch.float64) * 2
    log_prob[0] += 0.3
    weights = stacking_weights(log_prob)
    grid = torch.linspace(0, 1, 2001).double()
    score = torch.logaddexp(
        grid.log()[:, None] + log_prob[0], (1 - grid).log()[:, None] + log_prob[1]
    ).mean(1)
    assert abs(weights[0] - grid[score.argmax()]) < 2e-3
    assert weights.sum().item() == pytest.approx(1.0)


def test_no_weights_are_better_than_those_of_stacking() -> None:
    log_prob = torch.randn(4, 300, dtype=torch.float64) - torch.tensor([[0], [0.5], [3], [0.1]])
    best = mixture(stacking_weights(log_prob), log_prob)
    others = torch.distributions.Dirichlet(torch.ones(4).double()).sample((500,))
    assert max(mixture(weights, log_prob) for weights in [*others, *torch.eye(4).double()]) <= best


def mixture(weights: Tensor, log_prob: Tensor) -> float:
    return (weights.log()[:, None] + log_prob).logsumexp(0).mean().item()


def test_stacking_takes_a_much_better_model_alone_and_equals_as_they_come() -> None:
    log_prob = torch.randn(2, 50, dtype=torch.float64)
    log_prob[1] = log_prob[0] - 30
    torch.testing.assert_close(stacking_weights(log_prob), torch.tensor([1.0, 0.0]).double())
    torch.testing.assert_close(
        stacking_weights(log_prob.flip(0)), torch.tensor([0.0, 1.0]).double()
    )
    equal = stacking_weights(log_prob[:1].repeat(3, 1))
    assert equal.sum().item() == pytest.approx(1.0)
    assert (equal >= 0).all()


@pytest.mark.parametrize("models", [1, 2, 4])
@pytest.mark.parametrize("impossible", [0.0, 0.2])
def test_stacking_is_as_good_as_a_general_optimiser(models: int, impossible: float) -> None:
    generator = np.random.default_rng(models)
    log_prob = 2 * generator.normal(size=(models, 40))
    log_prob[1:, generator.random(40) < impossible] = -np.inf
    log_prob[0, generator.random(40) < impossible * (models > 1)] = -np.inf
    log_prob[models // 2, np.isneginf(log_prob).all(0)] = 0.0
    weights = stacking_weights(torch.from_numpy(log_prob)).numpy()
    density = np.exp(log_prob)
    best = optimize.minimize(
        lambda w: -np.log(np.maximum(w @ density, 1e-300)).mean(),
        np.full(models, 1 / models),
        bounds=[(0, 1)] * models,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
    )
    assert weights.sum() == pytest.approx(1.0)
    assert np.log(weights @ density).mean() > -best.fun - 2e-6
    np.testing.assert_allclose(weights, best.x, atol=0.01)


def test_stacking_leaves_an_observation_to_the_models_that_can_explain_it() -> None:
    # w wins n of N observations alone and shares the others with nothing else: w = n / N.
    inf = math.inf
    log_prob = torch.tensor([[-1.0, -1.0, -1.0, -inf], [-inf, -inf, -inf, -8.0]])
    torch.testing.assert_close(
        stacking_weights(log_prob), torch.tensor([0.75, 0.25]).double(), atol=1e-3, rtol=0
    )
    # However much better a model is elsewhere, one of which it makes nothing keeps some weight.
    rare = torch.tensor([[0.0] * 9 + [-inf], [-30.0] * 10])
    torch.testing.assert_close(
        stacking_weights(rare), torch.tensor([0.9, 0.1]).double(), atol=1e-3, rtol=0
    )
    nowhere = torch.tensor([[-inf, -inf], [-1.0, -2.0]])
    assert stacking_weights(nowhere).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("log_prob", "message"),
    [
        ([[-1.0, -math.inf], [-2.0, -math.inf]], "no model gives any mass to observation 1"),
        ([[-1.0, -math.inf]], "no model gives any mass to observation 1"),
        ([[-1.0, -1.0], [-2.0, math.nan]], "observation 1 under model 1 is nan"),
        ([[math.inf, -1.0], [-2.0, -1.0]], "observation 0 under model 0 is inf"),
        ([[], []], r"shape \(2, 0\)"),
        ([-1.0, -2.0], r"shape \(2,\)"),
    ],
)
def test_stacking_of_what_has_no_best_weights_is_refused(log_prob: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        stacking_weights(torch.tensor(log_prob))


def test_a_model_that_gives_an_observation_no_mass_is_named(
    models: dict[str, Any],
) -> None:
    vaes = {name: models[name].vae for name in "ab"}
    with torch.no_grad():
        vaes["b"].posterior.family.loc.bias.fill_(torch.inf)
    with pytest.raises(DataError, match=r"^b: "):
        compare(vaes, models["a"].x, samples=2, simulations=2)


def comparison(
    lead: float = 1.0, spread: float = 1.0, count: int = 400, gap: float = 0.0, rise: float = 0.0,
    *, best_gap: float = 0.0, ais: bool = False,
) -> Comparison:  # fmt: skip
    """Two models whose differences have a given mean and standard deviation."""
    z = torch.linspace(-1, 1, count).double()
    log_prob = torch.stack([0 * z, spread * z / z.std() - lead])
    zero = torch.zeros(count).double()
    evaluations = tuple(
        Evaluation(zero, zero, zero, "exact", 9, row, zero, zero + r)
        for row, r in zip(log_prob, (0.0, rise), strict=True)
    )
    gaps = torch.tensor([[best_gap] * 10, [gap] * 10]).double()
    return Comparison(("a", "b"), log_prob, gaps, stacking_weights(log_prob), evaluations, ais)


def test_a_clear_difference_is_said() -> None:
    found = comparison(lead=12.3, spread=22.0)
    assert found.ranked(1)
    assert found.verdicts() == ["a is better than b by 12.30 ± 1.10 nats per observation"]
    assert found.notes() == []


@pytest.mark.parametrize(
    ("doubtful", "clear", "words"),
    [
        ({"spread": 10.1}, {"spread": 9.9}, ["within 2 standard errors", "more data"]),
        (
            {"lead": 0.0099, "spread": 0.01},
            {"lead": 0.0101, "spread": 0.01},
            ["over all 400 data, less than 4"],
        ),
        ({"gap": 0.91}, {"gap": 0.89}, ["too low by 0.91", "bound gap", "--samples", "--ais"]),
        ({"gap": 0.91, "ais": True}, {"gap": 0.89, "ais": True}, ["no estimate here is better"]),
        ({"gap": float("nan")}, {"gap": 0.0}, ["could not be measured"]),
        ({"rise": 0.91}, {"rise": 0.91, "ais": True}, ["risen by 0.91", "--samples"]),
    ],
)
def test_what_could_be_otherwise_is_not_ranked(
    doubtful: dict[str, Any], clear: dict[str, Any], words: list[str]
) -> None:
    found = comparison(**doubtful)
    assert not found.ranked(1)
    (verdict,) = found.verdicts()
    assert verdict.startswith("a and b cannot be ranked: ")
    assert [word for word in words if word not in verdict] == []
    assert comparison(**clear).ranked(1)


def test_the_gap_of_the_better_model_only_makes_it_better() -> None:
    assert comparison(best_gap=50.0).ranked(1)


def test_few_data_are_warned_of() -> None:
    assert "99 data" in comparison(count=99).notes()[0]
    assert comparison(count=100).notes() == []


def test_models_that_cannot_be_compared_are_refused(make_vae: Any) -> None:
    bits = make_vae()
    x = bits.sample(4)
    with pytest.raises(SpecError, match="at least two models, and there is 1"):
        compare({"alone": bits}, x)
    real = make_vae(likelihood={"kind": "normal"})
    with pytest.raises(SpecError, match="bits gives data probabilities and real densities"):
        compare({"real": real, "bits": bits}, x)
    with pytest.raises(SpecError, match=r"guide of point is a point.*--ais"):
        compare({"bits": bits, "point": make_vae(guide="delta")}, x)


def test_the_picture_shows_every_model(models: dict[str, Any]) -> None:
    figure = differences(compare_all({**models, "d$": models["a"]}))
    left, right = figure.axes
    assert sorted(label.get_text() for label in left.get_yticklabels()) == ["a", "b", "c", r"d\$"]
    assert len(right.get_lines()) == 3 + 1  # and the line at zero
    figure.canvas.draw()
