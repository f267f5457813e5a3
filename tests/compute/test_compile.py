"""Graphs that Inductor has compiled train as the programs do."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch._inductor
from torch import nn
from torch._dynamo.utils import counters

from pyrovae import InferenceSpec, ModelSpec, Splits, Training, build, load_data
from pyrovae.compute.capture import capture
from pyrovae.compute.modes import evaluating
from pyrovae.evaluation.hamiltonian import Densities, at, log_posterior
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.pointwise import evaluate_pointwise
from pyrovae.programs.handwritten import Handwritten
from pyrovae.specs.computation import Computation
from pyrovae.specs.files import validate
from pyrovae.training.loop import Callback

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ["g++", "clang++"])), reason="there is no C++ compiler"
)
ON, OFF = Computation(compile="on"), Computation(compile="off")
# Two steps an epoch, no short batch: one graph to compile.
CHANGING = {
    "epochs": 3,
    "batch_size": 20,
    "beta": {"kind": "linear", "value": 2.0, "warmup_epochs": 2.0},
    "learning_rate_schedule": {"kind": "cosine"},
    "clip_norm": 50.0,
}


SMALL = {"decoder": {"kind": "mlp", "widths": [16]}}


def trained(training: Training, *callbacks: Callback) -> list[Any]:
    torch.manual_seed(1)
    return training.run(callbacks)


@pytest.fixture(scope="module")
def begin() -> Callable[..., Training]:
    """A training, always with the same numbers."""
    splits = Splits(*(split.first(40) for split in load_data("digits")))

    def make(
        computation: Computation,
        model: dict[str, Any] | None = None,
        inference: dict[str, Any] | None = None,
    ) -> Training:
        spec = validate({**CHANGING, **(inference or {})}, InferenceSpec, "inference")
        torch.manual_seed(0)
        vae = build(validate({**SMALL, **(model or {})}, ModelSpec, "model"), spec, splits)
        return Training(vae, splits, spec, computation)

    return make


class StateAt(Callback):
    """Keeps a training as it is after a step, in the middle of an epoch."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.state: dict[str, Any] = {}

    def on_step(self, training: Training) -> None:
        if training.step == self.step:
            self.state = copy.deepcopy(training.state_dict())


class Fitted(NamedTuple):
    """A training that has ended, its records, and its state on the way."""

    training: Training
    history: list[Any]
    state: dict[str, Any]


@pytest.fixture(scope="module")
def compiled(begin: Callable[..., Training]) -> Fitted:
    """Trained to the end; a graph takes seconds to compile, and all tests look at this one."""
    torch.set_num_threads(1)  # as in every test: sums are to be in the same order
    training, third = begin(ON), StateAt(3)
    return Fitted(training, trained(training, third), third.state)


def assert_close(first: Training, second: Training) -> None:
    """Sums in another order; Adam makes more of it where a gradient is next to nothing."""
    for name, value in first.autoencoder.state_dict().items():
        other = second.autoencoder.state_dict()[name]
        distance = (value - other).double().norm() / other.double().norm().clamp(min=1e-3)
        assert distance < 1e-5, name


def test_compiled_training_is_the_same(begin: Any, compiled: Fitted) -> None:
    training, history, _ = compiled
    programs = begin(OFF)
    expected = trained(programs)
    assert "compiled (" in training.execution.summary
    assert training.take_step.captured[20].obstacle is None
    assert_close(training, programs)
    assert [r.elbo for r in history] == pytest.approx([r.elbo for r in expected], rel=1e-5)
    assert [r.loss for r in history] == pytest.approx([r.loss for r in expected], rel=1e-5)


def test_a_compiled_run_that_was_interrupted_is_the_run_that_never_was(
    begin: Any, compiled: Fitted
) -> None:
    gone_on = begin(ON)
    torch.rand(7)  # the process that goes on has another random stream
    gone_on.load_state_dict(compiled.state)
    assert gone_on.step == 3
    gone_on.run()
    assert gone_on.take_step.captured[20].obstacle is None
    for name, value in compiled.training.autoencoder.state_dict().items():
        assert torch.equal(gone_on.autoencoder.state_dict()[name], value)


