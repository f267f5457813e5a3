"""Fits that go badly are named, and no others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyrovae import InferenceSpec, ModelSpec, Splits, Training, build, fit, load_data
from pyrovae.compute.randomness import seeded
from pyrovae.errors import DivergenceError, SpecError
from pyrovae.evaluation.bound import evaluate
from pyrovae.objectives.bound import Bound
from pyrovae.objectives.schedules import Budget
from pyrovae.programs.densities import Densities
from pyrovae.report.console import result
from pyrovae.specs.files import validate
from pyrovae.training.collapse_watch import CollapseWatch, settled_from, silent_nats
from pyrovae.training.fit_warnings import FitWarning, posterior_collapse
from pyrovae.training.loop import Callback
from pyrovae.training.weight_comparison import Judgement

COLUMNS = 6
# Probabilistic PCA keeps the directions in which the covariance is above that of the noise
# (Tipping and Bishop 1999): of noise that is weaker than the model's it keeps none.
MODEL: dict[str, Any] = {
    "latent_dim": 3,
    "decoder": {"kind": "mlp", "widths": [8]},
    "likelihood": {"kind": "normal", "noise": "fixed", "scale": 1.25},
}
FAST: dict[str, Any] = {
    "epochs": 15,
    "batch_size": 64,
    "optimiser": {"kind": "adam", "learning_rate": 2e-2},
}
WILD = {"optimiser": {"kind": "adam", "learning_rate": 1e3}}


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return table(tmp_path_factory, np.zeros((2, COLUMNS)))


@pytest.fixture(scope="module")
def structure(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return table(tmp_path_factory, 4 * np.eye(2, COLUMNS))


def table(folders: pytest.TempPathFactory, weights: Any) -> Splits:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2)) @ weights + rng.normal(size=(600, COLUMNS))
    path = folders.mktemp("data") / "table.npy"
    np.save(path, x)
    return load_data(path)


class Listener(Callback):
    def __init__(self) -> None:
        self.heard: list[FitWarning] = []

    def on_warning(self, training: Training, warning: FitWarning) -> None:
        self.heard.append(warning)


def prepared(data: Splits, inference: dict[str, Any], model: dict[str, Any]) -> Training:
    spec = validate({**FAST, **inference}, InferenceSpec, "inference")
    return Training(
        build(validate({**MODEL, **model}, ModelSpec, "model"), spec, data), data, spec
    )


def trained(
    data: Splits,
    inference: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Training:
    with seeded(0):
        training = prepared(data, inference or {}, model or {})
        training.run(callbacks)
        training.conclude()
    return training


def kinds(training: Training) -> list[str]:
    return [warning.kind for warning in training.warnings]


@pytest.mark.parametrize(
    "inference",
    [
        {},
        {"guide": {"kind": "full_rank"}},  # whose KL is no sum over dimensions
        {"beta": {"kind": "linear", "warmup_epochs": 5}},
    ],
)
def test_data_without_structure_collapse_the_posterior_and_it_is_said_once(
    noise: Splits, inference: dict[str, Any]
) -> None:
    listener = Listener()
    training = trained(noise, inference, callbacks=[listener])
    assert [warning.kind for warning in listener.heard] == ["posterior_collapse"]
    assert listener.heard[0].epoch >= max(training.watch.settled, training.watch.collapse.window)
    assert kinds(training) == ["posterior_collapse"]
    summary = evaluate(training.autoencoder, training.splits.test)
    said = result(training, summary, 0, 3, "runs/mine")
    assert "0 of 3 latent dimensions: the posterior has collapsed" in said
    assert "→ unless there is no structure" in said


@pytest.mark.parametrize(
    "inference",
    [
        {},
        pytest.param({"beta": {"kind": "constant", "value": 4.0}}, marks=pytest.mark.slow),
        {"beta": {"kind": "linear", "value": 2.0, "warmup_epochs": 9}},
        {"objective": {"kind": "capacity", "capacity": 2.0, "warmup_epochs": 9}},
        {"objective": {"kind": "mmd"}, "beta": {"kind": "constant", "value": 0.0}},
        {"objective": {"kind": "free_bits"}},
        {"guide": {"kind": "delta"}, "beta": {"kind": "constant", "value": 0.0}},
        {"early_stopping": {}},
    ],
    ids=str,
)
def test_nothing_is_said_of_data_with_structure(
    structure: Splits, inference: dict[str, Any]
) -> None:
    listener = Listener()
    training = trained(structure, inference, callbacks=[listener])
    assert listener.heard == []
    assert not {"posterior_collapse", "worse_than_untrained"} & set(kinds(training))


@pytest.mark.parametrize("rate", [pytest.param(1e-4, marks=pytest.mark.slow), 1e-6])
def test_nothing_is_said_of_a_fit_that_learns_slowly(structure: Splits, rate: float) -> None:
    listener = Listener()
    slow = {"optimiser": {"kind": "adam", "learning_rate": rate}}
    assert kinds(trained(structure, slow, callbacks=[listener])) == []
    assert listener.heard == []


def test_collapse_is_said_once_whatever_the_interruptions(noise: Splits) -> None:
    class Stop(Callback):
        def on_epoch_end(self, training: Training, records: Any) -> None:
            training.interrupted = True

    whole, parts = Listener(), Listener()
    expected = trained(noise, callbacks=[whole]).state_dict()
    training = prepared(noise, {}, {})
    with seeded(0):
        training = prepared(noise, {}, {})
        while not training.finished:
            training.run([parts, Stop()])
            state = training.state_dict()
            training = prepared(noise, {}, {})
            training.load_state_dict(state)
    assert parts.heard == whole.heard
    for key in ("silent_nats", "untrained", "elbo"):
        assert training.state_dict()[key] == expected[key]


def test_a_kl_that_grows_is_no_collapse() -> None:
    watch = CollapseWatch(Budget(epochs=50, steps_per_epoch=10))
    assert watch.window == 10
    for epoch in range(40):
        watch.see(1e-6 * 1.3**epoch)
        assert not watch.collapsed
    watch.see(None)
    for epoch in range(12):
        watch.see(1e-3 * (1 + epoch % 2))
        assert watch.collapsed == (epoch >= 9)


@pytest.mark.parametrize(
    ("epochs", "steps", "window"), [(3, 10, 5), (150, 13, 30), (3280, 2500, 5), (1000, 10, 100)]
)
def test_the_window_is_a_fifth_of_the_budget_or_a_thousand_steps(
    epochs: int, steps: int, window: int
) -> None:
    assert CollapseWatch(Budget(epochs, steps)).window == window


def test_settings_that_return_have_not_settled() -> None:
    assert settled_from([1.0, 1.0]) == 1
    assert settled_from([1.0, 0.0, 1.0, 1.0]) == 3


@torch.no_grad()
def test_a_guide_that_ignores_x_says_nothing_though_its_family_keeps_a_kl(
    structure: Splits,
) -> None:
    sphere = {"latent_dim": 4, "prior": {"kind": "hyperspherical"}}
    training = prepared(structure, {"guide": {"kind": "von_mises_fisher"}}, sphere)
    autoencoder, data = training.autoencoder, training.splits.validation
    guide: Any = autoencoder.posterior.family
    guide.concentration.weight.zero_()
    guide.concentration.bias.fill_(-30.0)

    def nats() -> float | None:
        return silent_nats(autoencoder, data, evaluate(autoencoder, data, training.objective))

    assert nats() is None
    guide.loc.weight.zero_()
    assert evaluate(autoencoder, data, training.objective).kl > 0.005 * 4
    assert nats() == pytest.approx(0.0, abs=1e-6)


@torch.no_grad()
def test_a_point_says_nothing_only_if_it_is_always_the_same(structure: Splits) -> None:
    training = prepared(structure, {"guide": {"kind": "delta"}}, {})
    autoencoder, data = training.autoencoder, training.splits.validation
    summary = evaluate(autoencoder, data)
    assert silent_nats(autoencoder, data, summary) is None
    for parameter in autoencoder.posterior.parameters():
        parameter.zero_()
    assert silent_nats(autoencoder, data, summary) == 0.0


@pytest.mark.parametrize(
    ("inference", "model"),
    [
        ({}, {}),
        (
            {"beta": {"kind": "linear"}, "early_stopping": {"patience": 3}},
            {"likelihood": {"kind": "normal", "noise": "fixed"}},
        ),
    ],
)
def test_an_absurd_end_is_named(
    structure: Splits, inference: dict[str, Any], model: dict[str, Any]
) -> None:
    training = trained(structure, {**WILD, **inference, "epochs": 5}, model)
    (warning,) = (w for w in training.warnings if w.kind == "worse_than_untrained")
    assert warning.numbers["elbo"] < warning.numbers["elbo_untrained"]
    assert "inference.optimiser.learning_rate than 1000" in warning.advice
    assert "inference.clip_norm = 1" in warning.advice


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("rate", [1e6, 1e18, 1e30])
def test_no_learning_rate_is_too_large_to_be_named(
    structure: Splits, caplog: Any, rate: float, epochs: int
) -> None:
    """Also where the only epoch ends in an ELBO that is no number."""
    spec = {"model.decoder.widths": [4], "inference.batch_size": 500, "inference.epochs": epochs}
    vae = build("vae", "svi", structure, {**spec, "inference.optimiser.learning_rate": rate})
    try:
        fit(vae, structure)
    except DivergenceError as error:
        assert "not finite" in str(error)  # noqa: PT017
    else:
        assert "training has made the model worse" in caplog.text


def test_an_absurd_loss_is_named_during_training_once(structure: Splits) -> None:
    listener = Listener()
    trained(structure, {**WILD, "epochs": 5}, callbacks=[listener])
    assert [warning.kind for warning in listener.heard] == ["worse_than_untrained"]
    assert listener.heard[0].epoch < 5


class Flipped(Bound):
    """The ELBO with the wrong sign."""

    title = "minus the ELBO"

    def bound(self, found: Densities, beta: Any) -> Tensor:
        return -(found.reconstruction - found.kl).mean(0)


def test_an_objective_of_the_wrong_sign_is_named(structure: Splits) -> None:
    spec = validate({**FAST, "epochs": 30}, InferenceSpec, "inference")
    vae = build(validate(MODEL, ModelSpec, "model"), spec, structure)
    training = Training(vae, structure, spec, objective=Flipped())
    with seeded(0):
        training.run()
    training.conclude()
    (warning,) = training.warnings
    assert warning.kind == "worse_than_untrained"
    assert "look at the sign of the objective" in warning.advice


class Unreduced(Flipped):
    def bound(self, found: Densities, beta: Any) -> Tensor:
        return found.reconstruction - found.kl


class Summed(Flipped):
    def bound(self, found: Densities, beta: Any) -> Tensor:
        return (found.reconstruction - found.kl).sum()


@pytest.mark.parametrize("wrong", [Unreduced, Summed])
def test_a_bound_that_is_not_of_each_observation_is_refused(
    structure: Splits, wrong: type[Bound]
) -> None:
    spec = validate(FAST, InferenceSpec, "inference")
    vae = build(validate(MODEL, ModelSpec, "model"), spec, structure)
    with pytest.raises(SpecError, match=f"{wrong.__name__}.bound gives shape"):
        Training(vae, structure, spec, objective=wrong())


def test_weights_are_never_worse_than_themselves_and_both_numbers_count() -> None:
    good = Judgement([-10.0, -12.0, -11.0], [10.0, 12.0, 11.0])
    bad = Judgement([-20.0, -21.0, -22.0], [20.0, 21.0, 22.0])
    nan = Judgement([-20.0, float("nan"), -22.0], [20.0, float("nan"), 22.0])
    assert bad.worse_than(good)
    assert nan.worse_than(good)
    for first, second in [(good, bad), (good, good), (nan, nan), (good, nan)]:
        assert not first.worse_than(second)
    assert not bad._replace(loss=[1.0, 1.0, 1.0]).worse_than(good)
    assert not bad._replace(elbo=good.elbo).worse_than(good)
    noisy = Judgement([-10.0, -16.0, -8.5], [10.0, 16.0, 8.5])
    assert not noisy.worse_than(good)


@pytest.fixture
def overfitted(noise: Splits) -> Callable[..., Training]:
    """A fit whose noise shrinks with what it knows by heart: few data, many parameters."""

    def train(**inference: Any) -> Training:
        few = noise._replace(train=noise.train.first(12))
        model = {"likelihood": {"kind": "normal"}, "decoder": {"kind": "mlp", "widths": [64]}}
        return trained(few, {"epochs": 80, "batch_size": 12, **inference}, model)

    return train


def test_weights_that_were_better_earlier_are_kept(overfitted: Any) -> None:
    training = overfitted()
    kept = training.kept
    assert kept.which == "best"
    assert 0 < kept.epoch == training.best.epoch < 80
    now = evaluate(training.autoencoder, training.splits.validation, training.objective).elbo
    assert kept.elbo == pytest.approx(now, rel=1e-9)
    assert now > training.elbo
    said = result(training, evaluate(training.autoencoder, training.splits.test), 3, 3, "runs/a")
    assert f"best, of epoch {kept.epoch}" in said
    assert kinds(training) == []


def test_with_early_stopping_the_same_are_kept(overfitted: Any) -> None:
    training, plain = overfitted(early_stopping={"patience": 80}), overfitted()
    assert training.kept == plain.kept


def test_the_last_are_kept_where_the_elbo_falls_and_the_loss_does_not(structure: Splits) -> None:
    """With a large β the ELBO at β = 1 is best early, which the objective does not want."""
    training = trained(
        structure, {**FAST, "epochs": 30, "beta": {"kind": "constant", "value": 100.0}}
    )
    assert training.best.elbo > training.elbo
    assert training.kept == ("last", 30, training.elbo)


def test_fitting_in_one_call_says_it_to_the_logger(
    structure: Splits, caplog: pytest.LogCaptureFixture
) -> None:
    spec = validate({**FAST, **WILD, "epochs": 3}, InferenceSpec, "inference")
    vae = build(validate(MODEL, ModelSpec, "model"), spec, structure)
    with caplog.at_level(logging.WARNING, "pyrovae"):
        fit(vae, structure, spec)
    assert "training has made the model worse" in caplog.text


def test_advice_names_what_is_not_done_already(structure: Splits) -> None:
    model = {"output_bias": "data_mean"}
    training = prepared(structure, {"objective": {"kind": "free_bits"}}, model)
    spec = training.spec
    advice = posterior_collapse(training.autoencoder, spec, 9, 5, 0.0).advice
    assert "model.output_bias = 'random'" in advice
    assert "inference.beta.kind = 'linear'" in advice
    assert "free_bits" not in advice
    training.autoencoder.declaration = None  # as of programs by hand
    assert "model." not in posterior_collapse(training.autoencoder, spec, 9, 5, 0.0).advice


NORMALISED = """\
import pyro
import pyro.distributions as dist
from torch import nn

encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
decoder = nn.Linear(2, 6)


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), x.new_ones(2)).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)


def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 1.0).to_event(1))
"""


@pytest.mark.parametrize(("count", "size"), [(33, 32), (33, 16), (33, 1), (32, 1), (2, 1)])
def test_a_batch_of_one_that_cannot_be_trained_on_is_refused_with_a_size_that_can(
    noise: Splits, tmp_path: Path, count: int, size: int
) -> None:
    from pyrovae.programs.handwritten import Handwritten

    path = tmp_path / "program.py"
    path.write_text(NORMALISED, encoding="utf-8")
    data = noise._replace(train=noise.train.first(count))
    program = Handwritten(path, data)
    with pytest.raises(SpecError, match=f"batch_size = {size} and {count} training data") as found:
        Training(program, data, InferenceSpec(epochs=1, batch_size=size))
    assert all(module.training for module in program.modules())
    choice = int(str(found.value).rpartition(" = ")[2])
    spec = InferenceSpec(epochs=1, batch_size=choice)
    Training(program, data, spec).run()


def test_a_batch_of_one_is_trained_on_where_that_is_possible(noise: Splits) -> None:
    data = noise._replace(train=noise.train.first(33))
    assert kinds(trained(data, {"batch_size": 32, "epochs": 1})) == []
