"""What each latent dimension does: against decoders whose answer is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from pyrovae import VAE, ModelSpec, Splits, build
from pyrovae.errors import DataError, SpecError
from pyrovae.exploration.latent_paths import codes_on
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.exploration.traversal import MOST_DIMENSIONS, traverse
from pyrovae.parts.distributions.positive import raw_scale
from pyrovae.programs.handwritten import Handwritten


@torch.no_grad()
def collapse(vae: VAE, dim: int) -> None:
    """Make guide and decoder ignore a dimension."""
    vae.decoder.last.weight[:, dim] = 0
    guide: Any = vae.posterior.family
    for part, bias in ((guide.loc, 0.0), (guide.scale, raw_scale(1.0))):
        part.weight[dim], part.bias[dim] = 0, bias


def test_rows_are_in_the_order_of_the_kl_in_closed_form(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=50)
    found = traverse(oracle.vae, oracle.x)
    q = oracle.vae.encode(oracle.x).base_dist
    kl = kl_divergence(q, Normal(torch.zeros_like(q.loc), 1.0)).mean(0).detach()
    assert found.by_kl
    assert found.names == [f"z[{dim}]" for dim in kl.argsort(descending=True)]
    np.testing.assert_allclose(found.kl, kl.sort(descending=True).values)


def test_kl_counts_before_variance(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=50)
    collapse(oracle.vae, 0)
    with torch.no_grad():  # its mean never varies, yet it is far from the prior
        oracle.vae.posterior.family.loc.bias[0] = 10.0
    found = traverse(oracle.vae, oracle.x)
    assert found.names == ["z[0]", "z[1]"]
    assert found.kl[0] > 49
    assert found.variance[0] < found.variance[1]
    assert found.active.tolist() == [False, True]


def test_a_linear_decoder_changes_as_much_as_its_weights_say(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=50)
    found = traverse(oracle.vae, oracle.x, datum=7, steps=5)
    p = torch.linspace(0.01, 0.99, 5).double()
    moves = torch.special.ndtri(p).diff()
    columns = oracle.vae.decoder.last.weight.detach()[:, [int(n[2]) for n in found.names]]
    expected = columns.square().mean(0).sqrt().outer(moves)
    np.testing.assert_allclose(found.change, expected, rtol=1e-6)
    reach = columns.square().mean(0).sqrt() * moves.sum()
    np.testing.assert_allclose(found.path_length, reach, rtol=1e-6)


@pytest.mark.parametrize("dim", [0, 1])
def test_a_collapsed_dimension_changes_nothing_and_is_marked(
    make_linear_gaussian: Any, dim: int
) -> None:
    oracle = make_linear_gaussian("diagonal", data=50)
    collapse(oracle.vae, dim)
    found = traverse(oracle.vae, oracle.x)
    assert found.names == [f"z[{1 - dim}]", f"z[{dim}]"]
    assert found.active.tolist() == [True, False]
    assert (found.change[0] > 0).all()
    assert (found.change[1] == 0).all()
    assert found.kl[1] < 1e-4
    values = {number.name: number.value for number in found.numbers()}
    assert values["change, collapsed"] == 0
    assert math.isclose(values["change, active"], found.path_length[0])
    assert "1 of 2 dimensions are active" in found.summary()
    assert "collapsed one at most by 0" in found.summary()


def test_what_dimensions_are_called_does_not_matter(make_vae) -> None:
    vae, x = make_vae(), torch.rand(30, 5).double()
    first = traverse(vae, x)
    with torch.no_grad():
        guide: Any = vae.posterior.family
        weight = next(p for p in vae.decoder.parameters() if p.ndim == 2 and p.shape[1] == 2)
        weight.copy_(weight.flip(1))
        for part in (guide.loc, guide.scale):
            part.weight.copy_(part.weight.flip(0))
            part.bias.copy_(part.bias.flip(0))
    second = traverse(vae, x)
    swap = {"z[0]": "z[1]", "z[1]": "z[0]"}
    assert second.names == [swap[name] for name in first.names]
    for name in ("kl", "variance", "active", "values", "code", "change", "images"):
        np.testing.assert_allclose(getattr(second, name), getattr(first, name), rtol=1e-7)


def test_every_prior_and_guide(make_vae, covering_pair: tuple[str, str]) -> None:
    vae, x = make_vae(*covering_pair), torch.rand(24, 5).double()
    found = traverse(vae, x, datum=3, steps=4)
    assert found.images.shape == (2, 4, 5)
    assert found.values.shape == (2, 4)
    assert (np.diff(found.values) > 0).all()
    assert np.isfinite(found.change).all()
    key = found.kl if found.by_kl else found.variance
    assert key[0] >= key[1]
    said = "ordered by KL" if found.by_kl else "the KL of single dimensions is not known"
    assert said in found.summary()
    space = LatentSpace(vae, x)
    code = codes_on(space, x[3:4])
    torch.testing.assert_close(space.decode(code)[0], found.reconstruction)
    for row, name in enumerate(found.names):
        dim = space.names.index(name)
        assert found.code[row] == code[0, dim]
        moved = space.move(code[0], dim, torch.as_tensor(found.values[row]))
        torch.testing.assert_close(space.decode(moved), found.images[row])
    for variable in found.variables().values():
        assert variable.values.ndim == len(variable.dims)


def test_every_likelihood(make_vae, covering_likelihood: dict[str, Any]) -> None:
    found = traverse(make_vae(likelihood=covering_likelihood), torch.ones(20, 5).double())
    assert found.images.isfinite().all()
    assert found.change.shape == (2, 10)
    assert np.isfinite(found.change).all()


SITES = """
import pyro, torch
import pyro.distributions as dist
from torch import nn
above, below = nn.Linear(1, 2), nn.Linear(2, 64)
encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
def model(x):
    pyro.module("above", above); pyro.module("below", below)
    with pyro.plate("data", len(x)):
        top = pyro.sample("top", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
        low = pyro.sample("low", dist.Normal(above(top), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(below(low).reshape(x.shape), 1.0).to_event(3), obs=x)
def guide(x):
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        loc = encoder(x / 16)
        pyro.sample("top", dist.Normal(loc[:, :1], 0.5).to_event(1))
        pyro.sample("low", dist.Normal(loc[:, 1:], 0.5).to_event(1))
"""


@pytest.fixture
def two_sites(few_digits: Splits, tmp_path: Path) -> Handwritten:
    """A program whose data depend on one of its two latent sites only."""
    (tmp_path / "sites.py").write_text(SITES)
    return Handwritten(tmp_path / "sites.py", few_digits)


def test_a_handwritten_program_of_several_sites(
    two_sites: Handwritten, few_digits: Splits
) -> None:
    x = few_digits.train.batch(torch.arange(25)).x
    found = traverse(two_sites, x)
    assert sorted(found.names) == ["low[0]", "low[1]", "top[0]"]
    assert found.images.shape == (3, 11, 1, 8, 8)
    top = found.names.index("top[0]")
    # Once the lower code is given, the upper one changes nothing.
    assert (found.change[top] == 0).all()
    assert (np.delete(found.change, top, 0) > 0).all()


SCALED = """
import pyro, torch
import pyro.distributions as dist
from torch import nn
unit = {unit}
encoder, decoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), nn.Linear(2, 64)
def model(x):
    pyro.module("decoder", decoder)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), unit).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z / unit).reshape(x.shape), 1.0).to_event(3), obs=x)
