"""q(z | x) in numbers, held against the distributions of the guide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pyrovae import Splits, build
from pyrovae.data import Dataset, from_arrays
from pyrovae.evaluation.encoding import encode

GUIDES = ["diagonal", "laplace", "low_rank", "full_rank", "mixture"]


def of(data: Splits, guide: str) -> Any:
    return build("vae", "svi", data, {"inference.guide.kind": guide, "model.latent_dim": 4})


@pytest.mark.parametrize("guide", GUIDES)
def test_deviations_are_those_of_draws_of_the_guide(few_digits: Splits, guide: str) -> None:
    vae = of(few_digits, guide)
    site = encode(vae, few_digits.test)["z"]
    np.testing.assert_array_equal(site.mean.numpy(), vae.embed(few_digits.test))
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = vae.encode(few_digits.test.batch(torch.arange(5)).x).sample((20_000,))
    # The standard error of a deviation is under a hundredth of it for these families.
    torch.testing.assert_close(site.deviation[:5], drawn.std(0), rtol=0.06, atol=0)
    torch.testing.assert_close(site.mean[:5], drawn.mean(0), rtol=0, atol=0.06)
    assert not site.drawn


@pytest.mark.parametrize(("guide", "drawn"), [("delta", False), ("iaf", True), ("spline", True)])
def test_what_has_no_deviation_gets_none(few_digits: Splits, guide: str, drawn: bool) -> None:
    site = encode(of(few_digits, guide), few_digits.test)["z"]
    assert site.deviation is None
    assert site.probabilities is None
    assert site.drawn == drawn


@pytest.fixture
def half_labelled() -> Splits:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 2, (60, 8, 8)), rng.integers(0, 10, 60)
    return from_arrays(x.astype(np.uint8), y, variables={"y_known": np.arange(60) % 2 == 0})


def values(data: Dataset, name: str) -> torch.Tensor:
    return data.variables[name][data.rows]


def test_classes_have_probabilities_and_a_mode(half_labelled: Splits) -> None:
    m2 = build("m2", "enumerated", half_labelled, {"program.pixels": 64, "program.latent_dim": 2})
    data = half_labelled.train
    found = encode(m2, data)
    assert list(found) == ["y", "z"]
    chances = found["y"].probabilities
    assert found["y"].deviation is None
    torch.testing.assert_close(chances.sum(-1), torch.ones(len(data), 1))
    assert torch.equal(chances.argmax(-1).float(), found["y"].mean)
    known = values(data, "y_known")  # of which the guide is certain
    assert torch.equal(found["y"].mean[known, 0], values(data, "y")[known].float())
    assert chances[known].amax(-1).eq(1).all()
    assert chances[~known].amax(-1).lt(1).all()


def test_latents_beyond_the_end_of_a_sequence_are_no_numbers() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 4, 40)
    data = from_arrays(rng.integers(0, 2, (40, 3, 4)), variables={"lengths": lengths})
    sizes = {"keys": 4, "latent_dim": 2, "width": 4, "hidden": 4}
    dmm = build("dmm", "svi", data, {f"program.{key}": n for key, n in sizes.items()})
    ends = values(data.train, "lengths")
    assert ends.min() < 3
    for step, site in enumerate(encode(dmm, data.train).values()):
        beyond = (step >= ends)[:, None].expand(-1, 2)
        assert torch.equal(site.mean.isnan(), beyond)
        assert torch.equal(site.deviation.isnan(), beyond)
