"""A linear-Gaussian state space over sequences of unequal length, with its exact smoother."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from pyrovae.data import Batch, from_arrays
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.simulation import simulate
from pyrovae.objectives import Objective
from pyrovae.objectives.elbo import SampledELBO
from pyrovae.objectives.renyi import RenyiBound
from pyrovae.programs.handwritten import Handwritten

N, STEPS, A, NOISE = 20, 4, 0.8, 0.5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, STEPS))
LENGTHS = RNG.integers(1, STEPS + 1, N)

# z_t = a z_{t-1} + noise, x_t = z_t + noise. The guide draws z_t given the z before it, from the
# Cholesky factor L of the posterior's covariance: z = m + L e with standard normal e.
PROGRAM = """\
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import nn

a = nn.Parameter(torch.tensor(0.8).double())


def model(x, lengths):
    slope = pyro.param("a", a)
    with pyro.plate("data", len(x)):
        z = x.new_zeros(len(x)).to(slope)
        for t in range(x.shape[1]):
            with poutine.mask(mask=t < lengths):
                z = pyro.sample(f"z_{t + 1}", dist.Normal(slope * z, 1.0))
                pyro.sample(f"x_{t + 1}", dist.Normal(z, 0.5), obs=x[:, t])


def guide(x, lengths):
    slope = pyro.param("a", a)
    steps = x.shape[1]
    shown = (torch.arange(steps) < lengths[:, None]).to(slope)
    step = torch.eye(steps).to(slope) - slope * torch.diag(torch.ones(steps - 1).to(slope), -1)
    precision = step.T @ step + torch.diag_embed(shown) / 0.25
    covariance = torch.linalg.inv(precision)
    m = (covariance @ torch.where(shown > 0, x.to(slope), 0.0)[..., None] / 0.25)[..., 0]
    factor = torch.linalg.cholesky(covariance)
    drawn = []
    with pyro.plate("data", len(x)):
        for t in range(steps):
            loc = m[:, t] + sum(factor[:, t, s] * drawn[s] for s in range(t))
            with poutine.mask(mask=t < lengths):
                z = pyro.sample(f"z_{t + 1}", dist.Normal(loc, factor[:, t, t]))
            drawn.append((z - loc) / factor[:, t, t])
"""


def state_space(path: Path, x: np.ndarray, lengths: np.ndarray) -> tuple[Handwritten, Batch]:
    (path / "sequence.py").write_text(PROGRAM, encoding="utf-8")
    data = from_arrays(x, variables={"lengths": lengths})
    program = Handwritten(path / "sequence.py", data)
    seen = program.contract.apply(data).train
    batch = seen.batch(torch.arange(len(seen)))
    return program, batch.with_x(batch.x.double())


def evidence(batch: Batch) -> Tensor:
    """Log p(x_1, ..., x_T) of each sequence, T its own length."""
    return torch.stack(
        [
            MultivariateNormal(x.new_zeros(int(t)), covariance(int(t))).log_prob(x[: int(t)])
            for x, t in zip(batch.x, batch.others["lengths"], strict=True)
        ]
    )


def covariance(steps: int) -> Tensor:
    """Covariance of the observations."""
    step = torch.eye(steps).double() - A * torch.diag(torch.ones(steps - 1).double(), -1)
    return torch.linalg.inv(step.T @ step) + NOISE**2 * torch.eye(steps)


@pytest.mark.parametrize("objective", [SampledELBO(), RenyiBound(3)])
def test_every_bound_of_the_smoother_is_the_evidence(tmp_path: Path, objective: Objective) -> None:
    program, batch = state_space(tmp_path, X, LENGTHS)
    loss, terms = objective.loss_and_terms(program, batch)
    assert abs(loss + evidence(batch).mean()) < 1e-8
    assert set(terms.kl) == {"z"}  # the sites of a chain are reported as one
    drawn = LocalPosterior(program, batch).draw(3)
    torch.testing.assert_close(drawn.log_weight, evidence(batch).expand(3, -1))


def test_the_latents_beyond_the_end_of_a_sequence_are_told_apart(tmp_path: Path) -> None:
    program, batch = state_space(tmp_path, X, LENGTHS)
    within = torch.arange(STEPS) < batch.others["lengths"][:, None]
    assert torch.equal(LocalPosterior(program, batch).present, within)


def test_simulated_sequences_keep_their_padding(tmp_path: Path) -> None:
    program, batch = state_space(tmp_path, X, LENGTHS)
    within = torch.arange(STEPS) < batch.others["lengths"][:, None]
    drawn = simulate(program, batch)
    assert torch.equal(drawn.x[~within], batch.x[~within])
    assert not torch.isclose(drawn.x[within], batch.x[within]).any()


def test_padding_changes_no_bit(tmp_path: Path) -> None:
    beyond = np.arange(STEPS) >= LENGTHS[:, None]
    found = []
    for padding in (0.0, 1e6):
        program, batch = state_space(tmp_path, np.where(beyond, padding, X), LENGTHS)
        torch.manual_seed(0)
        loss, terms = SampledELBO().loss_and_terms(program, batch)
        found.append([loss, terms.elbo, *torch.autograd.grad(loss, list(program.parameters()))])
    assert all(map(torch.equal, *found))


def test_longer_padding_changes_no_number(tmp_path: Path) -> None:
    program, batch = state_space(tmp_path, X, LENGTHS)
    wider = np.concatenate([X, RNG.normal(size=(N, 2))], axis=1)
    longer, padded = state_space(tmp_path, wider, LENGTHS)
    values = [
        LocalPosterior(autoencoder, data).draw(1).log_weight
        for autoencoder, data in ((program, batch), (longer, padded))
    ]
    torch.testing.assert_close(*values)


def test_a_sequence_of_one_step_is_an_autoencoder(tmp_path: Path) -> None:
    program, batch = state_space(tmp_path, X[:, :1], np.ones(N, int))
    expected = MultivariateNormal(torch.zeros(1).double(), covariance(1)).log_prob(batch.x)
    loss, _ = SampledELBO().loss_and_terms(program, batch)
    torch.testing.assert_close(-loss, expected.mean())
