"""The same specification on a GPU: everything lies there, and nothing waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor

from pyrovae import VAE, InferenceSpec, ModelSpec, Splits, Training, build, load, save
from pyrovae.compute.randomness import seeded
from pyrovae.diagnosis import diagnose
from pyrovae.evaluation.evidence import log_evidence
from pyrovae.evaluation.results import Check
from pyrovae.exploration.interpolation import interpolate
from pyrovae.exploration.traversal import traverse
from pyrovae.specs.computation import Computation
from pyrovae.training.loop import Callback
from pyrovae.training.order import epoch_order

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU"),
]

MODELS = {
    "normal": {},
    "vamp": {"prior": {"kind": "vamp", "pseudo_inputs": 5}},
    "mixture": {"prior": {"kind": "mixture"}},
    "flow": {"prior": {"kind": "flow", "widths": [8]}},
    "student_t": {"prior": {"kind": "student_t", "learned": True}},
    "categorical": {"likelihood": {"kind": "categorical"}},
    "discretized_logistic": {"likelihood": {"kind": "discretized_logistic"}},
    "negative_binomial": {"likelihood": {"kind": "negative_binomial"}},
    "beta": {"likelihood": {"kind": "beta"}},
    "bits": {"binarisation": "dynamic", "likelihood": {"kind": "bernoulli"}},
    "conv": {"decoder": {"kind": "conv", "widths": [8, 4]}},
    "residual": {"decoder": {"kind": "residual", "widths": [8, 4]}},
}
BETA = {"kind": "linear", "value": 2.0, "warmup_epochs": 1.0}
SHORT = {"epochs": 2, "batch_size": 16, "beta": BETA, "clip_norm": 100.0}
# Sums in another order, in float32: single sums of a few hundred numbers.
RELATIVE = 1e-4


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def model(request: pytest.FixtureRequest) -> ModelSpec:
    """Several kinds of models."""
    return ModelSpec.model_validate(request.param)


def begin(
    model: ModelSpec,
    data: Splits,
    device: str,
    computation: Computation | None = None,
    **inference: Any,
) -> Training:
    """A training that is about to begin on a device, always with the same numbers."""
    spec = InferenceSpec.model_validate({**SHORT, **inference})
    with seeded(0):
        vae = build(model, spec, data).to(device)
    return Training(vae, data, spec, computation)


def run(training: Training, *callbacks: Callback) -> None:
    with seeded(training.spec.seed, training.device):
        training.run(callbacks)


def judged(vae: VAE, x: Tensor, device: str) -> dict[str, Tensor]:
    """Mean codes and densities at them: no random number is in these."""
    with torch.no_grad():
        posterior = vae.encode(x.to(device))
        code = posterior.mean
        numbers = {
            "code": code,
            "p(z)": vae.prior(vae.posterior).log_prob(code),
            "p(x | z)": vae.decode(code).log_prob(x.to(device)),
            "q(z | x)": posterior.log_prob(code),
        }
    return {name: value.cpu() for name, value in numbers.items()}


def test_parameters_data_and_beta_lie_on_the_gpu(model: ModelSpec, few_digits: Splits) -> None:
    training = begin(model, few_digits, "cuda")
    run(training)
    step = training.take_step
    tensors = [
        *training.autoencoder.state_dict().values(),
        *(split.x for split in training.splits),
        *step.optimiser.tensors(),
        step.tally.sums,
        step.settings,
    ]
    assert {tensor.device.type for tensor in tensors} == {"cuda"}
    assert step.beta.item() == 2.0


@contextmanager
def no_waiting() -> Iterator[None]:
    """Whatever makes the CPU wait for the GPU raises."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_no_step_waits_for_the_gpu(model: ModelSpec, few_digits: Splits) -> None:
    training = begin(model, few_digits, "cuda")
    index = epoch_order(0, 0, len(training.splits.train)).cuda()
    training.take_step(index[:16])  # the first allocates
    with no_waiting():
        training.take_step(index[16:32])
        training.take_step(index[32:])


GUIDES = {
    "delta": {"kind": "delta"},
    "laplace": {"kind": "laplace"},
    "full_rank": {"kind": "full_rank"},
    "low_rank": {"kind": "low_rank"},
    "mixture": {"kind": "mixture"},
    "iaf": {"kind": "iaf", "widths": [8]},
    "spline": {"kind": "spline", "widths": [8]},
}
OBJECTIVES = {
    "elbo": {"kind": "elbo", "particles": 2},
    "iwae": {"kind": "iwae", "particles": 3},
    "stl": {"kind": "iwae", "particles": 3, "gradient": "stl"},
    "dreg": {"kind": "iwae", "particles": 3, "gradient": "dreg"},
    "renyi": {"kind": "renyi", "particles": 3},
    "free_bits": {"kind": "free_bits"},
    "capacity": {"kind": "capacity"},
    "tc": {"kind": "tc"},
    "mmd": {"kind": "mmd"},
}


def assert_trains_without_waiting(training: Training) -> None:
    index = epoch_order(0, 0, len(training.splits.train)).cuda()
    training.take_step(index[:16])  # the first allocates
    with no_waiting():
        training.take_step(index[16:32])
    assert all(torch.isfinite(p).all() for p in training.autoencoder.parameters())


@pytest.mark.parametrize("guide", GUIDES.values(), ids=GUIDES.keys())
def test_no_step_of_any_guide_waits_for_the_gpu(few_digits: Splits, guide: dict[str, Any]) -> None:
    assert_trains_without_waiting(begin(ModelSpec(), few_digits, "cuda", guide=guide))


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_no_step_of_any_objective_waits_for_the_gpu(
    few_digits: Splits, objective: dict[str, Any]
) -> None:
    assert_trains_without_waiting(begin(ModelSpec(), few_digits, "cuda", objective=objective))


def test_a_sphere_is_trained_on_on_the_gpu(few_digits: Splits) -> None:
    model = ModelSpec(prior={"kind": "hyperspherical"})
    guide = {"kind": "von_mises_fisher"}
    assert_trains_without_waiting(begin(model, few_digits, "cuda", guide=guide))


ON = Computation(compile="on")
# Batches of two: one replay of sixteen steps and four by themselves in an epoch.
REPLAYED = {"batch_size": 2, "learning_rate_schedule": {"kind": "cosine"}}


