"""Hand-written PyTorch, by no more than it takes: eager, compiled, and as one CUDA graph."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import torch
import torch.nn.functional as F  # noqa: N812
from batches import indices
from clock import Clock
from networks import build
from noise import fixed_in_torch
from problems import LEARNING_RATE, Problem
from torch import Tensor, nn
from torch.optim import Adam
from weights import Weights


class Loss(nn.Module):
    """From a batch of data to the loss in nats per datum."""

    def __init__(self, problem: Problem, weights: Weights) -> None:
        super().__init__()
        self.encoder, self.decoder, self.prior = build(problem, weights)
        self.forward = {
            "exact": self.exact, "sampled": self.sampled, "weighted": self.weighted
        }[problem.bound]  # fmt: skip
        self.particles = problem.particles

    def exact(self, x: Tensor) -> Tensor:
        """The ELBO under a standard normal prior, its KL in closed form."""
        loc, scale = self.encoder(x)
        z = loc + scale * torch.randn_like(scale)
        kl = 0.5 * (loc.square() + scale.square() - 1).sum() - scale.log().sum()
        nll = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        return (nll + kl) / len(x)

    def sampled(self, x: Tensor) -> Tensor:
        """The ELBO under a VampPrior, its KL sampled."""
        loc, scale = self.encoder(x)
        noise = torch.randn_like(scale)
        z = loc + scale * noise
        log_q = -0.5 * noise.square().sum() - scale.log().sum()
        nll = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        return (nll + log_q - self.log_vamp(z).sum()) / len(x)

    def log_vamp(self, z: Tensor) -> Tensor:
        """Log p(z), but for the log 2 pi that it shares with log q(z | x)."""
        loc, scale = self.encoder(self.prior())
        standardised = (z.unsqueeze(1) - loc) / scale
        each = -0.5 * standardised.square().sum(-1) - scale.log().sum(-1)
        return each.logsumexp(1) - math.log(len(loc))

    def weighted(self, x: Tensor) -> Tensor:
        """The importance-weighted bound of several particles."""
        loc, scale = self.encoder(x)
        noise = torch.randn(self.particles, *loc.shape, device=x.device)
        z = loc + scale * noise
        log_q = -(0.5 * noise.square() + scale.log()).sum(-1)
        log_p = -0.5 * z.square().sum(-1)
        logits = self.decoder(z)
        nll = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
        log_weights = log_p - nll.sum(-1) - log_q
        return math.log(self.particles) - log_weights.logsumexp(0).mean()


class Eager:
    """The loop of every tutorial, with a fused Adam."""

    def __init__(self, problem: Problem, data: Any, weights: Weights, device: str) -> None:
        self.problem, self.device = problem, device
        self.data = torch.from_numpy(data).to(device)
        self.module = Loss(problem, weights).to(device)

    def loss(self, x: Any) -> float:
        with torch.no_grad(), fixed_in_torch(self.problem):
            return self.module(torch.from_numpy(x).to(self.device).float()).item()

    def train(self, clock: Clock) -> NoReturn:
        optimiser = Adam(self.module.parameters(), lr=LEARNING_RATE, fused=True)
        module = self.prepared()
        for step, index in enumerate(indices(self.problem, self.device), start=1):
            x = self.data[index].float()
            optimiser.zero_grad()
            module(x).backward()
            optimiser.step()
            clock.reached(step)
        raise AssertionError

    def prepared(self) -> nn.Module:
        """The module as the loop calls it."""
        return self.module


class Compiled(Eager):
    """The same loop, the module of the loss compiled."""

    def prepared(self) -> nn.Module:
        return torch.compile(self.module)


class Graphed(Eager):
    """The whole step, gather and Adam included, as one CUDA graph."""

    def train(self, clock: Clock) -> NoReturn:
        index = torch.zeros(self.problem.batch, dtype=torch.int64, device=self.device)
        optimiser = Adam(self.module.parameters(), lr=LEARNING_RATE, fused=True, capturable=True)

        def step() -> None:
            optimiser.zero_grad()
            self.module(self.data[index].float()).backward()
            optimiser.step()

        graph = captured(step)
        for count, chosen in enumerate(indices(self.problem, self.device), start=1):
            index.copy_(chosen)
            graph.replay()
            clock.reached(count)
        raise AssertionError


def captured(step: Any) -> torch.cuda.CUDAGraph:
    """A graph of a step, run a few times before on a stream of its own, as PyTorch asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph
