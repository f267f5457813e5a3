"""Programs as graphs: the same numbers, from fresh noise, or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor, nn

import pyrovae.training.execution
from pyrovae import VAE, InferenceSpec, ModelSpec, Splits, Training, build
from pyrovae.compute.capture import Captured, CaptureError, capture
from pyrovae.data import Dataset
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.handwritten import Handwritten
from pyrovae.specs.computation import Compile, Computation
from pyrovae.training.loop import Callback, check_once
from pyrovae.training.step import Step

CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-7}
FOUR, OTHERS = torch.arange(4), torch.arange(4, 8)

PROGRAM = """\
import random

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.distributions import constraints

encoder = nn.Linear(64, 2)
decoder = nn.Linear(2, 64)
calls = [0]
generator = torch.Generator().manual_seed(3)
wide = torch.ones(1).expand(64)
narrow = torch.arange(128.0)[::2] / 128


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), x.new_ones(2)).to_event(1))
        logits = decoder(z)
        pyro.sample("x", dist.Binomial(16, logits=logits.reshape(x.shape)).to_event(3), obs=x)


def guide(x):
    with pyro.plate("data", len(x)):
        loc, scale = encoder(x.flatten(1) / 16), x.new_ones(2)
        pyro.sample("z", dist.Normal(loc, scale).to_event(1))
"""
LOGITS = "logits = decoder(z)"
CODE = 'z = pyro.sample("z", dist.Normal(x.new_zeros(2), x.new_ones(2)).to_event(1))'
DRAWN = 'pyro.sample("z", dist.Normal(loc, scale).to_event(1))'
SCALE = "scale = encoder(x.flatten(1) / 16), x.new_ones(2)"
Changes = list[tuple[str, str]]


def more(code: str) -> Changes:
    """Something more in the model."""
    return [(LOGITS, f"{LOGITS}; {code}")]


CAPTURED: dict[str, Changes] = {
    "as it is": [],
    "pyro.param": more('logits = logits * pyro.param("slope", torch.ones(64))'),
    "pyro.param within bounds": [
        (
            SCALE,
            "scale = encoder(x.flatten(1) / 16), "
            'pyro.param("scale", torch.ones(2), constraint=constraints.interval(0.1, 3.0))',
        )
    ],
    "two codes": [
        (LOGITS, 'logits = decoder(pyro.sample("w", dist.Normal(z, 1.0).to_event(1)))'),
        (DRAWN, f'z = {DRAWN}; pyro.sample("w", dist.Laplace(2 * z, 0.5).to_event(1))'),
    ],
    "batch norm": [
        ("nn.Linear(64, 2)", "nn.Sequential(nn.Linear(64, 2), nn.BatchNorm1d(2))"),
    ],
    "dropout": [("nn.Linear(64, 2)", "nn.Sequential(nn.Linear(64, 2), nn.Dropout(0.3))")],
    "a discrete code": [
        (CODE, 'z = pyro.sample("z", dist.Bernoulli(logits=x.new_zeros(2)).to_event(1))'),
        (DRAWN, 'pyro.sample("z", dist.Bernoulli(logits=loc).to_event(1))'),
    ],
    "noise of torch's": more("logits = logits + torch.rand(64) * torch.randperm(64)"),
    "a buffer that moves": [
        ("calls", 'encoder.register_buffer("seen", torch.zeros(()), persistent=False); calls'),
        *more("encoder.seen.add_(x.mean()); logits = logits + encoder.seen"),
    ],
    "a choice on the device": more("logits = torch.where(z.sum() > 0, logits, -logits)"),
    "tables that are views": more("logits = logits * wide + narrow"),
}
A_NUMBER = "take a number out of a tensor"
ANOTHER = "do something else when they are run again"
REFUSED: dict[str, tuple[str, str]] = {
    "an if": ("logits = logits + 1 if z.sum() > 0 else logits", A_NUMBER),
    "item": ("logits = logits * z.mean().item()", A_NUMBER),
    "noise as a number": ("logits = logits + torch.randn(()).item()", A_NUMBER),
    "one parameter as a number": ("logits = logits * decoder.bias[0].item()", A_NUMBER),
    "a parameter as a number": (
        'logits = logits * pyro.param("slope", torch.ones(())).item()',
        ANOTHER,
    ),
    "noise through numpy": (
        "logits = logits + torch.from_numpy(torch.randn(64).numpy())",
        ANOTHER,
    ),
    "numpy's random numbers": (
        "logits = logits + torch.from_numpy(np.random.rand(64)).float()",
        ANOTHER,
    ),
    "one of numpy's random numbers": ("logits = logits + float(np.random.rand())", ANOTHER),
    "Python's random numbers": ("logits = logits + random.random()", ANOTHER),
    "a counter": ("calls[0] += 1; logits = logits / calls[0]", ANOTHER),
    "as many as are positive": ("logits = logits + z[z > 0].sum()", ANOTHER),
    "another stream": (
        "logits = logits + torch.randn(64, generator=generator)",
        "hold a Generator, which is no tensor: random numbers must come from torch's own stream",
    ),
    "always the same noise": (
        "torch.manual_seed(1); logits = logits + torch.randn(64)",
        "seed the random stream themselves",
    ),
}
# What these do depends on how often they ran, or on another stream than torch's.
NEVER_THE_SAME = {"a counter", "another stream"} | {key for key in REFUSED if "random" in key}


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are not compiled, which takes seconds."""
    monkeypatch.setattr(Captured, "compiled", lambda captured, _: captured)


