"""Which dimensions say something, and how much: against closed forms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyrovae import Splits
from pyrovae.diagnosis.collapse import check_collapse
from pyrovae.errors import DataError
from pyrovae.parts.distributions.positive import raw_scale
from pyrovae.programs.handwritten import Handwritten


def gaussian_information(oracle: Any) -> tuple[float, Tensor]:
    """I(x; z) of the model in nats, and that of each dimension by itself."""
    covariance = oracle.posterior.covariance_matrix[0]
    return (
        -0.5 * torch.logdet(covariance).item(),
        -0.5 * covariance.diagonal().log(),
    )


@pytest.mark.parametrize("vectorisable", [True, False])
@pytest.mark.parametrize("guide", ["diagonal", "full_rank"])
def test_the_bracket_holds_the_information(
    make_linear_gaussian: Any, guide: Any, vectorisable: bool
) -> None:
    data = 600 if vectorisable else 100
    oracle = make_linear_gaussian(guide, data=data)
    oracle.vae.vectorisable = vectorisable
    exact, per_dim = gaussian_information(oracle)
    found = check_collapse(oracle.vae, oracle.x)
    bracket = found.information
    assert bracket is not None
    assert bracket.data == data
    assert not bracket.open
    assert exact > bracket.lower - 4 * bracket.lower_error
    assert exact < bracket.upper + 4 * bracket.upper_error
    assert 0 < bracket.upper - bracket.lower < 0.5
    torch.testing.assert_close(torch.as_tensor(found.per_dim), per_dim, rtol=0, atol=0.15)
    # The guide is exact and the data are the model's: q(z) is p(z), and all of the KL is I.
    assert abs(found.total_kl - exact) < 5 * found.kl_error


def test_dimensions_are_independent_for_a_diagonal_guide(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=400)
    found = check_collapse(oracle.vae, oracle.x)
    assert found.kl.sum() == pytest.approx(found.total_kl)
    loc = oracle.posterior.mean
    np.testing.assert_allclose(found.mean_variance, loc.var(0).numpy())


def test_few_data_show_a_lower_bound_only(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=20)
    with torch.no_grad():
        oracle.vae.posterior.family.scale.bias.fill_(-8.0)  # a narrow guide tells all data apart
    found = check_collapse(oracle.vae, oracle.x)
    assert found.information is not None
    assert found.information.lower == pytest.approx(math.log(20), abs=0.1)
    assert "at least 3.0 nats, N = 20 data" in found.verdict().finding
    assert "I(x; z), upper bound" not in [number.name for number in found.numbers()]


@torch.no_grad()
def collapse(oracle: Any, dimension: int) -> None:
    """The decoder ignores a dimension, and the guide is the prior there."""
    oracle.vae.decoder.last.weight[:, dimension] = 0.0
    guide = oracle.vae.posterior.family
    guide.loc.weight[dimension] = 0.0
    guide.loc.bias[dimension] = 0.0
    guide.scale.weight[dimension] = 0.0
    guide.scale.bias[dimension] = math.log(math.expm1(1.0))


@pytest.mark.parametrize("guide", ["diagonal", "full_rank"])
def test_a_collapsed_dimension_is_reported(make_linear_gaussian: Any, guide: Any) -> None:
    oracle = make_linear_gaussian(guide, data=200)
    if guide == "full_rank":
        with torch.no_grad():
            oracle.vae.posterior.family.below.bias.zero_()
    collapse(oracle, 0)
    found = check_collapse(oracle.vae, oracle.x)
    assert found.active.tolist() == [False, True]
    assert abs(found.per_dim[0]) < 0.01 < found.per_dim[1]
    assert found.verdict().grade == "WARN"
    assert found.verdict().finding.startswith("1 of 2 dimensions active")
    assert np.isnan(found.kl).all() == (guide == "full_rank")
    collapse(oracle, 1)
    found = check_collapse(oracle.vae, oracle.x)
    assert found.verdict().grade == "FAIL"
    assert found.information is not None
    assert abs(found.information.lower) < 1e-9
    assert abs(found.information.upper) < 1e-9
    assert "inference.objective.kind 'free_bits'" in found.verdict().advice


def test_a_kl_below_the_threshold_does_not_pass_with_its_variance(
    make_linear_gaussian: Any,
) -> None:
    oracle = make_linear_gaussian("diagonal", data=500)
    collapse(oracle, 0)
    with torch.no_grad():  # means of variance 0.015, which are 0.0075 nats
        first = oracle.x[:, 0]
        oracle.vae.posterior.family.loc.weight[0, 0] = 0.015**0.5 / first.std()
        oracle.vae.posterior.family.loc.bias[0] = -(0.015**0.5 / first.std()) * first.mean()
    found = check_collapse(oracle.vae, oracle.x)
    assert found.varies.all()
    assert found.informs.tolist() == [False, True]
    assert found.active.tolist() == [False, True]
    assert "(2 by variance, 1 by KL)" in found.verdict().finding


def test_a_flow_that_is_collapsed_is_not_active(make_vae: Any) -> None:
    # Its mean is not known, and draws vary whether or not they say anything.
    vae = make_vae("normal", "iaf")
    x = vae.sample(200)
    with torch.no_grad():
        vae.posterior.family.loc.weight.zero_()
        vae.posterior.family.scale.weight.zero_()
        vae.posterior.family.scale.bias.fill_(raw_scale(1.0))  # means of 50 draws vary by 1/50
        for parameter in vae.posterior.family.transform.parameters():
            parameter.zero_()
    assert not check_collapse(vae, x).varies.any()
    with torch.no_grad():
        vae.posterior.family.loc.weight[0].normal_(std=5.0)
    assert check_collapse(vae, x).varies.tolist() == [True, False]


def test_every_pair_of_parts(make_vae: Any, covering_pair: tuple[str, str]) -> None:
    vae = make_vae(*covering_pair)
    x, before = vae.sample(20), torch.get_rng_state()
    found = check_collapse(vae, x)
    assert torch.equal(before, torch.get_rng_state())
    assert np.isfinite(found.mean_variance).all()
    assert (found.information is None) == (covering_pair[1] == "delta")
    assert found.verdict().grade in ("ok", "WARN", "FAIL")
    assert all(np.isfinite(number.value) for number in found.numbers())
    assert {len(variable.values) for variable in found.variables().values()} == {2}
    if covering_pair[1] in ("diagonal", "full_rank", "low_rank", "laplace", "mixture"):
        assert np.isfinite(found.per_dim).all()
    if covering_pair in (("student_t", "laplace"), ("normal", "diagonal")):
        assert found.kl.sum() == pytest.approx(found.total_kl)


def test_too_few_data_are_refused(make_vae: Any) -> None:
    vae = make_vae()
    with pytest.raises(DataError, match="20 are needed"):
        check_collapse(vae, vae.sample(19))


TWO_SITES = """
import pyro
import pyro.distributions as dist
import torch
from torch import nn

