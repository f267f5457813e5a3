"""Statistics of data against those of data drawn from the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from pyrovae import Splits
from pyrovae.data import Dataset
from pyrovae.diagnosis.predictive import (
    Predictive,
    check_predictive,
    compare,
    tail_probabilities,
)
from pyrovae.diagnosis.predictive_statistics import Kind, moments, per_datum
from pyrovae.errors import DataError
from pyrovae.programs.handwritten import Handwritten

GREY, WHOLE, BITS = Kind(False, False), Kind(False, True), Kind(True, True)
NORMAL = {"kind": "normal", "noise": "fixed", "scale": 0.5}


def by_hand(x: Any, kind: Kind) -> dict[str, list[float]]:
    return {name: v.tolist() for name, v in per_datum(torch.as_tensor(x), kind).items()}


def test_numbers_of_an_image_by_hand() -> None:
    image = [[[[0.0, 4.0], [0.0, 2.0]]], [[[1.0, 1.0], [1.0, 1.0]]]]
    numbers = by_hand(image, WHOLE)
    assert numbers["level"] == [1.5, 1.0]
    assert numbers["contrast"] == pytest.approx([(2 * 1.5**2 + 2.5**2 + 0.5**2) ** 0.5 / 2, 0])
    assert numbers["maximum"] == [4, 1]
    assert numbers["zeros"] == [0.5, 0]
    assert numbers["roughness"] == [(4 + 2 + 0 + 2) / 4, 0]
    assert by_hand(image, GREY).keys() == {"level", "contrast", "maximum", "roughness"}
    assert by_hand(image, BITS).keys() == {"level", "roughness"}
    assert by_hand(torch.ones(3, 2, 1, 1), BITS).keys() == {"level"}  # no neighbours


def test_numbers_of_tables() -> None:
    assert by_hand([[1.0, 5.0], [2.0, 0.0]], GREY) == {"x[0]": [1, 2], "x[1]": [5, 0]}
    assert by_hand([[1.0, 5.0], [2.0, 0.0]], WHOLE)["zeros"] == [0, 0.5]
    assert by_hand([1.0, 2.0], GREY) == {"x[0]": [1, 2]}
    wide = per_datum(torch.arange(60.0).reshape(2, 30), WHOLE)
    assert wide.keys() == {"level", "contrast", "maximum", "zeros"}  # no order, no neighbours
    assert wide["level"].tolist() == [14.5, 44.5]


def test_moments_are_means_spreads_and_correlations() -> None:
    x = torch.randn(50, 3).double() @ torch.randn(3, 3).double()
    found = moments(per_datum(x, GREY))
    value = dict(zip(found.names, found.mean.tolist(), strict=True))
    variance = dict(zip(found.names, found.variance.tolist(), strict=True))
    assert len(value) == 3 + 3 + 3 + 3
    correlation = np.corrcoef(x.numpy().T)
    for c in range(3):
        assert value[f"x[{c}]"] == pytest.approx(x[:, c].mean().item())
        assert variance[f"x[{c}]"] == pytest.approx(x[:, c].var().item())
        spread = (x[:, c] - x[:, c].mean()).abs().mean().item()
        assert value[f"spread of x[{c}]"] == pytest.approx(spread)
        assert value[f"skewness of x[{c}]"] == pytest.approx(stats.skew(x[:, c].numpy()))
    assert value["correlation of x[0] and x[2]"] == pytest.approx(correlation[0, 2])
    constant = torch.cat([x, torch.ones(50, 1)], 1)
    assert moments(per_datum(constant, GREY)).mean.isfinite().all()


def test_tail_probabilities_by_hand() -> None:
    replicated = torch.tensor([[1.0, 0.0], [2.0, 5.0], [3.0, -5.0], [4.0, 0.0]]).double()
    tail, adjusted = tail_probabilities(torch.tensor([9.0, 0.0]).double(), replicated)
    assert tail.tolist() == pytest.approx([2 / 5, 1])
    # In standard deviations of all five, 9 is 1.87 out and 5 is 1.58.
    assert adjusted.tolist() == pytest.approx([1 / 5, 1])


def test_tail_probabilities_of_data_from_the_model_are_uniform(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=20 * 1500)
    sets = [moments(per_datum(x, GREY)).mean for x in oracle.x.split(20)]
    own, replicated = torch.stack(sets[:300]), torch.stack(sets[300:])
    tail, adjusted = zip(*(tail_probabilities(each, replicated) for each in own), strict=True)
    for column in torch.stack(tail).mT:  # their replicates are the same: a little less than random
        assert stats.kstest(column.numpy(), "uniform").pvalue > 1e-3
    smallest = torch.stack(adjusted).min(1).values  # uniform too: one of them is the largest
    assert stats.kstest(smallest.numpy(), "uniform").pvalue > 1e-3


def test_data_of_the_model_pass(make_linear_gaussian: Any) -> None:
    for _ in range(5):
        oracle = make_linear_gaussian(data=300)
        found = check_predictive(oracle.vae, oracle.x, replicates=60)
        # One in twenty sets has a statistic that chance alone would not; none a large effect.
        assert found.verdict().grade != "FAIL"
        assert found.effect.abs().max() < 0.5
        assert found.replicated.shape == (60, 5 + 5 + 5 + 10)


def test_a_shifted_mean_is_found_and_its_effect_is_the_closed_form(
    make_linear_gaussian: Any,
) -> None:
    oracle = make_linear_gaussian(data=1000)
    with torch.no_grad():
        oracle.vae.decoder.last.bias[3] -= 1.0
    found = check_predictive(oracle.vae, oracle.x, replicates=40)
    effects = dict(zip(found.names, found.effect.tolist(), strict=True))
    weight = oracle.vae.decoder.last.weight[3].detach()
    scale = (weight.square().sum() + oracle.noise.square()).sqrt().item()
    assert effects["x[3]"] == pytest.approx(1 / scale, abs=0.15)  # five standard errors
    verdict = found.verdict()
    assert verdict.grade == "FAIL"
    assert "in 1 of 25 statistics: x[3] +" in verdict.finding
    assert "prior" in verdict.advice
    assert found.numbers()[0].name == "x[3]"
    assert found.adjusted.min() == pytest.approx(1 / 41)


@pytest.mark.parametrize("shape", [(5,), (1, 6, 6)])
def test_twice_the_noise_is_found(make_vae: Any, shape: tuple[int, ...]) -> None:
    vae = make_vae(likelihood=NORMAL, shape=shape)
    x = vae.sample(200)
    assert check_predictive(vae, x, replicates=40).verdict().grade != "FAIL"
    noisy = make_vae(likelihood={**NORMAL, "scale": 1.0}, shape=shape)
    noisy.load_state_dict(vae.state_dict())
    found = check_predictive(noisy, x, replicates=40)
    assert found.verdict().grade == "FAIL"
    effects = dict(zip(found.names, found.effect.tolist(), strict=True))
    if len(shape) == 1:
        assert all(effects[f"spread of x[{c}]"] < -0.5 for c in range(5))
    else:
        assert effects["roughness"] < -0.5
        assert "scatter more" in found.verdict().advice


def test_a_skewed_positive_column_under_a_normal_is_found(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=1000)
    x = oracle.x.clone()
    mean, scale = x[:, 1].mean(), x[:, 1].std()
    x[:, 1] = -torch.rand(1000).log()  # exponential: mean and deviation are 1
    with torch.no_grad():
        oracle.vae.decoder.last.weight[1] /= scale
        oracle.vae.decoder.last.bias[1] += 1 - mean
    found = check_predictive(oracle.vae, x, replicates=40)
    observed = dict(zip(found.names, found.observed.tolist(), strict=True))
    assert observed["share of negative values of x[1]"] == 0
    assert "share of negative values of x[0]" not in found.names  # whose data are negative too
    effects = dict(zip(found.names, found.effect.tolist(), strict=True))
    assert effects["share of negative values of x[1]"] < -0.5
    assert effects["skewness of x[1]"] > 0
    assert found.verdict().grade == "FAIL"
    assert "take logarithms" in found.verdict().advice


def test_more_zeros_than_the_model_has_are_found(make_vae: Any) -> None:
    vae = make_vae(likelihood={"kind": "poisson"}, shape=(30,))
    with torch.no_grad():
        vae.decoder.last.bias += 3  # so many counts that hardly one is zero
    x = vae.sample(100)
    x[:, :10] = 0
    found = check_predictive(vae, x, replicates=40)
    effects = dict(zip(found.names, found.effect.tolist(), strict=True))
    assert effects["zeros"] > 0.5


def test_dependence_that_a_model_lacks_is_found(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=1000)
    apart = torch.stack([column[torch.randperm(1000)] for column in oracle.x.mT], 1)
    found = check_predictive(oracle.vae, apart, replicates=40)
    assert found.verdict().grade != "ok"
    off = [n for n, g in zip(found.names, found.grades(), strict=True) if g != "ok"]
    assert off
    assert all(name.startswith("correlation of x[") for name in off)


def test_every_likelihood_can_be_checked(
    make_vae: Any, covering_likelihood: dict[str, Any]
) -> None:
    for shape in ((5,), (30,), (1, 3, 4)):
        if "multinomial" in covering_likelihood["kind"] and len(shape) > 1:
            continue
        vae = make_vae(likelihood=covering_likelihood, shape=shape)
        x, stream = vae.sample(25), torch.get_rng_state()
        found = check_predictive(vae, x, replicates=20)
        assert found.names
        assert found.replicated.isfinite().all()
        assert found.tail.min() > 0
        assert torch.equal(torch.get_rng_state(), stream)
        assert found.variables()["replicated_statistic"].values.shape == (20, len(found.names))
        assert found.variables()["observed_statistic"].values.shape == (len(found.names),)
        assert 0 < len(found.numbers()) <= 12


def test_totals_of_rows_are_given(make_vae: Any) -> None:
    vae = make_vae(likelihood={"kind": "multinomial", "total_count": 3}, shape=(30,))
    with torch.no_grad():
        shares = vae.decode(vae.prior(vae.posterior).sample((200,))).mean
    totals = torch.arange(200) % 50
    x = torch.stack(
        [
            torch.bincount(torch.multinomial(share, 50, True)[:total], minlength=30)
            for share, total in zip(shares, totals, strict=True)
        ]
    ).double()
    assert torch.equal(x.sum(1), totals.double())
    found = check_predictive(vae, x, replicates=40)
    assert "level" not in found.names  # the same in data and replicates
    assert found.verdict().grade != "FAIL"
    assert found.effect.abs().max() < 0.4
    few = x.clone()
    few[:, 1:] = 0
    few[:, 0] = totals.double()  # the same totals, in one column
    assert check_predictive(vae, few, replicates=40).verdict().grade == "FAIL"


def test_chunks_do_not_matter(make_vae: Any, monkeypatch: Any) -> None:
    vae = make_vae(shape=(1, 3, 4))
    x = vae.sample(23)
    whole = check_predictive(vae, x, replicates=20)
    monkeypatch.setattr("pyrovae.compute.chunks.CODES", 5)
    parts = check_predictive(vae, x, replicates=20)
    torch.testing.assert_close(whole.observed, parts.observed)
    assert whole.names == parts.names


HANDWRITTEN = """
import pyro
import torch
from pyro import distributions as dist

