"""Topic model ProdLDA: a document is drawn from a product of topics.

    python -m pyrovae.train prodlda svi --data counts.npy --set program.words=10473

The data are a table of counts, how often each word of a vocabulary stands in each document.

    p(z) p(x | softmax(z)),  q(z | x)

The prior is the normal distribution nearest to a symmetric Dirichlet distribution of the topics'
shares. Batch normalisation and dropout keep all topics in use.

Srivastava and Sutton (2017), Autoencoding Variational Inference for Topic Models,
arXiv:1703.01488.
"""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from pyrovae.parts.likelihoods.multinomial import CountsGivenTotal


class ProdLDA(nn.Module):
    """Both programs, and their networks."""

    def __init__(self, words, topics=50, concentration=1.0, width=100, dropout=0.2):
        super().__init__()
        self.topics = topics
        self.prior_scale = ((1 - 1 / topics) / concentration) ** 0.5
        self.encoder = nn.Sequential(
            nn.Linear(words, width),
            nn.Softplus(),
            nn.Linear(width, width),
            nn.Softplus(),
            nn.Dropout(dropout),
        )
        self.loc = normalised(width, topics)
        self.log_variance = normalised(width, topics)
        self.shares = nn.Sequential(nn.Softmax(-1), nn.Dropout(dropout))
        self.decoder = normalised(topics, words)
        self.frequency = nn.Parameter(torch.zeros(words))

    def model(self, x):
        """p(z) p(x | z), the words of a document given how many there are."""
        pyro.module("prodlda", self)
        with pyro.plate("data", len(x)):
            zeros = x.new_zeros(self.topics)
            scale = torch.full_like(zeros, self.prior_scale)
            z = pyro.sample("z", dist.Normal(zeros, scale).to_event(1))
            logits = self.decoder(self.shares(z)) + self.frequency
            pyro.sample("x", CountsGivenTotal(100, logits), obs=x)

    def guide(self, x):
        """q(z | x)."""
        pyro.module("prodlda", self)
        features = self.encoder(x)
        with pyro.plate("data", len(x)):
            q = dist.Normal(self.loc(features), (self.log_variance(features) / 2).exp())
            pyro.sample("z", q.to_event(1))


def normalised(inputs, outputs):
    """A linear map whose outputs have mean zero and variance one over the batch."""
    return nn.Sequential(
        nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs, affine=False)
    )
