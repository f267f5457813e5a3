"""A VAE with a binomial likelihood, written by hand: two Pyro programs and two networks.

    python -m pyrovae.train handwritten svi

Any Python file with ``model(x)`` and ``guide(x)`` trains like this one. Networks at the top level
are found by name; ``binarisation`` may set the binarisation of the data.
"""

import pyro
import pyro.distributions as dist
from torch import nn
from torch.nn.functional import softplus

LATENT_DIM = 8
PIXELS = 64
LEVELS = 16

binarisation = "none"

decoder = nn.Sequential(
    nn.Linear(LATENT_DIM, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, PIXELS)
)
encoder = nn.Sequential(
    nn.Flatten(), nn.Linear(PIXELS, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU()
)
loc = nn.Linear(200, LATENT_DIM)
scale = nn.Linear(200, LATENT_DIM)


def model(x):
    """p(z) p(x | z): a standard normal latent, and grey levels that are counts."""
    pyro.module("decoder", decoder)
    with pyro.plate("data", len(x)):
        standard = dist.Normal(x.new_zeros(LATENT_DIM), x.new_ones(LATENT_DIM)).to_event(1)
        z = pyro.sample("z", standard)
        logits = decoder(z).reshape(x.shape)
        pyro.sample("x", dist.Binomial(x.new_full((), LEVELS), logits=logits).to_event(3), obs=x)


def guide(x):
    """q(z | x): a normal whose loc and scale the encoder gives."""
    for name, network in (("encoder", encoder), ("loc", loc), ("scale", scale)):
        pyro.module(name, network)
    with pyro.plate("data", len(x)):
        features = encoder(x / LEVELS)
        pyro.sample("z", dist.Normal(loc(features), softplus(scale(features)) + 1e-5).to_event(1))