@pytest.fixture
def program(tmp_path: Path, few_digits: Splits) -> Callable[[Changes], Handwritten]:
    """A small handwritten program, with pieces of its text replaced."""

    def write(changes: Changes) -> Handwritten:
        text = PROGRAM
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "program.py"
        path.write_text(text, encoding="utf-8")
        torch.manual_seed(0)
        return Handwritten(path, few_digits)

    return write


def step_of(autoencoder: Autoencoder, train: Dataset, **inference: Any) -> Step:
    """A step that is about to be captured, as training does that."""
    pyro.enable_validation(False)
    spec = InferenceSpec.model_validate(inference)
    data = Splits(train, train, train)
    step = Step(autoencoder.train(), *rehearse_for(autoencoder, data, spec))
    step.set((0.7, 1e-3, 1.0))
    return step


def rehearse_for(autoencoder: Autoencoder, data: Splits, spec: InferenceSpec) -> Any:
    objective, layout = check_once(autoencoder, data, spec.objective)
    return objective, data.train, spec, layout


def numbers(vae: VAE, **inference: Any) -> Step:
    """A step of a declared autoencoder on eight data of its own."""
    vae = vae.float()
    x = vae.sample(8)
    return step_of(vae, Dataset("its own", x, torch.arange(8), None, None), **inference)


@torch.no_grad()
def move(step: Step) -> None:
    """Whatever changes in training, changed in place."""
    for parameter in step.parameters:
        parameter.add_(0.01 * torch.randn_like(parameter))
    step.set((0.3, 1e-2, 2.5))
    if step.importance is not None:
        step.importance.add_(torch.rand_like(step.importance))


def found_by(run: Any, step: Step, index: Tensor, seed: int) -> list[Tensor]:
    """Sums and gradients, with the buffers as they are after it."""
    buffers = list(step.autoencoder.buffers())
    kept = [buffer.clone() for buffer in buffers]
    torch.manual_seed(seed)
    inputs = step.inputs(*step.batch(index))
    found = [*run(*inputs), *(buffer.clone() for buffer in buffers)]
    for buffer, value in zip(buffers, kept, strict=True):
        buffer.copy_(value)
    return [tensor.detach().clone() for tensor in found]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(map(torch.equal, first, second))


def assert_is_captured(step: Step, *, noisy: bool = True) -> None:
    """The graph gives the programs' numbers, wherever parameters and settings have gone."""
    assert_gives_the_same(step, step.capture(4), noisy=noisy)


def assert_gives_the_same(step: Step, captured: Captured, *, noisy: bool = True) -> None:
    for _ in range(2):
        move(step)
        for index, seed in ((FOUR, 1), (OTHERS, 1), (OTHERS, 2)):
            expected = found_by(step.differentiate, step, index, seed)
            found = found_by(captured, step, index, seed)
            torch.testing.assert_close(found, expected, **CLOSE)
    # One stream, two calls in a row: what is drawn is drawn anew.
    inputs = step.inputs(*step.batch(FOUR))
    first, second = ([number.clone() for number in captured(*inputs)] for _ in range(2))
    assert same(first, second) != noisy


pytestmark = pytest.mark.usefixtures("uncompiled")


