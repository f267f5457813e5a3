"""The plane of codes, decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pyrovae import InferenceSpec, ModelSpec, build
from pyrovae.errors import SpecError
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.exploration.manifold import manifold


def spherical(latent_dim: int) -> Any:
    model = ModelSpec(latent_dim=latent_dim, prior={"kind": "hyperspherical"})
    return build(model, InferenceSpec(guide={"kind": "von_mises_fisher"}))


def test_cells_are_the_middles_of_equal_probabilities(make_vae) -> None:
    found = manifold(make_vae(), torch.rand(1, 5).double(), size=10)
    below = torch.special.ndtr(torch.as_tensor(found.codes))
    expected = (torch.arange(10).double() + 0.5) / 10
    assert torch.allclose(below[..., 0], expected.expand(10, 10))  # rows alike, from the left
    assert torch.allclose(below[..., 1], expected.unsqueeze(1).expand(10, 10))  # from below


def test_images_are_of_their_codes(make_vae, covering_pair: tuple[str, str]) -> None:
    vae, x = make_vae(*covering_pair), torch.rand(3, 5).double()
    if covering_pair[1] == "von_mises_fisher":
        with pytest.raises(SpecError, match=r"the latents have 1 dimension, .* traversals"):
            manifold(vae, x)
        return
    found = manifold(vae, x, size=4)
    assert found.images.shape == (4, 4, 5)
    decoded = LatentSpace(vae, x).decode(torch.as_tensor(found.codes).flatten(0, 1))
    torch.testing.assert_close(found.images.flatten(0, 1), decoded)
    assert found.axes == ("z[0], quantile of the prior", "z[1], quantile of the prior")
    assert found.across.shape == (4, 3)
    assert found.upward.shape == (3, 4)
    for variable in found.variables().values():
        assert variable.values.ndim == len(variable.dims)


def test_a_linear_decoder_changes_as_much_as_its_weights_say(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    found = manifold(oracle.vae, oracle.x, size=6)
    weight = oracle.vae.decoder.last.weight.detach().square().mean(0).sqrt()
    moves = torch.special.ndtri((torch.arange(6).double() + 0.5) / 6).diff()
    np.testing.assert_allclose(found.across, (weight[0] * moves).expand(6, 5))
    np.testing.assert_allclose(found.upward, (weight[1] * moves).unsqueeze(1).expand(5, 6))
    numbers = {number.name: number.value for number in found.numbers()}
    everything = torch.cat([weight[0] * moves, weight[1] * moves]).numpy()
    assert np.isclose(numbers["change, largest"], everything.max())
    assert np.isclose(numbers["change, median"], np.median(everything))
    assert np.isclose(numbers["edges"], (everything > 3 * np.median(everything)).mean())


def test_a_decoder_that_ignores_its_codes_has_no_edges(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    with torch.no_grad():
        oracle.vae.decoder.last.weight.zero_()
    found = manifold(oracle.vae, oracle.x, size=3)
    assert (found.changes == 0).all()
    assert found.cliffs == 0
    assert found.summary().endswith("and by 0 at most.")


def test_every_likelihood(make_vae, covering_likelihood: dict[str, Any]) -> None:
    found = manifold(make_vae(likelihood=covering_likelihood), torch.ones(1, 5).double(), size=3)
    assert found.images.isfinite().all()


def test_cells_on_the_sphere_have_the_same_area() -> None:
    found = manifold(spherical(3), torch.zeros(1, 1, 8, 8), size=40)
    codes = found.codes.reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=-1), 1)
    # With equal areas, means over cells are integrals of the uniform distribution.
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(codes.T @ codes / len(codes), np.eye(3) / 3, atol=1e-3)
    assert found.axes == ("longitude, share of the sphere", "z[2], share of the sphere")
    assert (np.diff(found.codes[:, 0, 2]) > 0).all()


@pytest.mark.parametrize("latent_dim", [1, 3, 20])
def test_other_codes_have_no_plane(latent_dim: int) -> None:
    vae = build(ModelSpec(latent_dim=latent_dim))
    with pytest.raises(
        SpecError, match=rf"the latents have {latent_dim} dim.* a plane shows 2: .*latent_dim = 2$"
    ):
        manifold(vae, torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("latent_dim", [2, 4])
def test_other_spheres_have_no_plane(latent_dim: int) -> None:
    with pytest.raises(SpecError, match=r"traversals, or train with .* = 3$"):
        manifold(spherical(latent_dim), torch.zeros(1, 1, 8, 8))


def test_one_cell_is_no_plane(make_vae) -> None:
    with pytest.raises(SpecError, match=r"row is 1: .* 2 or more"):
        manifold(make_vae(), torch.rand(1, 5).double(), size=1)
