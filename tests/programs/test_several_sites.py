"""Programs with sites of several kinds, whose exact answer is known: weights, draws and means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor
from torch.distributions import MultivariateNormal

from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch, from_arrays
from pyrovae.diagnosis.predictive import check_predictive
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.reconstruction import reconstruct
from pyrovae.evaluation.simulation import simulate
from pyrovae.programs.autoencoder import means
from pyrovae.programs.handwritten import Handwritten

N = 40
HEAD = """\
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import nn

"""

# A class of which real numbers, a bit, a kind and a count depend; the guide is its posterior.
FOUR = """\
loc = nn.Parameter(torch.tensor([[0.0, 1.0], [2.0, -1.0], [4.0, 0.5]]).double())
logit = nn.Parameter(torch.tensor([-1.0, 0.5, 2.0]).double())
kinds = nn.Parameter(torch.tensor([[2.0, 0, 0, 0], [0, 0, 3.0, 0], [0, 1.0, 0, 1.5]]).double())
rate = nn.Parameter(torch.tensor([0.5, 2.0, 5.0]).double())


def sites(k):
    return {
        "x": dist.Normal(pyro.param("loc", loc)[k], 0.5).to_event(1),
        "bit": dist.Bernoulli(logits=pyro.param("logit", logit)[k]),
        "kind": dist.Categorical(logits=pyro.param("kinds", kinds)[k]),
        "count": dist.Poisson(pyro.param("rate", rate)[k]),
    }


def seen(x, bit, kind, count):
    return {"x": x.double(), "bit": bit.double(), "kind": kind, "count": count.double()}


def model(x, bit, kind, count, x_known, bit_known, kind_known, count_known):
    known = {"x": x_known, "bit": bit_known, "kind": kind_known, "count": count_known}
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(logits=torch.zeros(3).double()))
        for (name, fn), value in zip(sites(k).items(), seen(x, bit, kind, count).values()):
            with poutine.mask(mask=known[name]):
                pyro.sample(name, fn, obs=value)


def guide(x, bit, kind, count, x_known, bit_known, kind_known, count_known):
    known = {"x": x_known, "bit": bit_known, "kind": kind_known, "count": count_known}
    with pyro.plate("data", len(x)):
        values = seen(x, bit, kind, count)
        logits = sum(
            torch.where(known[name][:, None], fn.log_prob(values[name].unsqueeze(1)), 0.0)
            for name, fn in sites(torch.arange(3)).items()
        )
        pyro.sample("k", dist.Categorical(logits=logits))
"""

# A rate, a probability and a direction, each with a conjugate prior.
CONJUGATE = """\
one = nn.Parameter(torch.ones(()).double())


def model(x):
    ones = pyro.param("one", one).expand(len(x))
    with pyro.plate("data", len(x)):
        rate = pyro.sample("rate", dist.Gamma(2.0 * ones, 1.0))
        share = pyro.sample("share", dist.Beta(2.0 * ones, 3.0 * ones))
        angle = pyro.sample("angle", dist.VonMises(0.0 * ones, 1.5 * ones))
        pyro.sample("count", dist.Poisson(rate), obs=x[..., 0])
        pyro.sample("bit", dist.Bernoulli(share), obs=x[..., 1])
        pyro.sample("turn", dist.VonMises(angle, 2.0), obs=x[..., 2])


def guide(x):
    pyro.param("one", one)
    count, bit, turn = x.double().unbind(-1)
    together = torch.complex(1.5 + 2 * turn.cos(), 2 * turn.sin())
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.Gamma(2.0 + count, 2.0))
        pyro.sample("share", dist.Beta(2.0 + bit, 4.0 - bit))
        pyro.sample("angle", dist.VonMises(together.angle(), together.abs()))
"""

# Measurements repeated in a plate of their own; the data are in the last dimension.
REPEATED = """\
one = nn.Parameter(torch.ones(()).double())


def model(x):
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(0.0 * pyro.param("one", one), 1.0))
        with pyro.plate("repeats", x.shape[1], dim=-2):
            u = pyro.sample("u", dist.Normal(z, 0.5))
            pyro.sample("x", dist.Normal(u, 1.0), obs=x.T)


def guide(x):
    repeats, noise = x.shape[1], 1.25
    scale = (1 / (1 + repeats / noise)) ** 0.5 * pyro.param("one", one)
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(scale**2 * x.double().sum(-1) / noise, scale))
        with pyro.plate("repeats", repeats, dim=-2):
            pyro.sample("u", dist.Normal(0.8 * z + 0.2 * x.T.double(), 0.2**0.5 * one))