# Writing a graph down takes seconds.
def test_every_prior_and_every_guide_are_captured(
    make_vae: Any, each_part: tuple[str, str]
) -> None:
    assert_is_captured(numbers(make_vae(*each_part)), noisy=each_part[1] != "delta")


def test_every_likelihood_is_captured(make_vae: Any, covering_likelihood: dict[str, Any]) -> None:
    assert_is_captured(numbers(make_vae(likelihood=covering_likelihood)))


NETWORKS: dict[str, dict[str, Any]] = {
    "conv": {"kind": "conv", "widths": [4, 3]},
    "residual": {"kind": "residual", "widths": [4, 4]},
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_networks_of_images_are_captured(make_vae: Any, network: dict[str, Any]) -> None:
    assert_is_captured(numbers(make_vae(network=network, shape=(1, 8, 8))))


OBJECTIVES: list[dict[str, Any]] = [
    {"kind": "elbo", "kl": "auto", "particles": 1},
    {"kind": "elbo", "kl": "sampled", "particles": 3},
    *({"kind": "iwae", "particles": 3, "gradient": gradient} for gradient in ("plain", "dreg")),
    {"kind": "renyi", "particles": 3, "gradient": "stl"},
    *({"kind": "free_bits", "groups": groups} for groups in ("dimensions", "site")),
    {"kind": "capacity", "particles": 1},
    {"kind": "enumerated", "particles": 1},
    *({"kind": kind, "particles": 2} for kind in ("tc", "mmd")),
]
MORE_OBJECTIVES: list[dict[str, Any]] = [
    {"kind": "elbo", "kl": "auto", "particles": 3},
    {"kind": "elbo", "kl": "sampled", "particles": 1},
    {"kind": "iwae", "particles": 3, "gradient": "stl"},
    *({"kind": "renyi", "particles": 3, "gradient": gradient} for gradient in ("plain", "dreg")),
    {"kind": "capacity", "particles": 2},
    *({"kind": kind, "particles": 1} for kind in ("tc", "mmd")),
]


@pytest.mark.parametrize(
    "objective",
    [*OBJECTIVES, *(pytest.param(more, marks=pytest.mark.slow) for more in MORE_OBJECTIVES)],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_objective_is_captured(make_vae: Any, objective: dict[str, Any]) -> None:
    assert_is_captured(numbers(make_vae(), objective=objective))


@pytest.mark.parametrize(("kind", "limit"), [("elbo", 0.1), ("iwae", 1e6)])
def test_captured_gradients_are_clipped(
    make_vae: Any, kind: str, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = numbers(make_vae(), objective={"kind": kind}, clip_norm=limit)
    free = numbers(make_vae(), objective={"kind": kind}, clip_norm=None)
    assert_is_captured(step)
    gradients: list[Tensor] = []
    monkeypatch.setattr(step.optimiser, "update", lambda found, rate: gradients.extend(found))
    step(FOUR)
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert norm <= 1.001 * limit  # and is not what it would be by itself, if that is more
    assert (norm > 0.99 * limit) == (limit == 0.1)
    assert free.spec.clip_norm is None


@pytest.mark.parametrize(
    ("kind", "charged"),
    [("mmd", False), ("elbo", True), ("renyi", True)],
)
def test_the_weights_of_resampled_data_are_captured(
    make_vae: Any, kind: str, charged: bool
) -> None:
    resampling = {"kind": "kernel", "importance_weights": charged}
    step = numbers(make_vae(), objective={"kind": kind}, resampling=resampling)
    step.importance = torch.ones(8)
    assert_is_captured(step)
    with_weights = found_by(step.captured[4], step, FOUR, 1)
    step.importance.fill_(1.0)
    without = found_by(step.captured[4], step, FOUR, 1)
    sums, other_sums = with_weights[0], without[0]
    assert not torch.allclose(sums[2:], other_sums[2:])  # what is reported
    assert torch.equal(sums[1], other_sums[1]) != charged  # what is optimised


def test_the_shelfs_handwritten_program_is_captured(few_digits: Splits) -> None:
    assert_is_captured(
        step_of(Handwritten(Path("models/handwritten.py"), few_digits), few_digits.train)
    )


@pytest.mark.parametrize("changes", CAPTURED.values(), ids=CAPTURED.keys())
def test_a_handwritten_program_is_captured_and_left_as_it_was(
    program: Any, few_digits: Splits, changes: Changes
) -> None:
    autoencoder = program(changes)
    step = step_of(autoencoder, few_digits.train)
    torch.manual_seed(5)
    tensors = [*autoencoder.parameters(), *autoencoder.buffers(), *step.optimiser.tensors()]
    before = [tensor.detach().clone() for tensor in [*tensors, step.settings, step.tally.sums]]
    stream = torch.get_rng_state()
    captured = step.capture(4)
    assert torch.equal(torch.get_rng_state(), stream)
    after = [*autoencoder.parameters(), *autoencoder.buffers(), *step.optimiser.tensors()]
    assert all(mine is theirs for mine, theirs in zip(after, tensors, strict=True))
    assert same([*after, step.settings, step.tally.sums], before)
    assert all(parameter.grad is None for parameter in autoencoder.parameters())
    assert_gives_the_same(step, captured)


def test_bits_that_are_drawn_for_the_capture_are_not_of_the_callers_stream(
    few_digits: Splits,
) -> None:
    bits = {"binarisation": "dynamic", "likelihood": {"kind": "bernoulli"}}
    model = ModelSpec.model_validate({**SMALL, **bits})
    training = Training(build(model, InferenceSpec(), few_digits), few_digits, InferenceSpec())
    pyro.enable_validation(False)
    stream = torch.get_rng_state()
    training.take_step.capture(4)
    assert torch.equal(torch.get_rng_state(), stream)


def train(
    autoencoder: Autoencoder,
    data: Splits,
    compile: Compile,
    **inference: Any,
) -> Training:
    """Two epochs of three steps, the last one short unless another size is asked for."""
    spec = InferenceSpec.model_validate({"epochs": 2, "batch_size": 16, **inference})
    torch.manual_seed(1)
    training = Training(autoencoder, data, spec, Computation(compile=compile))
    training.run()
    return training


def assert_same_training(first: Training, second: Training) -> None:
    mine, theirs = first.state_dict(), second.state_dict()
    for part in ("weights", "tally", "random"):
        torch.testing.assert_close(mine[part], theirs[part], rtol=0, atol=0)
    torch.testing.assert_close(
        mine["optimiser"]["second"], theirs["optimiser"]["second"], rtol=0, atol=0
    )


# That every graph has the programs' numbers is tested above; here those that training meets in
# another way: batches of two sizes, bounds, noise of its own, and buffers that a step leaves.
TRAINED = {"as it is", "batch norm", "dropout", "pyro.param within bounds", "a buffer that moves"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in TRAINED else pytest.mark.slow, id=name)
        for name in CAPTURED
    ],
)
def test_training_is_the_same_captured_or_not(program: Any, few_digits: Splits, name: str) -> None:
    # A short last batch has a graph of its own, to which the size of a batch may matter.
    sizes = [8, 16] if name in {"as it is", "batch norm"} else [20]
    captured, programs = (
        train(program(CAPTURED[name]), few_digits, how, batch_size=sizes[-1])
        for how in ("on", "off")
    )
    assert sorted(captured.take_step.captured) == sizes
    assert captured.execution.summary.startswith("captured as ")
    assert_same_training(captured, programs)


SMALL: dict[str, Any] = {"latent_dim": 2, "decoder": {"kind": "mlp", "widths": [16]}}
DECLARED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bits drawn anew": ({"binarisation": "dynamic", "likelihood": {"kind": "bernoulli"}}, {}),
    "all that changes": (
        {"prior": {"kind": "mixture"}},
        {
            "beta": {"kind": "cyclical", "cycles": 1},
            "clip_norm": 10.0,
            "learning_rate_schedule": {"kind": "cosine"},
            "resampling": {"kind": "kernel", "importance_weights": True},
        },
    ),
    "capacity": ({}, {"objective": {"kind": "capacity", "warmup_epochs": 1}}),
}


