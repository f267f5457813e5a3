"""Deep Markov model of sequences of unequal length, such as music.

    python -m pyrovae.train dmm svi --data chorales.npz --set inference.batch_size=20

The file holds sequences of bits ``x``, ``(sequences, steps, keys)``, and ``lengths``; what stands
in ``x`` beyond the length of a sequence has no effect.

    p(z_t | z_{t-1}) p(x_t | z_t),  q(z_t | z_{t-1}, x_t, ..., x_T)

The latents are a Markov chain with a gated transition. The guide reads what is left of the
sequence with a recurrent network, which ``--set program.recurrent=false`` leaves out:
q(z_t | z_{t-1}, x_t).

Krishnan, Shalit and Sontag (2017), Structured Inference Networks for Nonlinear State Space Models,
arXiv:1609.09869.
"""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import nn
from torch.nn.functional import softplus


class DMM(nn.Module):
    """Both programs, and their networks."""

    def __init__(self, keys=88, latent_dim=32, width=64, hidden=128, recurrent=True):
        super().__init__()
        self.start = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(latent_dim)) for name in ("model", "guide")}
        )
        self.gate = layers(latent_dim, width, latent_dim, nn.Sigmoid())
        self.proposal = layers(latent_dim, width, latent_dim)
        self.linear = nn.Linear(latent_dim, latent_dim)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.noise = nn.Linear(latent_dim, latent_dim)
        self.emission = layers(latent_dim, width, keys)
        self.reader = nn.RNN(keys, hidden, batch_first=True) if recurrent else None
        self.features = nn.Linear(keys, hidden)
        self.from_latent = nn.Linear(latent_dim, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent_dim)

    def model(self, x, lengths):
        """p(z_1) p(z_2 | z_1) ... p(x_1 | z_1) p(x_2 | z_2) ..., as far as each sequence goes."""
        pyro.module("dmm", self)
        x, path = x.squeeze(1), []
        steps = torch.arange(x.shape[1], device=x.device)
        with pyro.plate("data", len(x)):
            z = self.start["model"].expand(len(x), -1)
            for t in range(len(steps)):
                with poutine.mask(mask=t < lengths):
                    z = pyro.sample(f"z_{t + 1}", self.transition(z))
                path.append(z)
            keys = dist.Bernoulli(logits=self.emission(torch.stack(path, -2)))
            played = keys.mask((steps < lengths[:, None])[..., None]).to_event(2)
            pyro.sample("x", played, obs=x)

    def guide(self, x, lengths):
        """q(z_t | z_{t-1}, x_t, ..., x_T)."""
        pyro.module("dmm", self)
        x = x.squeeze(1)
        seen = self.features(x).relu()
        if self.reader is not None:
            seen = seen + self.read(x, lengths)
        with pyro.plate("data", len(x)):
            z = self.start["guide"].expand(len(x), -1)
            for t in range(x.shape[1]):
                both = (self.from_latent(z).tanh() + seen[:, t]) / 2
                loc, scale = self.posterior(both).chunk(2, -1)
                with poutine.mask(mask=t < lengths):
                    q = dist.Normal(loc, softplus(scale) + 1e-5).to_event(1)
                    z = pyro.sample(f"z_{t + 1}", q)

    def transition(self, z):
        """p(z_t | z_{t-1}), between a linear and a nonlinear map by a gate."""
        gate, proposal = self.gate(z), self.proposal(z)
        loc = (1 - gate) * self.linear(z) + gate * proposal
        return dist.Normal(loc, softplus(self.noise(proposal.relu())) + 1e-5).to_event(1)

    def read(self, x, lengths):
        """States of the network that reads each sequence from its end to its beginning."""
        last_first = lengths[:, None] - 1 - torch.arange(x.shape[1], device=x.device)
        rows = torch.arange(len(x), device=x.device)[:, None]
        order = last_first.clamp(min=0)
        states, _ = self.reader(x[rows, order])
        return states[rows, order]


def layers(inputs, width, outputs, *last):
    """A network of one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs), *last)