"""


def made(
    folder: Path, program: str, x: np.ndarray, **variables: np.ndarray
) -> tuple[Handwritten, Batch]:
    path = folder / "program.py"
    path.write_text(HEAD + program, encoding="utf-8")
    data = from_arrays(x, variables=variables)
    handwritten = Handwritten(path, data)
    train = handwritten.contract.apply(data).train
    return handwritten, train.batch(torch.arange(len(train)))


@pytest.fixture
def four(tmp_path: Path) -> tuple[Handwritten, Batch]:
    rng = np.random.default_rng(0)
    known = rng.random((4, N)) < 0.7
    names = ("x", "bit", "kind", "count")
    return made(
        tmp_path,
        FOUR,
        rng.normal(2, 2, (N, 2)),
        bit=rng.integers(0, 2, N),
        kind=rng.integers(0, 4, N),
        count=rng.poisson(2, N),
        **{f"{name}_known": row for name, row in zip(names, known, strict=True)},
    )


def test_four_sites_each_masked_for_some_are_a_mixture(four: tuple[Handwritten, Batch]) -> None:
    program, batch = four
    own = dict(program.named_parameters())
    loc, logit, kinds, rate = (
        own[name].detach().numpy() for name in ("loc", "logit", "kinds", "rate")
    )
    v = {name: tensor.numpy() for name, tensor in batch.variables.items()}
    densities = {
        "x": stats.norm.logpdf(v["x"][:, None], loc, 0.5).sum(-1),
        "bit": stats.bernoulli.logpmf(v["bit"][:, None], special.expit(logit)),
        "kind": special.log_softmax(kinds, -1)[:, v["kind"]].T,
        "count": stats.poisson.logpmf(v["count"][:, None], rate),
    }
    joint = sum(v[f"{name}_known"][:, None] * values for name, values in densities.items())
    evidence = torch.from_numpy(special.logsumexp(joint, -1) - np.log(3))
    weights = LocalPosterior(program, batch).draw(5).log_weight
    torch.testing.assert_close(weights, evidence.expand(5, -1), rtol=0, atol=1e-10)


def test_a_plate_need_not_say_how_large_it_is(
    tmp_path: Path, four: tuple[Handwritten, Batch]
) -> None:
    program, batch = four
    text = (HEAD + FOUR).replace('pyro.plate("data", len(x))', 'pyro.plate("data")')
    (tmp_path / "unsized.py").write_text(text, encoding="utf-8")
    unsized = Handwritten(tmp_path / "unsized.py", from_arrays(batch.x, variables=batch.others))
    weights = [LocalPosterior(each, batch).draw(2).log_weight for each in (program, unsized)]
    torch.testing.assert_close(*weights)


def test_data_of_four_sites_are_simulated_where_they_are_known(
    four: tuple[Handwritten, Batch],
) -> None:
    program, batch = four
    with seeded(0):
        found = simulate(program, batch)
    assert set(found.drawn) == {"x", "bit", "kind", "count"}
    k = found.z[:, 0].long()
    for name in found.drawn:
        known = batch.others[f"{name}_known"]
        old, new = batch.variables[name], found.batch.variables[name]
        assert new.dtype == old.dtype
        assert torch.equal(new[~known], old[~known])
        assert not torch.equal(new[known], old[known])
    own = dict(program.named_parameters())
    known = batch.others["x_known"]
    scores = (found.x - own["loc"][k])[known] / 0.5
    assert scores.abs().max() < 5


def test_statistics_are_of_all_variables(four: tuple[Handwritten, Batch]) -> None:
    names = check_predictive(*four, replicates=20).names
    assert {"x[0]", "bit", "kind", "count", "count: zeros"} <= set(names)
    assert {"correlation of x[1] and bit", "correlation of kind and count"} <= set(names)


def test_means_of_four_sites_are_those_of_the_class(four: tuple[Handwritten, Batch]) -> None:
    program, batch = four
    own = dict(program.named_parameters())
    k = (torch.arange(len(batch)) % 3)[:, None]
    with torch.no_grad():
        found = LocalPosterior(program, batch).means(k[None].double())
    expected = {
        "x": own["loc"][k[:, 0]],
        "bit": own["logit"][k[:, 0]].sigmoid(),
        "kind": own["kinds"][k[:, 0]].argmax(-1),  # a class has no mean
        "count": own["rate"][k[:, 0]],
    }
    for name, value in expected.items():
        known = batch.others[f"{name}_known"]
        torch.testing.assert_close(found[name][0][known], value[known], check_dtype=False)


def test_conjugate_latents_have_the_evidence_in_every_weight(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.poisson(2, N), rng.integers(0, 2, N), rng.uniform(-3, 3, N)], 1)
    program, batch = made(tmp_path, CONJUGATE, x)
    count, bit, turn = batch.x.double().numpy().T
    together = np.hypot(1.5 + 2 * np.cos(turn), 2 * np.sin(turn))
    evidence = (
        stats.nbinom.logpmf(count, 2, 0.5)
        + np.where(bit == 1, np.log(0.4), np.log(0.6))
        + np.log(special.i0(together) / (2 * np.pi * special.i0(2.0) * special.i0(1.5)))
    )
    weights = LocalPosterior(program, batch).draw(3).log_weight
    expected = torch.from_numpy(evidence).expand(3, -1)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-5)  # torch's Bessel functions


def test_parts_of_x_are_put_back_in_their_places(tmp_path: Path) -> None:
    x = np.stack([np.arange(N), np.arange(N) % 2, np.linspace(-3, 3, N)], 1)
    program, batch = made(tmp_path, CONJUGATE, x)
    z = torch.stack([batch.x[:, 0] + 7, batch.x[:, 1] / 2 + 0.1, batch.x[:, 2] / 2], -1).double()
    found = LocalPosterior(program, batch).means(torch.stack([z, z + 0.1]))
    torch.testing.assert_close(found["x"], torch.stack([z, z + 0.1]), check_dtype=False)
    with seeded(0):
        drawn = simulate(program, batch)
    assert drawn.x[:, 1].unique().tolist() == [0.0, 1.0]
    assert drawn.x[:, 0].mean() < 5  # of Gamma(2, 1) rates, where the data have up to 40


def repeated(folder: Path) -> tuple[Handwritten, Batch, Tensor]:
    x = np.random.default_rng(0).normal(size=(N, 5))
    program, batch = made(folder, REPEATED, x)
    covariance = torch.ones(5, 5).double() + 1.25 * torch.eye(5).double()
    return program, batch, covariance


def test_repeated_measurements_have_the_evidence_in_every_weight(tmp_path: Path) -> None:
    program, batch, covariance = repeated(tmp_path)
    evidence = MultivariateNormal(torch.zeros(5).double(), covariance).log_prob(batch.x.double())
    weights = LocalPosterior(program, batch).draw(3).log_weight
    torch.testing.assert_close(weights, evidence.expand(3, -1), rtol=0, atol=1e-10)


def test_means_in_another_order_than_the_data_are_put_back_in_theirs(tmp_path: Path) -> None:
    program, batch, _ = repeated(tmp_path)
    x = batch.x.double()
    z = x.sum(-1, keepdim=True) / 1.25 / (1 + 5 / 1.25)
    expected = 0.8 * z + 0.2 * x
    torch.testing.assert_close(reconstruct(program, batch), expected, check_dtype=False)
    torch.testing.assert_close(program.reconstruct(batch.x), expected, check_dtype=False)
    latents = means(program, batch, ["z", "u"])
    torch.testing.assert_close(latents, torch.cat([z, expected], -1), check_dtype=False)


def test_latents_of_simulated_data_are_their_own(tmp_path: Path) -> None:
    program, batch, _ = repeated(tmp_path)
    with seeded(0):
        found = simulate(program, batch)
    z, u = found.z.split([1, 5], -1)
    assert (found.x - u).abs().max() < 5  # of 1 sd
    assert ((u - z) / 0.5).abs().max() < 5


def test_counts_given_their_total_are_drawn_with_that_of_the_data(make_vae: Any) -> None:
    vae = make_vae(likelihood={"kind": "multinomial", "total_count": 3})
    x = torch.randint(0, 9, (N, 5)).double()
    batch = Batch(x)
    drawn = LocalPosterior(vae, batch).draw_data(torch.randn(4, N, 2).double())["x"]
    for found in (simulate(vae, batch).x, *drawn):
        assert torch.equal(found.sum(-1), x.sum(-1))
        assert not torch.equal(found, x)