def model(x):
    rate = pyro.param("rate", torch.tensor(2.0))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Gamma(2.0, 1.0))
        return pyro.sample("x", dist.Poisson(rate * z), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Gamma(x + 1.0, 2.0))
"""


def test_handwritten_programs_of_scalars(tmp_path: Path) -> None:
    path = tmp_path / "counts.py"
    path.write_text(HANDWRITTEN, encoding="utf-8")
    x = torch.poisson(2.0 * torch.distributions.Gamma(2.0, 1.0).sample((200,)))
    split = Dataset("counts", x, torch.arange(200), None, None)
    program = Handwritten(path, Splits(split, split, split))
    found = check_predictive(program, x, replicates=40)
    assert found.names == [
        *("x[0]", "zeros", "spread of x[0]", "spread of zeros", "skewness of x[0]"),
    ]
    assert found.verdict().grade != "FAIL"
    assert check_predictive(program, x + 4, replicates=40).verdict().grade == "FAIL"


def test_the_worst_decides_and_effects_within_chance_do_not() -> None:
    def predictive(effect: list[float], adjusted: list[float]) -> Predictive:
        count = len(effect)
        return Predictive(
            ["level", "zeros", "roughness", "contrast", "maximum"][:count],
            torch.zeros(count).double(),
            torch.zeros(20, count).double(),
            torch.tensor(effect).double(),
            torch.tensor(adjusted).double(),
            torch.tensor(adjusted).double(),
        )

    fine = predictive([0.9, 0.05], [0.2, 0.1]).verdict()
    assert fine.grade == "ok"
    assert fine.finding.startswith("none of 2 statistics differs by more than chance")
    small = predictive([0.9, 0.05], [0.2, 0.01]).verdict()
    assert small.grade == "ok"
    assert small.finding.startswith("1 of 2 statistics differ by more than chance")
    verdict = predictive([0.2, -0.3], [0.01, 0.01]).verdict()
    assert verdict.grade == "WARN"
    assert "zeros -0.30 sd, level +0.20 sd" in verdict.finding
    assert "negative_binomial" in verdict.advice
    assert predictive([0.2, -0.6], [0.01, 0.01]).verdict().grade == "FAIL"
    many = predictive([0.2] * 5, [0.01] * 5).verdict()
    assert "in 5 of 5" in many.finding
    assert many.finding.endswith("and 2 more")


def test_what_is_always_the_same_is_left_out() -> None:
    x = torch.rand(21, 30, 2).double()
    x[..., 1] = 7.0
    first, *others = (moments(per_datum(each, GREY)) for each in x)
    stacked = first._replace(
        mean=torch.stack([m.mean for m in others]),
        variance=torch.stack([m.variance for m in others]),
    )
    found = compare(first, stacked)
    assert found.names == ["x[0]", "spread of x[0]", "skewness of x[0]"]
    assert found.effect.isfinite().all()
    nothing = compare(*(m._replace(mean=m.mean * 0) for m in (first, stacked)))
    assert nothing.verdict().grade == "ok"


def test_too_few_data_or_replicates_are_refused(make_vae: Any) -> None:
    vae = make_vae()
    with pytest.raises(DataError, match="at least 2 data, here 1"):
        check_predictive(vae, vae.sample(1))
    with pytest.raises(DataError, match="at least 20 replicates, here 19"):
        check_predictive(vae, vae.sample(5), replicates=19)