net = nn.Linear(64, 5)

def model(x):
    pyro.module("net", net)
    with pyro.plate("data", len(x)):
        a = pyro.sample("a", dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1))
        b = pyro.sample("b", dist.Normal(a[:, :1], 1.0).to_event(1))
        mean = (a.sum(-1) + b[:, 0])[:, None, None, None].expand(x.shape)
        pyro.sample("x", dist.Normal(mean, 1.0).to_event(3), obs=x)

def guide(x):
    pyro.module("net", net)
    with pyro.plate("data", len(x)):
        h = net(x.flatten(1) / 16)
        a = pyro.sample("a", dist.Normal(3 * h[:, :2], 0.5).to_event(1))
        pyro.sample("b", dist.Normal(a[:, 1:], 0.5).to_event(1))
"""


@pytest.fixture
def two_sites(tmp_path: Path, few_digits: Splits) -> tuple[Handwritten, Tensor]:
    """A code of two sites, of which the guide draws one given the other."""
    path = tmp_path / "two.py"
    path.write_text(TWO_SITES)
    autoencoder = Handwritten(path, few_digits)
    data = autoencoder.contract.apply(few_digits).train
    return autoencoder, data.batch(torch.arange(len(data))).x


def test_sites_that_depend_on_each_other(two_sites: tuple[Handwritten, Tensor]) -> None:
    autoencoder, x = two_sites
    found = check_collapse(autoencoder, x)
    assert found.names == ["a[0]", "a[1]", "b[0]"]
    # b follows a[1], given x: so does its mean, and its marginal is not in any trace.
    assert found.mean_variance[2] == pytest.approx(found.mean_variance[1], rel=0.2)
    assert np.isfinite(found.per_dim).tolist() == [True, True, False]
    assert found.kl.sum() == pytest.approx(found.total_kl)