@pytest.mark.parametrize(("model", "inference"), DECLARED.values(), ids=DECLARED.keys())
def test_settings_weights_and_bits_reach_a_captured_step(
    few_digits: Splits, model: dict[str, Any], inference: dict[str, Any]
) -> None:
    spec = InferenceSpec.model_validate(inference)
    runs = []
    for how in ("on", "off"):
        torch.manual_seed(0)
        vae = build(ModelSpec.model_validate({**SMALL, **model}), spec, few_digits)
        runs.append(train(vae, few_digits, how, batch_size=20, **inference))
    assert runs[0].take_step.captured
    assert not runs[1].take_step.captured
    assert_same_training(*runs)


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, about numbers out of tensors
def test_what_would_be_frozen_is_refused_with_a_sentence_and_trained_as_it_is(
    program: Any, few_digits: Splits, refused: str
) -> None:
    code, words = REFUSED[refused]
    training = train(program(more(code)), few_digits, "on")
    summary = training.execution.summary
    assert summary.startswith("as programs: ")
    assert words in summary
    assert "\n" not in summary
    assert training.finished
    assert not training.take_step.captured
    assert all(parameter.isfinite().all() for parameter in training.autoencoder.parameters())
    if refused not in NEVER_THE_SAME:
        assert_same_training(training, train(program(more(code)), few_digits, "off"))


