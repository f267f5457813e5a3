"""Columns of four kinds, some unknown: p(z) p(x | z) p(bits | z) p(kind | z) p(counts | z).

Nazabal et al. (2020), Handling Incomplete Heterogeneous Data using VAEs, arXiv:1807.03653.
"""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import nn
from torch.nn.functional import softplus


class Columns(nn.Module):
    """Both programs, and their networks of one hidden layer."""

    def __init__(self, real=10, bits=5, kinds=4, counts=3, latent_dim=5, width=100):
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("kinds", torch.eye(kinds), persistent=False)
        inputs = real + bits + kinds + counts
        self.encoder = layers(inputs, width, 2 * latent_dim)
        self.hidden = nn.Sequential(nn.Linear(latent_dim, width), nn.ReLU())
        self.real = nn.Linear(width, 2 * real)
        self.bits = nn.Linear(width, bits)
        self.kind = nn.Linear(width, kinds)
        self.counts = nn.Linear(width, counts)

    def model(self, x, bits, kind, counts, x_known, bits_known, kind_known, counts_known):
        """p(z) and a site for each kind of column, where it is known."""
        pyro.module("columns", self)
        with pyro.plate("data", len(x)):
            zeros = x.new_zeros(self.latent_dim)
            z = pyro.sample("z", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
            hidden = self.hidden(z)
            loc, scale = self.real(hidden).chunk(2, -1)
            real = dist.Normal(loc, softplus(scale) + 1e-3).mask(x_known)
            pyro.sample("x", real.to_event(1), obs=x)
            bit = dist.Bernoulli(logits=self.bits(hidden)).mask(bits_known)
            pyro.sample("bits", bit.to_event(1), obs=bits.float())
            with poutine.mask(mask=kind_known):
                pyro.sample("kind", dist.Categorical(logits=self.kind(hidden)), obs=kind)
            count = dist.Poisson(softplus(self.counts(hidden)) + 1e-3).mask(counts_known)
            pyro.sample("counts", count.to_event(1), obs=counts.float())

    def guide(self, x, bits, kind, counts, x_known, bits_known, kind_known, counts_known):
        """q(z | all columns), with zeros in place of what is not known."""
        pyro.module("columns", self)
        columns = [
            x * x_known,
            bits * bits_known,
            self.kinds[kind] * kind_known[:, None],
            torch.log1p(counts.float()) * counts_known,
        ]
        loc, scale = self.encoder(torch.cat(columns, -1)).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, softplus(scale) + 1e-5).to_event(1))


def layers(inputs, width, outputs):
    """A network of one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))
