"""How outputs differ: a Euclidean distance, but for rounding."""

from __future__ import annotations

import math

import torch

from pyrovae.exploration.decoder_change import changes, distance


def test_it_is_the_root_mean_squared_difference() -> None:
    a, b = torch.zeros(3, 2, 2), torch.tensor([3.0, 4.0, 0.0, 0.0]).reshape(2, 2).expand(3, 2, 2)
    assert distance(a, b, 2).tolist() == [2.5, 2.5, 2.5]


def test_it_is_a_distance() -> None:
    a, b, c = torch.randn(3, 500, 1, 2, 3)
    there = distance(a, b, 3)
    assert (there > 0).all()
    assert torch.equal(there, distance(b, a, 3))
    assert torch.equal(distance(a, a, 3), torch.zeros(500).double())
    assert (there <= distance(a, c, 3) + distance(c, b, 3)).all()
    torch.testing.assert_close(distance(5 * a, 5 * b, 3), 5 * there)


def test_it_does_not_depend_on_how_often_values_are_repeated() -> None:
    a, b = torch.randn(2, 10, 4).double()
    repeated = distance(a.repeat(1, 7), b.repeat(1, 7), 1)
    torch.testing.assert_close(repeated, distance(a, b, 1))


def test_rounding_is_no_change() -> None:
    a = torch.rand(10, 50) + 1
    assert (distance(a, a * (1 + 1e-7), 1) == 0).all()
    assert (distance(a, a * (1 + 1e-4), 1) > 0).all()


def test_neighbours_along_a_path() -> None:
    # On a circle of n points, neighbours are 2 sin(π/n) apart, wherever on it.
    angle = torch.arange(13).double() / 12 * 2 * math.pi
    circle = torch.stack([angle.cos(), angle.sin()], -1).expand(2, 3, 13, 2)
    found = changes(circle, 1)
    assert found.shape == (2, 3, 12)
    expected = 2 * math.sin(math.pi / 12) / math.sqrt(2)
    assert torch.allclose(found, torch.full_like(found, expected))
