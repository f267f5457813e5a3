"""What lies between two data: against decoders whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyrovae import ModelSpec, Splits, build
from pyrovae.errors import DataError, SpecError
from pyrovae.exploration.interpolation import interpolate
from pyrovae.programs.handwritten import Handwritten

LINEAR, SPHERICAL = 0, 1


def test_a_linear_decoder_goes_straight_and_evenly(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=8)
    found = interpolate(oracle.vae, oracle.x, pairs=4)
    np.testing.assert_allclose(found.unevenness[LINEAR], 1)
    np.testing.assert_allclose(found.detour[LINEAR], 1)
    # An arc is longer than its chord, and so is what a linear map of full rank makes of it.
    assert (found.detour[SPHERICAL] > 1 + 1e-6).all()


def test_both_ways_end_where_the_codes_are_decoded(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=6)
    found = interpolate(oracle.vae, oracle.x, steps=4)
    means = oracle.vae.decode(oracle.posterior.mean).mean.detach()
    for way in (LINEAR, SPHERICAL):
        torch.testing.assert_close(found.images[way, :, 0], means[0::2])
        torch.testing.assert_close(found.images[way, :, -1], means[1::2])
    assert torch.equal(found.ends[:, 0], oracle.x[0::2])
    assert torch.equal(found.ends[:, 1], oracle.x[1::2])
    difference = (means[0::2] - means[1::2]).square().mean(-1).sqrt()
    np.testing.assert_allclose(found.straight, difference)


def test_the_density_on_the_way_is_the_priors(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=6)
    found = interpolate(oracle.vae, oracle.x, steps=5)
    expected = -0.5 * (found.codes**2).sum(-1) - math.log(2 * math.pi)
    np.testing.assert_allclose(found.log_prior, expected)
    between, ends = expected[..., 1:4].mean(-1), expected[..., [0, 4]].mean(-1)
    np.testing.assert_allclose(found.density_gain, between - ends)
    # A concave function is above the mean of its ends, inside a chord.
    assert (found.density_gain[LINEAR] > 0).all()
    assert (found.density_gain[LINEAR] > found.density_gain[SPHERICAL]).all()


class Step(nn.Module):
    """One on one side of the plane in the middle of two codes, zero on the other."""

    def __init__(self, start: Tensor, end: Tensor) -> None:
        super().__init__()
        self.middle = nn.Parameter((start + end) / 2)
        self.normal = nn.Parameter(end - start)

    def forward(self, z: Tensor) -> list[Tensor]:
        side = ((z - self.middle) @ self.normal > 0).to(z).unsqueeze(-1)
        return [side.expand(*z.shape[:-1], 5)]


def test_a_jump_is_all_in_one_step(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=2)
    oracle.vae.decoder = Step(*oracle.posterior.mean)
    oracle.vae.likelihood.forward = lambda numbers: dist.Normal(numbers[0], 0.5).to_event(1)
    found = interpolate(oracle.vae, oracle.x[[0, 1, 0, 0]], steps=9)
    np.testing.assert_allclose(found.unevenness[:, 0], 8)
    np.testing.assert_allclose(found.detour[:, 0], 1)
    assert np.isnan(found.unevenness[:, 1]).all()
    assert (found.change[:, 1] == 0).all()
    assert "of 1 of them does not change at all" in found.summary()
    # Only the pair that changes counts; of one there is no standard error.
    uneven = next(n for n in found.numbers() if n.name == "largest step over mean step, linear")
    assert (uneven.value, uneven.error) == (8.0, None)


def test_where_steps_are_rounding_there_is_no_detour(make_vae) -> None:
    found = interpolate(make_vae(), torch.rand(2, 5).double())
    still = replace(found, change=0 * found.change, straight=found.straight * 1e-12)
    assert np.isnan(still.detour).all()
    assert np.isnan(still.unevenness).all()


def test_numbers_are_means_over_pairs_with_their_errors(make_vae) -> None:
    found = interpolate(make_vae(), torch.rand(12, 5).double())
    numbers = {number.name: number for number in found.numbers()}
    assert len(numbers) == 8
    for way, name in enumerate(found.ways):
        number = numbers[f"path over distance of its ends, {name}"]
        assert math.isclose(number.value, found.detour[way].mean())
        assert number.error is not None
        assert math.isclose(number.error, found.detour[way].std(ddof=1) / math.sqrt(6))
        steps = numbers[f"change per step, {name}"]
        assert math.isclose(steps.value, found.change[way].mean())


def test_every_prior_and_guide(make_vae, covering_pair: tuple[str, str]) -> None:
    vae, x = make_vae(*covering_pair), torch.rand(5, 5).double()
    found = interpolate(vae, x, steps=6)
    assert found.ways == ("linear", "spherical")
    assert found.images.shape == (2, 2, 6, 5)
    assert (found.detour >= 1 - 1e-9).all()
    assert (found.unevenness >= 1 - 1e-9).all()
    assert np.isfinite(found.log_prior).all()
    np.testing.assert_allclose(found.codes[0][:, [0, -1]], found.codes[1][:, [0, -1]])
    for variable in found.variables().values():
        assert variable.values.ndim == len(variable.dims)


def test_codes_stay_on_the_sphere(make_vae) -> None:
    vae = make_vae("hyperspherical", "von_mises_fisher")
    found = interpolate(vae, torch.rand(8, 5).double())
    np.testing.assert_allclose(np.linalg.norm(found.codes, axis=-1), 1)
    # The prior is uniform: no way leads where it is denser. Chord and arc have the same middle.
    np.testing.assert_allclose(found.density_gain, 0, atol=1e-12)
    np.testing.assert_allclose(found.codes[0][:, 5], found.codes[1][:, 5])


def test_every_likelihood(make_vae, covering_likelihood: dict[str, Any]) -> None:
    found = interpolate(make_vae(likelihood=covering_likelihood), torch.eye(5).double()[:4])
    assert found.images.isfinite().all()
    assert np.isfinite(found.change).all()


def test_one_dimension_has_no_arc() -> None:
    vae = build(ModelSpec(latent_dim=1))
    found = interpolate(vae, 16 * torch.rand(4, 1, 8, 8))
    assert found.ways == ("linear",)
    assert found.images.shape == (1, 2, 11, 1, 8, 8)
    assert "no arc: only the straight line" in found.summary()


def test_a_handwritten_program(few_digits: Splits) -> None:
    program = Handwritten(Path(__file__).parents[2] / "models" / "handwritten.py", few_digits)
    x = few_digits.train.batch(torch.arange(4)).x
    found = interpolate(program, x, steps=3)
    assert found.images.shape == (2, 2, 3, 1, 8, 8)
    expected = dist.Normal(0.0, 1.0).log_prob(torch.as_tensor(found.codes)).sum(-1)
    np.testing.assert_allclose(found.log_prior, expected, rtol=1e-5)


@pytest.mark.parametrize(("data", "pairs", "expected"), [(2, 6, 1), (5, 6, 2), (12, 3, 3)])
def test_pairs_are_consecutive_data(make_vae, data: int, pairs: int, expected: int) -> None:
    x = torch.rand(data, 5).double()
    found = interpolate(make_vae(), x, pairs=pairs)
    assert torch.equal(found.ends.flatten(0, 1), x[: 2 * expected])
    said = f"in {expected} {'pair' if expected == 1 else 'pairs'} of data, the largest step is"
    assert said in found.summary()


def test_mistakes_are_said_in_a_sentence(make_vae) -> None:
    vae, x = make_vae(), torch.rand(4, 5).double()
    with pytest.raises(DataError, match=r"1 data: at least 2"):
        interpolate(vae, x[:1])
    with pytest.raises(SpecError, match=r"steps is 2: .* 3 or more"):
        interpolate(vae, x, steps=2)
    with pytest.raises(SpecError, match=r"pairs is 0: .* 1 or more"):
        interpolate(vae, x, pairs=0)
