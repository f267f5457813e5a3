"""Declared models of data of which some values are not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

from pyrovae import VAE, ModelSpec, build
from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch, from_arrays
from pyrovae.errors import SpecError
from pyrovae.objectives.elbo import SampledELBO
from pyrovae.programs.observed_values import is_hidden, shown

N = 6


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    torch.manual_seed(0)


def trained(vae: VAE, batch: Batch) -> list[Tensor]:
    """Terms of the bound of each observation, and gradients of the loss."""
    with seeded(0):
        loss, terms = SampledELBO().loss_and_terms(vae, batch)
    gradients = torch.autograd.grad(
        loss, list(vae.parameters()), allow_unused=True, materialize_grads=True
    )
    return [terms.reconstruction, terms.elbo, *gradients]


def test_all_known_is_no_mask(make_vae: Any, likelihood: dict[str, Any]) -> None:
    vae = make_vae(likelihood=likelihood)
    x = vae.sample(N)
    rows = torch.ones(N, dtype=torch.bool)
    known = [rows] if "multinomial" in likelihood["kind"] else [rows, torch.ones_like(x).bool()]
    for x_known in known:
        torch.testing.assert_close(
            trained(vae, Batch(x, {"x_known": x_known})), trained(vae, Batch(x))
        )


def test_what_is_not_known_changes_no_bit(make_vae: Any, likelihood: dict[str, Any]) -> None:
    vae = make_vae(likelihood=likelihood)
    x, other = vae.sample(N), vae.sample(N)
    known = torch.rand(N, 5) < 0.6
    if "multinomial" in likelihood["kind"]:
        known = known[:, :1].expand(N, 5)
    x_known = known[:, 0] if "multinomial" in likelihood["kind"] else known
    hidden = Batch(x, {"x_known": x_known})
    replaced = hidden.with_x(torch.where(known, x, other))
    assert not torch.equal(hidden.x, replaced.x)
    assert all(map(torch.equal, trained(vae, hidden), trained(vae, replaced)))


def test_the_density_is_that_of_the_known_values(make_vae: Any) -> None:
    vae = make_vae(likelihood={"kind": "poisson"})
    x = vae.sample(N)
    known = torch.rand(N, 5) < 0.6
    with seeded(0):
        traces = vae.traces(Batch(x, {"x_known": known}))
    z = traces.guide.nodes["z"]["value"]
    expected = torch.where(known, vae.decode(z).base_dist.log_prob(x), 0.0).sum(-1)
    found, *_ = trained(vae, Batch(x, {"x_known": known}))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(vae.encode(x, known).mean, vae.encode(x * known).mean)


def test_values_that_depend_on_each_other_are_known_together(make_vae: Any) -> None:
    vae = make_vae(likelihood={"kind": "multinomial", "total_count": 3})
    x = vae.sample(N)
    with pytest.raises(SpecError, match=r"x_known has shape \(6, 5\), .* for each row"):
        trained(vae, Batch(x, {"x_known": torch.ones(N, 5, dtype=torch.bool)}))


def test_units_are_those_of_the_known_values() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal([100.0, -5.0, 7.0], [10.0, 1.0, 0.0], (400, 3))
    known = rng.random((400, 3)) < 0.5
    data = from_arrays(np.where(known, x, np.nan), variables={"x_known": known})
    rows = data.train.rows.numpy()
    expected = [x[rows][known[rows][:, i], i] for i in range(3)]
    mean, deviation = data.train.mean(), data.train.deviation()
    for column, values in enumerate(expected):
        assert mean[column].item() == pytest.approx(values.mean(), abs=1e-4)
        assert deviation[column].item() == pytest.approx(values.std(), abs=1e-4)
    assert deviation[2] == 0
    vae = build(ModelSpec.model_validate({"likelihood": {"kind": "normal"}}), "svi", data)
    units = vae.posterior.encoder.standardisation
    torch.testing.assert_close(units.loc.double(), mean, rtol=0, atol=1e-4)
    seen = vae.contract.apply(data).train.batch(torch.arange(N))
    hidden = ~seen.others["x_known"]
    at_mean = vae.encode(torch.where(hidden, units.loc, seen.x))
    torch.testing.assert_close(vae.encode(seen.x, ~hidden).mean, at_mean.mean)


@pytest.mark.parametrize("visible", [True, False])
def test_a_mask_that_is_one_number_hides_all_or_nothing(visible: bool) -> None:
    def outside() -> None:
        with poutine.mask(mask=visible):
            pyro.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1))

    def inside() -> None:
        pyro.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1).mask(visible))

    for program in (outside, inside):
        site = poutine.trace(program).get_trace().nodes["x"]
        assert shown(site).shape == (1,)
        assert bool(shown(site)) == visible
        assert is_hidden(site) == (not visible)
