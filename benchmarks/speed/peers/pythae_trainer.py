"""Pythae's ``BaseTrainer`` on the same networks."""

from __future__ import annotations

import logging
import tempfile
from typing import Any, NoReturn

import torch
from clock import Clock
from networks import build
from noise import fixed_in_torch, standard_normals
from problems import LEARNING_RATE, Problem
from pythae.data.datasets import BaseDataset
from pythae.models import IWAE, VAE, VAMP, IWAEConfig, VAEConfig, VAMPConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn
from weights import Weights


class Encoder(BaseEncoder):
    """Loc and log-variance, as Pythae wants them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> ModelOutput:
        loc, scale = self.network(x)
        return ModelOutput(embedding=loc, log_covariance=2 * scale.log())


class Decoder(BaseDecoder):
    """Probabilities, as Pythae wants them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z).sigmoid())


class Pythae:
    """The training loop of the library, checkpoints and progress bar off."""

    def __init__(self, problem: Problem, data: Any, weights: Weights, device: str) -> None:
        del device  # timed on the CPU alone
        logging.disable(logging.INFO)
        self.problem, self.data = problem, torch.from_numpy(data)
        encoder, decoder, pseudo_inputs = build(problem, weights)
        self.model = make(problem, Encoder(encoder), Decoder(decoder))
        if pseudo_inputs is not None:
            # Its own are a linear layer of the identity matrix: more work than a parameter.
            self.model.pseudo_inputs = pseudo_inputs

    def loss(self, x: Any) -> float:
        batch = torch.from_numpy(x).float()
        self.model.train()
        with torch.no_grad():
            if self.problem.bound == "weighted":
                return weighted_bound(self.model, batch, self.problem)
            with fixed_in_torch(self.problem):
                return self.model({"data": batch}).loss.item()

    def train(self, clock: Clock) -> NoReturn:
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=1_000_000,
                per_device_train_batch_size=self.problem.batch,
                learning_rate=LEARNING_RATE,
                no_cuda=True,
            )
            dataset = BaseDataset(self.data, torch.zeros(len(self.data)))
            BaseTrainer(self.model, dataset, None, config, [Blocks(clock)]).train()
        raise AssertionError


class Blocks(TrainingCallback):
    """Tells the clock how far a training is."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.step = 0

    def on_train_step_end(self, training_config: BaseTrainerConfig, **_: Any) -> None:
        self.step += 1
        self.clock.reached(self.step)


def make(problem: Problem, encoder: Encoder, decoder: Decoder) -> Any:
    """The model of the library that has the bound of the problem."""
    options = {
        "input_dim": problem.shape,
        "latent_dim": problem.latent_dim,
        "reconstruction_loss": "bce",
    }
    match problem.bound:
        case "exact":
            return VAE(VAEConfig(**options), encoder, decoder)
        case "sampled":
            config = VAMPConfig(number_components=problem.pseudo_inputs, **options)
            return VAMP(config, encoder, decoder)
        case "weighted":
            config = IWAEConfig(number_samples=problem.particles, **options)
            return IWAE(config, encoder, decoder)


def weighted_bound(model: IWAE, x: Tensor, problem: Problem) -> float:
    """The bound from the log-weights of each particle and datum.

    What Pythae calls the loss of its IWAE has the gradient of the bound, but another value. For
    one particle of one datum it is minus the log-weight.
    """
    noise = torch.from_numpy(standard_normals(problem))
    log_weights = torch.empty(noise.shape[:2])
    model.n_samples = 1
    for particle, datum in torch.cartesian_prod(*map(torch.arange, log_weights.shape)):
        model._sample_gauss = lambda loc, scale, drawn=noise[particle, datum]: (
            loc + drawn * scale, drawn
        )  # fmt: skip
        output = model({"data": x[datum : datum + 1]})
        log_weights[particle, datum] = -output.loss
    del model._sample_gauss
    model.n_samples = problem.particles
    bound = log_weights.logsumexp(0) - torch.tensor(float(problem.particles)).log()
    return -bound.mean().item()