PROGRAM = """\
import pyro
import pyro.distributions as dist
import torch
from torch import nn

encoder = nn.Sequential(nn.Linear(64, 2, bias=False), nn.BatchNorm1d(2), nn.Dropout(0.2))
encoder.register_buffer("seen", torch.zeros(()), persistent=False)
decoder = nn.Linear(2, 64)
wide = torch.ones(1).expand(64)
narrow = torch.arange(128.0)[::2] / 128


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), x.new_ones(2)).to_event(1))
        encoder.seen.add_(x.mean())
        logits = decoder(z) * wide + narrow + encoder.seen / 100
        pyro.sample("x", dist.Binomial(16, logits=logits.reshape(x.shape)).to_event(3), obs=x)


def guide(x):
    with pyro.plate("data", len(x)):
        loc, scale = encoder(x.flatten(1) / 16), x.new_ones(2)
        pyro.sample("z", dist.Normal(loc, scale).to_event(1))
"""


def test_buffers_and_views_of_a_handwritten_program_are_compiled(
    few_digits: Splits, tmp_path: Path
) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    runs = []
    for computation in (ON, OFF):
        torch.manual_seed(0)
        program = Handwritten(path, few_digits)
        training = Training(
            program, few_digits, validate(CHANGING, InferenceSpec, ""), computation
        )
        trained(training)
        runs.append(training)
    assert runs[0].take_step.captured[20].obstacle is None
    assert_close(*runs)
    first, second = (dict(run.autoencoder.named_buffers()) for run in runs)
    assert any("running_mean" in name for name in first)
    for name, buffer in first.items():
        torch.testing.assert_close(buffer, second[name], rtol=1e-5, atol=1e-6)


def test_noise_is_fresh_in_every_call_and_that_of_the_seed(compiled: Fitted) -> None:
    training = compiled.training
    captured = training.take_step.captured[20]
    x = training.splits.train.batch(torch.arange(20)).x
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found += [captured(x)[0].clone(), captured(x)[0].clone()]
    assert not torch.allclose(found[0], found[1], rtol=1e-9)
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])
    assert not torch.allclose(found[0], found[4], rtol=1e-9)


def test_a_compiler_that_fails_is_reported_and_trained_without(
    begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no\nworking C++ compiler")

    monkeypatch.setattr(torch._inductor, "compile", fail)
    training, programs = begin(ON), begin(OFF)
    trained(training)
    trained(programs)
    summary = training.execution.summary
    assert "not compiled: no working C++ compiler" in summary
    assert "\n" not in summary
    for name, value in training.autoencoder.state_dict().items():
        assert torch.equal(value, programs.autoencoder.state_dict()[name])


COMPILED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vamp": ({"prior": {"kind": "vamp", "pseudo_inputs": 5}}, {}),
    "mixture": ({"prior": {"kind": "mixture"}}, {"guide": {"kind": "full_rank"}}),
    "flow": (
        {"prior": {"kind": "flow", "widths": [8]}},
        {"guide": {"kind": "iaf", "widths": [8]}},
    ),
    "student_t": ({"prior": {"kind": "student_t"}}, {"guide": {"kind": "laplace"}}),
    "sphere": ({"prior": {"kind": "hyperspherical"}}, {"guide": {"kind": "von_mises_fisher"}}),
    "spline": ({}, {"guide": {"kind": "spline", "widths": [8]}}),
    "point": ({}, {"guide": {"kind": "delta"}}),
    "low_rank": ({}, {"guide": {"kind": "low_rank"}}),
    "mixture guide": ({}, {"guide": {"kind": "mixture"}}),
    "bits": ({"binarisation": "dynamic", "likelihood": {"kind": "bernoulli"}}, {}),
    "categorical": ({"likelihood": {"kind": "categorical"}}, {}),
    "discretized_logistic": ({"likelihood": {"kind": "discretized_logistic"}}, {}),
    "negative_binomial": ({"likelihood": {"kind": "negative_binomial"}}, {}),
    "beta": ({"likelihood": {"kind": "beta"}}, {}),
    "conv": ({"decoder": {"kind": "conv", "widths": [8, 4]}}, {}),
    "residual": ({"decoder": {"kind": "residual", "widths": [8, 4]}}, {}),
    **{
        "-".join(map(str, objective.values())): ({}, {"objective": objective})
        for objective in (
            {"kind": "elbo", "kl": "sampled", "particles": 2},
            {"kind": "iwae", "gradient": "plain"},
            {"kind": "iwae", "gradient": "stl"},
            {"kind": "renyi", "gradient": "dreg"},
            {"kind": "free_bits"},
            {"kind": "capacity"},
            {"kind": "tc"},
            {"kind": "mmd"},
        )
    },
    "weights": ({}, {"resampling": {"kind": "kernel", "importance_weights": True}}),
    "Adamax": ({}, {"optimiser": {"kind": "adamax"}}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "inference"), COMPILED.values(), ids=COMPILED.keys())
