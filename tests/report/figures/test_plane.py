"""Codes in a plane."""

from __future__ import annotations

import torch

from pyrovae.report.figures.latent_plane import project

SPREAD = torch.tensor([3.0, 1.0, 0.1, 0.1, 0.1])


def codes() -> torch.Tensor:
    """Codes ``(500, 5)`` about a mean, in axes that are turned against the usual ones."""
    generator = torch.Generator().manual_seed(0)
    turned = torch.linalg.qr(torch.randn(5, 5, generator=generator)).Q
    return torch.randn(500, 5, generator=generator) * SPREAD @ turned + 7


def test_principal_components_are_uncorrelated_and_hold_most_of_the_variance() -> None:
    z = codes()
    points, names = project(z)
    spectrum = torch.linalg.eigvalsh(z.T.cov()).flip(0)
    torch.testing.assert_close(points.T.cov(), spectrum[:2].diag(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(points.mean(0), torch.zeros(2), rtol=0, atol=1e-4)
    shares = spectrum / spectrum.sum()
    assert names[0] == f"first principal component ({shares[0]:.0%} of variance)"
    assert names[1] == f"second principal component ({shares[1]:.0%} of variance)"


def test_which_way_a_component_points_does_not_depend_on_the_order_of_the_data() -> None:
    z = codes()
    torch.testing.assert_close(project(z.flip(0))[0].flip(0), project(z)[0], rtol=0, atol=1e-4)


def test_two_dimensions_and_codes_that_do_not_vary_are_drawn_as_they_are() -> None:
    for z in (codes()[:, :2], torch.ones(10, 5), codes()[:2]):
        points, names = project(z)
        assert torch.equal(points, z[:, :2])
        assert names == ["z[0]", "z[1]"]
