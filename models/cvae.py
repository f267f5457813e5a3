"""Conditional autoencoder: p(z) p(x | z, y) and q(z | x, y), for data with classes y.

    python -m pyrovae.train cvae svi --data digits

Prior and guide have nothing to say of the class, so the latent is what is left once it is known,
such as the slant of a digit. In Python, ``load("runs/...").sample(10, y=torch.arange(10))`` draws
one observation of each class.

Sohn, Lee and Yan (2015), Learning Structured Output Representation using Deep Conditional
Generative Models, NeurIPS.
"""

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.nn.functional import softplus

binarisation = "dynamic"


class CVAE(nn.Module):
    """Both programs, and their networks of one hidden layer."""

    def __init__(self, classes=10, latent_dim=8, pixels=64, width=200):
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("classes", torch.eye(classes), persistent=False)
        self.encoder = nn.Sequential(
            nn.Linear(pixels + classes, width), nn.ReLU(), nn.Linear(width, 2 * latent_dim)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim + classes, width), nn.ReLU(), nn.Linear(width, pixels)
        )

    def model(self, x, y):
        """p(z) p(x | z, y)."""
        pyro.module("cvae", self)
        with pyro.plate("data", len(x)):
            zeros = x.new_zeros(self.latent_dim)
            z = pyro.sample("z", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
            logits = self.decoder(torch.cat([z, self.classes[y]], -1))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x.flatten(1))

    def guide(self, x, y):
        """q(z | x, y)."""
        pyro.module("cvae", self)
        with pyro.plate("data", len(x)):
            features = torch.cat([x.flatten(1), self.classes[y]], -1)
            loc, scale = self.encoder(features).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, softplus(scale) + 1e-5).to_event(1))
