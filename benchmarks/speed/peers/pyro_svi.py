"""Stock Pyro, written by its tutorial on variational autoencoders."""

from __future__ import annotations

from typing import Any, NoReturn

import pyro
import pyro.distributions as dist
import torch
from batches import indices
from clock import Clock
from networks import build
from noise import fixed_in_torch
from problems import LEARNING_RATE, Problem
from pyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor
from weights import Weights


class StockPyro:
    """``SVI.step`` on a model and a guide, validation on as Pyro has it."""

    def __init__(self, problem: Problem, data: Any, weights: Weights, device: str) -> None:
        self.problem, self.device = problem, device
        self.data = torch.from_numpy(data).to(device)
        self.encoder, self.decoder, self.pseudo_inputs = (
            part if part is None else part.to(device) for part in build(problem, weights)
        )
        pyro.clear_param_store()
        optimiser = pyro.optim.Adam({"lr": LEARNING_RATE})
        self.svi = SVI(self.model, self.guide, optimiser, loss=self.elbo())

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(x))
            logits = self.decoder(z)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(x.ndim - 1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            loc, scale = self.encoder(x)
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    def prior(self, x: Tensor) -> Any:
        if self.pseudo_inputs is None:
            zeros = x.new_zeros(len(x), self.problem.latent_dim)
            return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)
        pyro.module("encoder", self.encoder)
        pyro.module("pseudo_inputs", self.pseudo_inputs)
        loc, scale = self.encoder(self.pseudo_inputs())
        weights = dist.Categorical(logits=x.new_zeros(len(loc)))
        return dist.MixtureSameFamily(weights, dist.Normal(loc, scale).to_event(1))

    def elbo(self) -> Any:
        if self.problem.bound == "exact":
            return TraceMeanField_ELBO()
        if self.problem.bound == "sampled":
            return Trace_ELBO()
        particles = self.problem.particles
        return RenyiELBO(alpha=0, num_particles=particles, vectorize_particles=True)

    def loss(self, x: Any) -> float:
        batch = torch.from_numpy(x).to(self.device).float()
        with torch.no_grad(), fixed_in_torch(self.problem):
            return self.svi.evaluate_loss(batch) / len(x)

    def train(self, clock: Clock) -> NoReturn:
        for step, index in enumerate(indices(self.problem, self.device), start=1):
            self.svi.step(self.data[index].float())
            clock.reached(step)
        raise AssertionError
