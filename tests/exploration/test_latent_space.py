"""The space of codes, whatever the prior and the guide."""

from __future__ import annotations

import math

import pytest
import torch

from pyrovae.errors import SpecError
from pyrovae.exploration.latent_space import LatentSpace


@pytest.fixture
def probabilities() -> torch.Tensor:
    return torch.tensor([0.1, 0.5, 0.9])


def test_quantiles_split_the_priors_draws(make_vae, covering_pair, probabilities) -> None:
    prior, guide = covering_pair
    x = torch.rand(4, 5).double()
    space = LatentSpace(make_vae(prior, guide), x)
    found = space.quantiles(probabilities)
    assert found.shape == (3, space.dims)
    below = (space.draw_prior(4000) <= found[:, None]).double().mean(1)
    # Of 4000 draws; those of a sphere's prior, and a VampPrior's, are quantiles of draws too.
    tolerance = 5 * math.sqrt(0.25 / 4000)
    assert (below - probabilities[:, None]).abs().max() < tolerance


def test_quantiles_of_the_standard_normal_are_exact(make_vae, probabilities) -> None:
    space = LatentSpace(make_vae(), torch.rand(1, 5).double())
    expected = torch.special.ndtri(probabilities.double())
    assert torch.allclose(space.quantiles(probabilities), expected[:, None].expand(3, 2))


def test_codes_decode_to_the_means_that_the_model_gives_them(
    make_vae, covering_likelihood
) -> None:
    vae = make_vae(likelihood=covering_likelihood)
    space = LatentSpace(vae, torch.ones(2, 5).double())
    z = torch.randn(7, 2).double()
    vae.eval()
    assert torch.allclose(space.decode(z), vae.decode(z).mean.reshape(7, 5))


def test_only_one_number_of_a_code_is_moved(make_vae) -> None:
    space = LatentSpace(make_vae(), torch.rand(1, 5).double())
    moved = space.move(torch.tensor([1.0, 2.0]), 1, torch.tensor([-3.0, 0.0, 3.0]))
    assert moved.tolist() == [[1.0, -3.0], [1.0, 0.0], [1.0, 3.0]]


def test_moved_codes_stay_on_the_sphere(make_vae) -> None:
    space = LatentSpace(make_vae("hyperspherical", "von_mises_fisher"), torch.rand(1, 5).double())
    values = torch.tensor([-0.9, 0.1, 1.0]).double()
    moved = space.move(torch.tensor([0.6, 0.8]).double(), 0, values)
    assert torch.equal(moved[:, 0], values)
    assert torch.allclose(moved.norm(dim=-1), torch.ones(3).double())
    assert (moved[:2, 1] > 0).all()  # on the side where the code was


def test_means_are_where_the_encoder_puts_them(make_vae) -> None:
    vae, x = make_vae(), torch.rand(6, 5).double()
    vae.eval()
    assert torch.allclose(LatentSpace(vae, x).encode(x), vae.encode(x).mean)


def test_nothing_is_changed(make_vae) -> None:
    vae, x = make_vae(), torch.rand(6, 5).double()
    vae.train()
    before = torch.get_rng_state()
    space = LatentSpace(vae, x)
    first, second = space.draw_prior(5), space.draw_prior(5)
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
    assert vae.training
    space.decode(first)
    space.encode(x)
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_codes_that_are_no_vectors_cannot_be_moved(tmp_path) -> None:
    import pyro
    import pyro.distributions as dist

    from pyrovae.programs.autoencoder import Autoencoder, Formulas

    class Counts(Autoencoder):
        vectorisable = True

        def __init__(self) -> None:
            super().__init__()
            self.rate = torch.nn.Parameter(torch.ones(3))

        def model(self, x):
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.Gamma(self.rate, 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Gamma(self.rate + 0 * x, 1.0).to_event(1))

        def formulas(self):
            return Formulas("Gamma", "Normal", "Gamma")

    space = LatentSpace(Counts(), torch.rand(4, 3))
    assert (space.draw_prior(10) > 0).all()
    with pytest.raises(SpecError, match=r"z\[0\], z\[1\], z\[2\] are not all real .* samples"):
        _ = space.spherical
