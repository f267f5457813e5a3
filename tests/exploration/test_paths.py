"""Lines and arcs between codes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyrovae.exploration.latent_paths import arc, codes_on, line
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.parts.distributions.von_mises_fisher import unit

JOINS = pytest.mark.parametrize("join", [line, arc])
DIMS = pytest.mark.parametrize("dims", [2, 3, 10])


def angles(path: Tensor) -> Tensor:
    """Between neighbours on paths ``(paths, steps, dims)``."""
    u = unit(path)
    chord = (u[:, 1:] - u[:, :-1]).norm(dim=-1)
    return 2 * (chord / 2).clamp(max=1).asin()


@JOINS
@DIMS
def test_both_end_where_they_should(join, dims: int) -> None:
    a, b = torch.randn(2, 50, dims).double()
    path = join(a, b, 7)
    assert path.shape == (50, 7, dims)
    torch.testing.assert_close(path[:, 0], a)
    torch.testing.assert_close(path[:, -1], b)
    torch.testing.assert_close(join(b, a, 7).flip(1), path)


@DIMS
def test_lengths_on_the_arc_go_evenly_from_one_to_the_other(dims: int) -> None:
    a, b = torch.randn(2, 50, dims).double()
    lengths = arc(a, b, 9).norm(dim=-1)
    torch.testing.assert_close(
        lengths, line(a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True), 9)[..., 0]
    )
    same = arc(unit(a) * 3, unit(b) * 3, 9).norm(dim=-1)
    torch.testing.assert_close(same, torch.full_like(same, 3.0))


@DIMS
def test_the_arc_turns_evenly_and_no_further_than_it_must(dims: int) -> None:
    a, b = torch.randn(2, 50, dims).double()
    turned = angles(arc(a, b, 6))
    total = torch.acos((unit(a) * unit(b)).sum(-1))
    torch.testing.assert_close(turned, (total / 5).unsqueeze(-1).expand(50, 5))


def test_the_arc_stays_in_the_plane_of_its_ends() -> None:
    a, b = torch.randn(2, 20, 6).double()
    basis = torch.linalg.qr(torch.stack([a, b], -1)).Q
    path = arc(a, b, 5)
    projected = torch.einsum("pdk,pek,pse->psd", basis, basis, path)
    torch.testing.assert_close(projected, path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@DIMS
def test_opposite_ends_are_joined_by_half_a_circle(dims: int, dtype: torch.dtype) -> None:
    a = torch.cat([unit(torch.randn(20, dims)), torch.eye(dims), -torch.eye(dims)]).to(dtype)
    path = arc(a, -a, 5)
    torch.testing.assert_close(path.norm(dim=-1), torch.ones(len(a), 5, dtype=dtype))
    quarter = torch.full((len(a), 4), torch.pi / 4, dtype=dtype)
    torch.testing.assert_close(angles(path), quarter, rtol=1e-4, atol=0)
    torch.testing.assert_close(path[:, -1], -a)


@JOINS
def test_from_a_code_to_itself_nothing_moves(join) -> None:
    a = torch.randn(10, 4)
    assert torch.equal(join(a, a, 5), a.unsqueeze(1).expand(10, 5, 4))


def test_in_the_same_direction_or_to_the_centre_the_arc_is_the_line() -> None:
    a = torch.randn(10, 4).double()
    for b in (2.5 * a, torch.zeros_like(a)):
        torch.testing.assert_close(arc(a, b, 5), line(a, b, 5))
        torch.testing.assert_close(arc(b, a, 5), line(b, a, 5))


def test_the_arc_between_near_codes_is_nearly_the_line() -> None:
    a = torch.randn(10, 4).double()
    step = torch.randn(10, 4).double()
    for size in (1e-3, 1e-5, 1e-7, 1e-9):
        bent = (arc(a, a + size * step, 5) - line(a, a + size * step, 5)).norm(dim=-1).max()
        assert bent < 50 * size**2 + 1e-14  # the arrow of an arc


def test_codes_on_the_sphere_are_directions_of_means(make_vae) -> None:
    vae, x = make_vae("hyperspherical", "von_mises_fisher"), torch.rand(6, 5).double()
    space = LatentSpace(vae, x)
    found = codes_on(space, x)
    assert (space.encode(x).norm(dim=-1) < 0.999).all()
    torch.testing.assert_close(found, unit(space.encode(x)))


def test_codes_elsewhere_are_means(make_vae) -> None:
    vae, x = make_vae(), torch.rand(6, 5).double()
    space = LatentSpace(vae, x)
    assert torch.equal(codes_on(space, x), space.encode(x))