class Steps(Callback):
    """Writes down after which steps it was told."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_step(self, training: Training) -> None:
        self.seen.append(training.step)


def close(first: Training, second: Training) -> None:
    """Weights and records, as far as sums in another order let them be."""
    for name, value in first.autoencoder.state_dict().items():
        other = second.autoencoder.state_dict()[name]
        torch.testing.assert_close(value, other, rtol=RELATIVE, atol=RELATIVE)
    assert first.best.elbo == pytest.approx(second.best.elbo, rel=RELATIVE)


@pytest.mark.parametrize("kind", ["normal", "vamp", "bits", "conv"])
def test_captured_training_on_the_gpu_is_the_same(few_digits: Splits, kind: str) -> None:
    model = ModelSpec.model_validate(MODELS[kind])
    captured = begin(model, few_digits, "cuda", ON, **REPLAYED)
    programs = begin(model, few_digits, "cuda", Computation(compile="off"), **REPLAYED)
    steps = Steps()
    run(captured, steps)
    run(programs)
    assert "16 steps in one CUDA graph" in captured.execution.summary
    assert "compiled in" in captured.execution.summary
    assert steps.seen == [16, 17, 18, 19, 20, 36, 37, 38, 39, 40]
    close(captured, programs)


def test_weights_of_resampled_data_reach_a_replay(few_digits: Splits) -> None:
    resampling = {"kind": "histogram", "importance_weights": True}
    inference = {**REPLAYED, "resampling": resampling}
    captured = begin(ModelSpec(), few_digits, "cuda", ON, **inference)
    programs = begin(ModelSpec(), few_digits, "cuda", Computation(compile="off"), **inference)
    run(captured)
    run(programs)
    close(captured, programs)


@pytest.fixture
def prepared(few_digits: Splits) -> Training:
    """Captured and recorded, about to take the first step."""
    training = begin(
        ModelSpec(binarisation="dynamic", likelihood={"kind": "bernoulli"}),
        few_digits,
        "cuda",
        ON,
        **REPLAYED,
    )
    before = [tensor.clone() for tensor in written(training)]
    pyro.enable_validation(False)  # as training does
    training._prepare()
    assert training.execution.replay is not None, training.execution.summary
    assert all(map(torch.equal, written(training), before))  # the recording took no step
    assert training.tally.count == 0
    return training


def written(training: Training) -> list[Tensor]:
    """All that a step writes."""
    step = training.take_step
    return [
        *training.autoencoder.state_dict().values(),
        *step.optimiser.tensors(),
        step.tally.sums,
        step.settings,
    ]


def test_every_replay_draws_anew(prepared: Training) -> None:
    replay, tally = prepared.execution.replay, prepared.tally
    assert replay is not None
    index = torch.arange(replay.data, device="cuda")
    found = []
    for seed in (1, 1, 2):
        torch.cuda.manual_seed(seed)
        tally.reset()
        # Nothing is learned, so that only what is drawn can make a difference.
        replay(index, [(1.0, 0.0, 0.0)] * replay.count)
        found.append(tally.sums.clone())
        replay(index, [(1.0, 0.0, 0.0)] * replay.count)
        assert not torch.allclose(tally.sums, 2 * found[-1], rtol=1e-9)
    torch.testing.assert_close(found[0], found[1], rtol=RELATIVE, atol=0)
    assert not torch.allclose(found[0], found[2], rtol=1e-9)


def test_nothing_waits_in_a_replay(prepared: Training) -> None:
    replay = prepared.execution.replay
    assert replay is not None
    index = torch.arange(replay.data, device="cuda")
    settings = [(0.1 * step, 1e-3, 0.0) for step in range(replay.count)]
    replay(index, settings)
    with no_waiting():
        replay(index, settings)
        prepared.take_step(index[:2])
        prepared.take_step.set((0.5, 1e-3, 0.0))
        prepared.take_step(index[2:4])
    assert all(torch.isfinite(tensor).all() for tensor in written(prepared))


@pytest.mark.parametrize("stop", [16, 18, 20, 36])
def test_a_replayed_run_that_was_interrupted_is_the_run_that_never_was(
    few_digits: Splits, stop: int
) -> None:
    whole, begun, gone_on = (
        begin(ModelSpec(), few_digits, "cuda", ON, **REPLAYED) for _ in range(3)
    )
    run(whole)
    run(begun, StopAt(stop))
    assert begun.step == stop
    state = begun.state_dict()
    with seeded(3, gone_on.device):
        gone_on.load_state_dict(state)
        gone_on.run()
    for name, value in whole.autoencoder.state_dict().items():
        torch.testing.assert_close(gone_on.autoencoder.state_dict()[name], value)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_every_objective_is_captured_on_the_gpu(
    few_digits: Splits, objective: dict[str, Any]
) -> None:
    inference = {"epochs": 1, "batch_size": 2, "objective": objective}
    captured = begin(ModelSpec(), few_digits, "cuda", ON, **inference)
    programs = begin(ModelSpec(), few_digits, "cuda", Computation(compile="off"), **inference)
    run(captured)
    run(programs)
    assert "CUDA graph" in captured.execution.summary
    close(captured, programs)


def test_log_p_is_the_same_on_both_devices(few_digits: Splits) -> None:
    training = begin(ModelSpec(), few_digits, "cpu")
    run(training)
    here, there = (
        log_evidence(training.autoencoder.to(device), few_digits.test, samples=2000)
        for device in ("cpu", "cuda")
    )
    error = (1 / here.effective_samples + 1 / there.effective_samples).sqrt()
    assert ((here.log_prob - there.log_prob).abs() < 5 * error).all()


@pytest.mark.parametrize("guide", ["diagonal", "iaf"])
def test_a_posterior_is_diagnosed_on_the_gpu(few_digits: Splits, guide: str) -> None:
    vae = build("vae", InferenceSpec.model_validate({"guide": {"kind": guide}}), few_digits)
    test = vae.contract.apply(few_digits).test
    data = replace(test, rows=test.rows.repeat(2)).first(50)
    on_the_gpu = diagnose(vae.to("cuda"), data.to("cuda"), num=50, draws=100, full=True)
    on_the_cpu = diagnose(vae.to("cpu"), data, num=50, draws=100)
    questions = [outcome.question for outcome in on_the_cpu.outcomes]
    assert [outcome.question for outcome in on_the_gpu.outcomes][: len(questions)] == questions
    assert all(isinstance(outcome, Check) for outcome in on_the_gpu.outcomes)
    # Other random numbers: the bounds agree within their noise, which is a few nats at most.
    bounds = [found.draws.log_weight.mean().item() for found in (on_the_gpu, on_the_cpu)]
    assert bounds[0] == pytest.approx(bounds[1], rel=0.05)


def test_codes_are_looked_at_on_the_gpu(few_digits: Splits) -> None:
    vae = build(ModelSpec(latent_dim=2), InferenceSpec(), few_digits)
    x = few_digits.test.batch(torch.arange(40)).x
    looks = {
        device: (traverse(vae.to(device), x.to(device)), interpolate(vae, x.to(device)))
        for device in ("cpu", "cuda")
    }
    for here, there in zip(looks["cpu"], looks["cuda"], strict=True):
        assert there.images.device.type == "cpu"
        torch.testing.assert_close(there.images, here.images, rtol=RELATIVE, atol=RELATIVE)


@pytest.mark.parametrize("kind", ["kernel", "histogram"])
def test_data_are_drawn_by_their_codes_on_the_gpu(few_digits: Splits, kind: str) -> None:
    resampling = {"kind": kind, "importance_weights": True}
    training = begin(ModelSpec(), few_digits, "cuda", resampling=resampling)
    run(training)
    assert training.finished
    assert all(torch.isfinite(p).all() for p in training.autoencoder.parameters())


@pytest.mark.parametrize(("fitted_on", "judged_on"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_what_was_fitted_on_one_device_is_worth_the_same_on_the_other(
    few_digits: Splits, tmp_path: Path, fitted_on: str, judged_on: str
) -> None:
    training = begin(ModelSpec(), few_digits, fitted_on)
    run(training)
    save(training.autoencoder, tmp_path / "vae.safetensors")
    here, there = (load(tmp_path / "vae.safetensors", on) for on in (fitted_on, judged_on))
    assert {p.device.type for p in there.parameters()} == {judged_on}
    x = few_digits.test.batch(torch.arange(40)).x
    expected = judged(here, x, fitted_on)
    for name, value in judged(there, x, judged_on).items():
        torch.testing.assert_close(value, expected[name], rtol=RELATIVE, atol=RELATIVE)


class StopAt(Callback):
    """Interrupts training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, training: Training) -> None:
        training.interrupted = training.step == self.step


