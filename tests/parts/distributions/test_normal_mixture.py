"""The density of a mixture of normals, multiplied out, against the one that is not."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyrovae.parts.distributions.normal_mixture import NormalMixture, mixture_of
from pyrovae.parts.distributions.positive import SCALE_FLOOR


def parameters(*batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, locations and scales of five components in three dimensions."""
    logits, loc, scale = (
        torch.randn(*batch, 5),
        torch.randn(*batch, 5, 3),
        torch.rand(*batch, 5, 3),
    )
    return logits.double(), loc.double(), 0.05 + scale.double()


def pair(logits: Tensor, loc: Tensor, scale: Tensor) -> tuple[NormalMixture, dist.Distribution]:
    weights, components = dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1)
    return NormalMixture(weights, components), dist.MixtureSameFamily(weights, components)


@pytest.mark.parametrize("batch", [(), (4,), (2, 4)])
@pytest.mark.parametrize("draws", [(), (6,), (6, 7)])
def test_the_density_is_that_of_the_plain_mixture(
    batch: tuple[int, ...], draws: tuple[int, ...]
) -> None:
    ours, plain = pair(*parameters(*batch))
    z = plain.sample(draws)
    torch.testing.assert_close(ours.log_prob(z), plain.log_prob(z), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("wanted", [(4,), (2, 4)])
@pytest.mark.parametrize("draws", [(), (6,)])
def test_an_expanded_mixture_is_the_same_everywhere(
    wanted: tuple[int, ...], draws: tuple[int, ...]
) -> None:
    ours, plain = (mixture.expand(wanted) for mixture in pair(*parameters()))
    z = plain.sample(draws)
    torch.testing.assert_close(ours.log_prob(z), plain.log_prob(z), rtol=1e-9, atol=1e-9)
    if draws:
        torch.testing.assert_close(ours.expand((6, *wanted)).log_prob(z), ours.log_prob(z))
    one = torch.zeros(3).double()  # one code for all has a density for each
    assert ours.log_prob(one).shape == wanted


def test_gradients_are_those_of_the_plain_mixture() -> None:
    leaves = [leaf.requires_grad_() for leaf in parameters()]
    z = torch.randn(7, 3).double().requires_grad_()
    ours, plain = (
        torch.autograd.grad(pair(*leaves)[which].expand((7,)).log_prob(z).sum(), [*leaves, z])
        for which in (0, 1)
    )
    torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("scale", [SCALE_FLOOR, 1e-3, 1.0, 1e3])
def test_in_single_precision_enough_digits_are_left(scale: float) -> None:
    logits, loc, scales = (p.float() for p in parameters())
    ours, _ = pair(logits, loc, scales * scale)
    z = ours.sample((50,))
    _, exact = pair(logits.double(), loc.double(), (scales * scale).double())
    expected = exact.log_prob(z.double()).float()
    torch.testing.assert_close(ours.log_prob(z), expected, rtol=1e-5, atol=1e-3)
    assert ours.log_prob(z).dtype == torch.float32


def test_components_of_another_family_make_a_plain_mixture() -> None:
    logits, loc, scale = parameters()
    weights = dist.Categorical(logits=logits)
    laplace = mixture_of(weights, dist.Laplace(loc, scale).to_event(1))
    assert not isinstance(laplace, NormalMixture)
    assert isinstance(mixture_of(weights, dist.Normal(loc, scale).to_event(1)), NormalMixture)
