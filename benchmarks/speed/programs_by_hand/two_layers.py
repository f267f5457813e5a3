"""Two latent layers, p(z2) p(z1 | z2) p(x | z1), and a guide in the same order.

Sonderby et al. (2016), Ladder Variational Autoencoders, arXiv:1602.02282, has the model; the
guide is q(z2 | x) q(z1 | z2, x).
"""

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.nn.functional import softplus

binarisation = "dynamic"


class TwoLayers(nn.Module):
    """Both programs, and their networks of one or two hidden layers."""

    def __init__(self, pixels=784, width=400, first=32, second=16):
        super().__init__()
        self.second = second
        self.features = nn.Sequential(nn.Linear(pixels, width), nn.ReLU())
        self.posterior = nn.ModuleList(
            [layers(width, 2 * second), layers(width + second, 2 * first)]
        )
        self.prior = layers(second, 2 * first)
        self.decoder = layers(first, pixels, width)

    def model(self, x):
        """p(z2) p(z1 | z2) p(x | z1)."""
        pyro.module("two_layers", self)
        with pyro.plate("data", len(x)):
            zeros = x.new_zeros(self.second)
            z2 = pyro.sample("z2", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
            z1 = pyro.sample("z1", normal(self.prior(z2)))
            pixels = dist.Bernoulli(logits=self.decoder(z1)).to_event(1)
            pyro.sample("x", pixels, obs=x.flatten(1))

    def guide(self, x):
        """q(z2 | x) q(z1 | z2, x)."""
        pyro.module("two_layers", self)
        features = self.features(x.flatten(1))
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", normal(self.of_second(features)))
            both = torch.cat([features.expand(*z2.shape[:-1], -1), z2], -1)
            pyro.sample("z1", normal(self.of_first(both)))


def normal(outputs):
    """A diagonal normal distribution from the outputs of a network."""
    loc, scale = outputs.chunk(2, -1)
    return dist.Normal(loc, softplus(scale) + 1e-5).to_event(1)


def layers(inputs, outputs, width=100):
    """A network of one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))