def test_a_short_last_batch_that_cannot_be_captured_leaves_all_uncaptured(
    program: Any, few_digits: Splits
) -> None:
    changes = more("logits = logits * (z.mean().item() if len(x) == 8 else 1)")
    training = train(program(changes), few_digits, "on")
    assert training.execution.summary.startswith("as programs: ")
    assert not training.take_step.captured
    assert_same_training(training, train(program(changes), few_digits, "off"))


def test_a_program_that_fails_says_so_in_one_line() -> None:
    def fails(_: Tensor) -> list[Tensor]:
        raise ValueError("no\nsuch thing")

    x = torch.ones(2)
    with pytest.raises(CaptureError, match="no such thing") as error:
        capture(fails, nn.Linear(1, 1), [x], [x])
    assert "\n" not in str(error.value)


def test_a_captured_function_sees_what_is_written_into_its_tensors() -> None:
    layer, factor = nn.Linear(2, 1), torch.ones(())
    x = torch.randn(5, 2)
    captured = capture(lambda x: [layer(x) * factor], layer, [x], [2 * x])
    with torch.no_grad():
        layer.weight.fill_(2.0)
        layer.bias.fill_(1.0)
    factor.fill_(3.0)
    (found,) = captured(x)
    torch.testing.assert_close(found, 3 * (2 * x.sum(1, keepdim=True) + 1))
    assert not found.requires_grad


def test_what_does_not_pay_is_left_alone(
    few_digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Captured] = []

    def count(captured: Captured, _: Any) -> Captured:
        compiled.append(captured)
        return captured

    def vae() -> VAE:
        return build(ModelSpec.model_validate(SMALL), InferenceSpec(), few_digits)

    monkeypatch.setattr(Captured, "compiled", count)
    training = train(vae(), few_digits, "auto")
    assert training.execution.summary == "as programs: 6 steps do not repay being captured"
    off = train(vae(), few_digits, "off")
    assert off.execution.summary == "as programs (--compile off)"
    monkeypatch.setattr(pyrovae.training.execution, "CAPTURING_PAYS", 4)
    longer = train(vae(), few_digits, "auto")
    assert list(longer.take_step.captured) == [16, 8]  # four steps, and two of the short batch
    assert compiled == []
    monkeypatch.setattr(pyrovae.training.execution, "COMPILING_PAYS", 4)
    longest = train(vae(), few_digits, "auto")
    assert compiled == [longest.take_step.captured[16]]


def test_nothing_is_captured_where_no_step_is_left(few_digits: Splits) -> None:
    ended = train(build("vae", "svi", few_digits), few_digits, "off")
    again = Training(
        build("vae", "svi", few_digits), few_digits, ended.spec, Computation(compile="on")
    )
    again.load_state_dict(ended.state_dict())
    assert again.run() == []
    assert again.take_step.captured == {}


class StopAt(Callback):
    """Interrupts training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, training: Training) -> None:
        training.interrupted = training.step == self.step


def test_a_captured_run_that_was_interrupted_is_the_run_that_never_was(
    program: Any, few_digits: Splits
) -> None:
    changes = [*CAPTURED["batch norm"], *CAPTURED["noise of torch's"]]
    whole = train(program(changes), few_digits, "on")
    spec, computation = whole.spec, Computation(compile="on")
    begun = Training(program(changes), few_digits, spec, computation)
    torch.manual_seed(1)
    begun.run([StopAt(2)])
    state = begun.state_dict()
    gone_on = Training(program(changes), few_digits, spec, computation)
    torch.rand(7)
    gone_on.load_state_dict(state)
    gone_on.run()
    assert_same_training(gone_on, whole)