def guide(x):
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(unit * encoder(x / 16), 0.5 * unit).to_event(1))
"""


def test_the_unit_of_a_code_does_not_matter(few_digits: Splits, tmp_path: Path) -> None:
    x = few_digits.train.batch(torch.arange(25)).x
    results = []
    for unit in (1.0, 8.0):
        (tmp_path / "scaled.py").write_text(SCALED.format(unit=unit))
        torch.manual_seed(0)
        results.append(traverse(Handwritten(tmp_path / "scaled.py", few_digits), x))
    one, eight = results
    assert eight.names == one.names
    np.testing.assert_allclose(eight.values, 8 * one.values, rtol=1e-5)
    for name in ("kl", "variance", "change", "images"):
        np.testing.assert_allclose(getattr(eight, name), getattr(one, name), rtol=1e-4, atol=1e-5)


def test_of_many_dimensions_the_first_are_decoded() -> None:
    vae, x = build(ModelSpec(latent_dim=40)), 16 * torch.rand(20, 1, 8, 8)
    found = traverse(vae, x, steps=2)
    assert len(found.names) == len(found.kl) == 40
    assert len(found.images) == len(found.change) == found.shown == MOST_DIMENSIONS
    assert found.left_out == 40 - MOST_DIMENSIONS
    assert "the last 8 of 40 are left out" in found.summary()
    assert (np.diff(found.kl) <= 0).all()


def test_nothing_is_changed(make_vae, parameters_of) -> None:
    vae, x = make_vae(), torch.rand(20, 5).double()
    before, state = parameters_of(vae), torch.get_rng_state()
    first, second = traverse(vae, x), traverse(vae, x)
    assert torch.equal(first.images, second.images)
    assert torch.equal(torch.get_rng_state(), state)
    assert vae.training
    assert all(torch.equal(before[name], p) for name, p in parameters_of(vae).items())


def test_mistakes_are_said_in_a_sentence(make_vae) -> None:
    vae, x = make_vae(), torch.rand(20, 5).double()
    with pytest.raises(DataError, match=r"datum = 20: there are 20 data"):
        traverse(vae, x, datum=20)
    with pytest.raises(DataError, match=r"datum = -1"):
        traverse(vae, x, datum=-1)
    with pytest.raises(DataError, match=r"19 data are too few .* 20 are needed"):
        traverse(vae, x[:19])
    with pytest.raises(SpecError, match=r"steps is 1: .* 2 or more"):
        traverse(vae, x, steps=1)
