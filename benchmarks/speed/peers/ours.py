"""This package: parts from specifications, trained by the loop that its commands use."""

from __future__ import annotations

from typing import Any, Literal, NoReturn

import torch
from clock import Clock
from noise import fixed_in_torch
from problems import LEARNING_RATE, Problem
from weights import Weights

from pyrovae import VAE, InferenceSpec, ModelSpec, Splits, Training, build
from pyrovae.data import Dataset
from pyrovae.specs.computation import Computation
from pyrovae.training.loop import Callback


class Uncaptured:
    """``Training.run`` with Pyro's handlers in every step."""

    compile: Literal["off", "on"] = "off"

    def __init__(self, problem: Problem, data: Any, weights: Weights, device: str) -> None:
        self.problem, self.device = problem, device
        model, inference = specifications(problem)
        splits = as_splits(torch.from_numpy(data))
        self.vae = build(model, inference, splits).to(device)
        load(self.vae, weights)
        computation = Computation(compile=self.compile)
        self.training = Training(self.vae, splits, inference, computation=computation)

    def loss(self, x: Any) -> float:
        batch = torch.from_numpy(x).to(self.device).float()
        with torch.no_grad(), fixed_in_torch(self.problem):
            return self.training.objective.loss_and_terms(self.vae, batch)[0].item()

    def train(self, clock: Clock) -> NoReturn:
        self.training.run([Blocks(clock)])
        raise AssertionError


class Captured(Uncaptured):
    """``Training.run`` with the step captured and compiled."""

    compile = "on"


class Blocks(Callback):
    """Tells the clock how far a training is."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step(self, training: Training) -> None:
        self.clock.reached(training.step)


def specifications(problem: Problem) -> tuple[ModelSpec, InferenceSpec]:
    """What a user would write in models/ and inference/."""
    network: dict[str, Any] = {"kind": "conv", "activation": problem.activation}
    if problem.network != "conv":
        network |= {"kind": "mlp", "gated": problem.network == "gated"}
    prior: dict[str, Any] = {"kind": "normal"}
    if problem.pseudo_inputs:
        prior = {"kind": "vamp", "pseudo_inputs": problem.pseudo_inputs}
    objective: dict[str, Any] = {"kind": "elbo"}
    if problem.bound == "weighted":
        objective = {"kind": "iwae", "particles": problem.particles}
    model = {
        "latent_dim": problem.latent_dim,
        "prior": prior,
        "decoder": {**network, "widths": problem.widths[::-1]},
        "likelihood": {"kind": "bernoulli"},
    }
    inference = {
        "epochs": 1_000_000,
        "batch_size": problem.batch,
        "guide": {"kind": "diagonal", "encoder": {**network, "widths": problem.widths}},
        "objective": objective,
        "optimiser": {"kind": "adam", "learning_rate": LEARNING_RATE},
    }
    return ModelSpec.model_validate(model), InferenceSpec.model_validate(inference)


def as_splits(x: torch.Tensor) -> Splits:
    """All data to train with; next to none for what happens between epochs, as no peer does it."""
    train = Dataset("bits", x, torch.arange(len(x)), labels=None, maximum=1.0)
    return Splits(train, train.first(10), train.first(10))


@torch.no_grad()
def load(vae: VAE, weights: Weights) -> None:
    """Put the weights into the parts, whose parameters come in the same order."""
    for part, role in ((vae.posterior, "encoder."), (vae.decoder, "decoder.")):
        values = [value for name, value in weights.items() if name.startswith(role)]
        for parameter, value in zip(part.parameters(), values, strict=True):
            assign(parameter, value)
    if "pseudo_inputs" in weights:
        (parameter,) = vae.prior.parameters()
        assign(parameter, weights["pseudo_inputs"])


def assign(parameter: torch.Tensor, value: Any) -> None:
    """The parameter becomes the value, which has its shape."""
    if parameter.shape != value.shape:
        raise ValueError(f"{tuple(parameter.shape)} is not {value.shape}")
    parameter.copy_(torch.from_numpy(value))
