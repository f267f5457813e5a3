"""Where the prior draws and no datum is, and the other way round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch import Tensor

from pyrovae.errors import DataError, SpecError
from pyrovae.exploration.completeness import Share, outside, sample_both
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.parts.priors import NormalPrior
from pyrovae.programs.autoencoder import Autoencoder, Formulas

DATA = 2000


def is_chance(share: Share, draws: int) -> bool:
    """Whether the points may be draws of the density; if they are, in all but 2 cases of 1e6."""
    held_out, points = draws // 2, len(share.outside)
    above = round(share.expected * (held_out + 1))
    null = stats.betabinom(points, above, held_out + 1 - above)
    return bool(null.ppf(1e-6) <= share.outside.sum() <= null.ppf(1 - 1e-6))


@torch.no_grad()
def set_guide(vae: Any, loc: float | None = None, scale: float = 1.0, shift: float = 0.0) -> None:
    """Codes moved and stretched; with ``loc`` zero the same for all data."""
    vae.posterior.family.loc.weight.mul_(scale if loc is None else loc)
    vae.posterior.family.loc.bias.mul_(scale if loc is None else loc).add_(shift)


@torch.no_grad()
def set_constant(vae: Any, scale: float) -> None:
    """Make q(z | x) the same normal around zero for all data."""
    set_guide(vae, loc=0.0)
    vae.posterior.family.scale.weight.zero_()
    vae.posterior.family.scale.bias.fill_(float(np.log(np.expm1(scale))))


@pytest.mark.parametrize("guide", ["diagonal", "full_rank"])
@pytest.mark.parametrize("neighbours", [1, 5, 50])
def test_both_agree_where_the_aggregated_posterior_is_the_prior(
    make_linear_gaussian: Any, guide: Any, neighbours: int
) -> None:
    oracle = make_linear_gaussian(guide, data=DATA)
    found = sample_both(oracle.vae, oracle.x, neighbours=neighbours)
    assert is_chance(found.holes, DATA)
    assert is_chance(found.missed, DATA)


def test_a_guide_that_is_the_prior_draws_other_codes_than_it(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=DATA)
    set_constant(oracle.vae, 1.0)
    found = sample_both(oracle.vae, oracle.x)
    nearest = torch.cdist(found.prior_codes, found.posterior_codes).min(1).values
    assert (nearest > 1e-5).all()  # the same noise would put each on one of the others
    assert is_chance(found.holes, DATA)
    assert is_chance(found.missed, DATA)


def test_codes_elsewhere_leave_the_prior_empty_and_are_never_drawn(
    make_linear_gaussian: Any,
) -> None:
    oracle = make_linear_gaussian(data=200)
    set_guide(oracle.vae, shift=20.0)
    found = sample_both(oracle.vae, oracle.x)
    assert found.holes.value == found.missed.value == 1.0
    assert found.holes.interval[1] == 1.0
    assert found.holes.interval[0] > 0.9


def test_codes_in_one_place_leave_holes_everywhere_else(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=DATA)
    set_constant(oracle.vae, 1e-3)
    found = sample_both(oracle.vae, oracle.x)
    assert found.holes.value > 0.99
    assert found.missed.value == 0.0


def test_codes_far_and_wide_are_never_drawn(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=DATA)
    set_guide(oracle.vae, scale=50.0)
    found = sample_both(oracle.vae, oracle.x)
    assert found.missed.value > 0.95
    assert found.holes.value < 0.01


def test_the_narrower_of_two_normals_is_found_within_the_wider(make_linear_gaussian: Any) -> None:
    # Of a normal with deviation 1 in two dimensions, a share exp(-r²/2) is farther than r.
    oracle = make_linear_gaussian("diagonal", data=DATA)
    set_constant(oracle.vae, 0.5)
    share = sample_both(oracle.vae, oracle.x).holes
    radius = 0.5 * (2 * np.log(100)) ** 0.5  # that of 99 % of q(z)
    error = (np.exp(-(radius**2) / 2) / DATA) ** 0.5
    # Draws just outside this radius have neighbours near enough.
    assert 0 < share.value < np.exp(-(radius**2) / 2) + 5 * error


def test_swapping_the_densities_swaps_the_shares(make_linear_gaussian: Any) -> None:
    narrow = make_linear_gaussian("diagonal", data=DATA)
    set_constant(narrow.vae, 3.0)
    wide = make_linear_gaussian("diagonal", data=DATA)
    set_constant(wide.vae, 1.0)
    wide.vae.prior = NormalPrior(2, learned=True).double()
    with torch.no_grad():
        wide.vae.prior.raw_scale.fill_(float(np.log(np.expm1(3.0))))
    first = sample_both(narrow.vae, narrow.x)
    second = sample_both(wide.vae, wide.x)
    tolerance = 5 * (0.5 / DATA) ** 0.5
    assert abs(first.missed.value - second.holes.value) < tolerance
    assert abs(first.holes.value - second.missed.value) < tolerance
    assert first.missed.value > 0.3
    assert first.holes.value < 0.05


def test_each_share_is_of_its_own_codes(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=300)
    set_guide(oracle.vae, scale=3.0)
    found = sample_both(oracle.vae, oracle.x)
    codes = found.prior_codes, found.posterior_codes
    assert np.array_equal(found.holes.outside, outside(*codes).outside)
    assert np.array_equal(found.missed.outside, outside(*codes[::-1]).outside)


@pytest.mark.parametrize("count", [60, 400])
def test_the_expected_share_is_found_on_average(count: int) -> None:
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        draws, points = torch.from_numpy(generator.normal(size=(2, count, 3))).unbind()
        shares.append(outside(points, draws))
    found = np.array([share.value for share in shares])
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - shares[0].expected) < 5 * error
    beyond = np.mean([share.value > share.chance for share in shares])
    assert beyond < 0.05 + 5 * (0.05 * 0.95 / 200) ** 0.5
    assert beyond > 0


@pytest.mark.parametrize("dims", [1, 2, 7])
def test_a_rotation_changes_nothing(dims: int) -> None:
    points, draws = 2 * torch.randn(300, dims).double(), torch.randn(400, dims).double()
    turn = torch.linalg.qr(torch.randn(dims, dims).double()).Q
    before, after = outside(points, draws), outside(7 + points @ turn, 7 + draws @ turn)
    assert np.array_equal(before.outside, after.outside)
    assert 0 < before.value < 1


@pytest.mark.parametrize("order", [torch.argsort, torch.randperm])
def test_the_order_of_draws_is_chance(order: Callable[[Any], Tensor]) -> None:
    draws, points = torch.randn(2, DATA, 2).double()
    index = order(draws[:, 0]) if order is torch.argsort else torch.randperm(DATA)
    found = outside(points, draws[index])
    assert is_chance(found, DATA)
    wide = [outside(3 * points, some).value for some in (draws, draws[index])]
    assert abs(wide[0] - wide[1]) < 5 * (0.5 / DATA) ** 0.5


def test_points_are_outside_by_themselves() -> None:
    points, draws = 3 * torch.randn(200, 2).double(), torch.randn(300, 2).double()
    all_flags = outside(points, draws).outside
    assert np.array_equal(outside(points[50:60], draws).outside, all_flags[50:60])


def test_every_prior_and_guide_can_be_looked_at(make_vae: Any, covering_pair: Any) -> None:
    vae, x = make_vae(*covering_pair, shape=(1, 1, 5)), torch.rand(60, 1, 1, 5).double()
    found = sample_both(vae, x, count=7)
    space = LatentSpace(vae, x)
    assert found.prior_codes.shape == found.posterior_codes.shape == (60, 2)
    assert found.names == ["z[0]", "z[1]"]
    torch.testing.assert_close(found.prior_samples, space.decode(found.prior_codes[found.shown]))
    posterior = space.decode(found.posterior_codes[found.shown])
    torch.testing.assert_close(found.posterior_samples, posterior)
    assert found.posterior_samples.shape == (7, 1, 1, 5)
    assert len(found.shown.unique()) == 7
    assert "60 data" in found.summary()
    for number, share in zip(found.numbers(), (found.holes, found.missed), strict=True):
        assert number.interval is not None
        assert number.interval[0] <= number.value == share.value <= number.interval[1]
    lengths = {len(variable.values) for variable in found.variables().values()}
    assert lengths == {7, 60}


def test_codes_of_a_point_are_where_it_is(make_vae: Any) -> None:
    vae, x = make_vae("normal", "delta"), torch.rand(60, 5).double()
    vae.eval()
    torch.testing.assert_close(sample_both(vae, x).posterior_codes, vae.encode(x).mean.detach())


def test_fewer_data_than_samples_give_as_many_samples(make_vae: Any) -> None:
    x = torch.rand(50, 5).double()
    assert len(sample_both(make_vae(), x, count=64).prior_samples) == 50


def test_nothing_is_changed(make_vae: Any) -> None:
    vae, x = make_vae(), torch.rand(50, 5).double()
    vae.train()
    before = torch.get_rng_state()
    first, second = sample_both(vae, x), sample_both(vae, x)
    assert torch.equal(first.prior_codes, second.prior_codes)
    assert np.array_equal(first.missed.outside, second.missed.outside)
    assert torch.equal(before, torch.get_rng_state())
    assert vae.training


def test_too_few_data_and_impossible_neighbours_are_refused(make_vae: Any) -> None:
    vae, x = make_vae(), torch.rand(50, 5).double()
    with pytest.raises(DataError, match=r"49 data are too few .*: 50 are needed"):
        sample_both(vae, x[1:])
    with pytest.raises(SpecError, match=r"neighbours = 25 .* choose 1 to 24"):
        sample_both(vae, x, neighbours=25)
    assert sample_both(vae, x, neighbours=24).neighbours == 24


class Counts(Autoencoder):
    """Two latent sites, one of whole and one of positive numbers."""

    def __init__(self, *, vectorisable: bool) -> None:
        super().__init__()
        self.vectorisable = vectorisable
        self.rate = torch.nn.Parameter(torch.ones(3))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            count = pyro.sample("count", dist.Poisson(3 * self.rate[:1]).to_event(1))
            size = pyro.sample("size", dist.Gamma(self.rate, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(count + size, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("count", dist.Poisson(3 * self.rate[:1] + 0 * x[:, :1]).to_event(1))
            pyro.sample("size", dist.Gamma(self.rate + 0 * x, 1.0).to_event(1))

    def formulas(self) -> Formulas:
        return Formulas("Poisson, Gamma", "Normal", "Poisson, Gamma")


@pytest.mark.parametrize("vectorisable", [True, False])
def test_handwritten_codes_are_vectors_of_all_sites(vectorisable: bool) -> None:
    found = sample_both(Counts(vectorisable=vectorisable), torch.rand(400, 3))
    assert found.names == ["count[0]", "size[0]", "size[1]", "size[2]"]
    assert is_chance(found.holes, 400)
    assert is_chance(found.missed, 400)
    codes = found.prior_codes[found.shown]
    noise = found.prior_samples.double() - codes[:, :1] - codes[:, 1:]
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3  # rows are draws


def test_codes_that_are_no_numbers_are_refused(make_vae: Any) -> None:
    vae = make_vae()
    with torch.no_grad():
        vae.posterior.family.loc.bias.fill_(torch.nan)
    with pytest.raises(DataError, match="drawn from the guide are not all finite"):
        sample_both(vae, torch.rand(50, 5).double())


@pytest.mark.parametrize("neighbours", [1, 2, 3, 4, 5])
def test_as_many_draws_must_be_near_as_are_asked_for(neighbours: int) -> None:
    lonely = torch.tensor([[50.0]]).double()
    draws = torch.cat([torch.linspace(0, 1, 994).double().unsqueeze(-1), lonely.expand(6, 1)])
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    there = int((draws[order[:500]] == lonely).sum())  # the others are no neighbours
    assert 2 <= there < 5
    assert outside(lonely, draws, neighbours).outside.tolist() == [neighbours > there]