@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_a_run_goes_on_on_another_device(
    model: ModelSpec, few_digits: Splits, tmp_path: Path, first: str, second: str
) -> None:
    begun = begin(model, few_digits, first)
    run(begun, StopAt(2))
    torch.save(begun.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True)
    gone_on = begin(model, few_digits, second)
    with seeded(0, gone_on.device):
        gone_on.load_state_dict(state)
        assert gone_on.step == 2
        for name, value in begun.autoencoder.state_dict().items():
            assert torch.equal(gone_on.autoencoder.state_dict()[name].cpu(), value.cpu())
        gone_on.run()
    assert gone_on.finished
    assert all(torch.isfinite(p).all() for p in gone_on.autoencoder.parameters())


def test_a_run_on_the_gpu_that_was_interrupted_is_the_run_that_never_was(
    few_digits: Splits, model: ModelSpec
) -> None:
    whole, begun, gone_on = (begin(model, few_digits, "cuda") for _ in range(3))
    run(whole)
    run(begun, StopAt(2))
    with seeded(3, gone_on.device):
        gone_on.load_state_dict(begun.state_dict())
        gone_on.run()
    for name, value in whole.autoencoder.state_dict().items():
        torch.testing.assert_close(gone_on.autoencoder.state_dict()[name], value)