def test_whatever_is_declared_can_be_compiled(
    begin: Any, model: dict[str, Any], inference: dict[str, Any]
) -> None:
    compiled, programs = (begin(how, model, {**inference, "epochs": 1}) for how in (ON, OFF))
    trained(compiled)
    trained(programs)
    assert compiled.take_step.captured[20].obstacle is None
    # Where a gradient is next to nothing, two steps of Adam are its sign twice.
    for mine, theirs in zip(
        compiled.take_step.parameters, programs.take_step.parameters, strict=True
    ):
        assert (mine - theirs).norm() <= 1e-3 * theirs.norm().clamp(min=1e-2)
    expected = programs.tally.state_dict()
    assert compiled.tally.count == expected["count"]


def test_estimates_are_the_same_compiled(few_digits: Splits) -> None:
    vae = build(validate(SMALL, ModelSpec, "model"), InferenceSpec(), few_digits)
    x = vae.contract.apply(few_digits).test.batch(torch.arange(4)).x
    judged, expected = (evaluate_pointwise(vae, x, 20, computation=how) for how in (ON, OFF))
    for found in ("elbo", "log_prob", "kl", "effective_samples"):
        torch.testing.assert_close(
            getattr(judged, found), getattr(expected, found), rtol=1e-4, atol=1e-4
        )
    point = torch.randn(2, 4, 8)
    with evaluating(vae):
        local = LocalPosterior(vae, x)
        on, off = (at(Densities(log_posterior, vae, how).of(local), point) for how in (ON, OFF))
    torch.testing.assert_close(on.log_prob, off.log_prob, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(on.gradient, off.gradient, rtol=1e-4, atol=1e-3)


def test_what_would_take_a_compiler_hours_is_only_captured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, x = nn.Linear(2, 2), torch.ones(3, 2)
    captured = capture(lambda inputs: [network(inputs)], network, [x], [2 * x])
    monkeypatch.setattr("pyrovae.compute.capture.MOST_COMPILED", captured.operations - 1)
    found = captured.compiled([x])
    assert found.run is captured.run
    assert found.obstacle == "not compiled: so many take a compiler too long"


def test_a_graph_that_was_compiled_before_is_read_from_disk() -> None:
    x, state = torch.rand(3), nn.Linear(3, 3)

    def compiled() -> Sequence[torch.Tensor]:
        graph = capture(lambda x: [(state.weight * x).sin().sum(0)], state, [x], [x.flip(0)])
        return graph.compiled([x])(x)

    first = compiled()
    hits = counters["aot_autograd"]["autograd_cache_hit"]
    (again,) = compiled()
    assert counters["aot_autograd"]["autograd_cache_hit"] == hits + 1
    assert torch.equal(again, first[0])
    with torch.no_grad():  # the values are not in what was kept
        state.weight.mul_(2)
    torch.testing.assert_close(*compiled(), (state.weight * x).sin().sum(0).detach())
