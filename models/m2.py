"""Semi-supervised model M2: a class y and a latent z, with labels for some observations.

    python -m pyrovae.train m2 enumerated --data digits.npz

The file holds images ``x``, classes ``y``, and ``y_known``, true where a class is given; what
stands in ``y`` elsewhere has no effect.

    p(y) p(z) p(x | y, z),  q(y | x) q(z | x, y)

Where the class is known the guide is certain of it, and the bound is that of log p(x, y).
Elsewhere the class is summed out. ``--set program.label_weight=46`` adds 46 log q(y | x) to the
bound of each observation with a label; without it only those without one teach the classifier.

Kingma, Rezende, Mohamed and Welling (2014), Semi-supervised Learning with Deep Generative Models,
arXiv:1406.5298.
"""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import nn
from torch.nn.functional import softplus

binarisation = "dynamic"


class M2(nn.Module):
    """Both programs, and their networks of one hidden layer."""

    def __init__(self, classes=10, latent_dim=50, pixels=784, width=500, label_weight=0.0):
        super().__init__()
        self.latent_dim = latent_dim
        self.label_weight = label_weight
        self.register_buffer("classes", torch.eye(classes), persistent=False)

        def network(inputs, outputs):
            return nn.Sequential(
                nn.Linear(inputs, width), nn.Softplus(), nn.Linear(width, outputs)
            )

        self.classifier = network(pixels, classes)
        self.encoder = network(pixels + classes, 2 * latent_dim)
        self.decoder = network(latent_dim + classes, pixels)

    def model(self, x, y, y_known):
        """p(y) p(z) p(x | y, z), and the weighted log q(y | x) of known classes."""
        pyro.module("m2", self)
        with pyro.plate("data", len(x)):
            k = pyro.sample("y", dist.Categorical(logits=x.new_zeros(len(self.classes))))
            zeros = x.new_zeros(self.latent_dim)
            z = pyro.sample("z", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
            pixels = dist.Bernoulli(logits=self.decoder(self.beside(z, k))).to_event(1)
            pyro.sample("x", pixels, obs=x.flatten(1))
            if self.label_weight:
                label = dist.Categorical(logits=self.classifier(x.flatten(1)))
                with poutine.mask(mask=y_known), poutine.scale(scale=self.label_weight):
                    pyro.sample("label", label, obs=y)

    def guide(self, x, y, y_known):
        """q(y | x), certain of a class that is known, and q(z | x, y)."""
        pyro.module("m2", self)
        pixels = x.flatten(1)
        certain = self.classes[y].log()
        with pyro.plate("data", len(x)):
            logits = torch.where(y_known[:, None], certain, self.classifier(pixels))
            k = pyro.sample("y", dist.Categorical(logits=logits))
            loc, scale = self.encoder(self.beside(pixels, k)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, softplus(scale) + 1e-5).to_event(1))

    def beside(self, values, k):
        """Values and a class, which may be all classes in a dimension further left."""
        classes = self.classes[k]
        shape = torch.broadcast_shapes(values.shape[:-1], classes.shape[:-1])
        return torch.cat([values.expand(*shape, -1), classes.expand(*shape, -1)], -1)
