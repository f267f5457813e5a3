"""What every part promises, over all that there are; and the limits in which parts are equal."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn.functional import normalize

from pyrovae import VAE
from pyrovae.errors import SpecError
from pyrovae.objectives import build_objective
from pyrovae.parts.distributions.positive import SCALE_FLOOR, positive, raw_positive, raw_scale
from pyrovae.parts.families import DiagonalNormal, FullRankNormal
from pyrovae.parts.guides import Guide
from pyrovae.parts.networks import (
    ConvDecoder,
    ConvEncoder,
    MLPDecoder,
    MLPEncoder,
    ResidualDecoder,
    ResidualEncoder,
)
from pyrovae.parts.networks.building import build_encoder
from pyrovae.parts.priors import MixturePrior, NormalPrior, VampPrior
from pyrovae.specs.networks import EncoderSpec
from pyrovae.specs.objectives import ELBOSpec

EXACT = {"rtol": 1e-12, "atol": 1e-12}  # the same numbers in another order, in float64
NETWORKS = {
    "mlp": ({"kind": "mlp", "widths": (7, 6), "activation": "tanh"}, (5,)),
    "gated": ({"kind": "mlp", "widths": (7,), "activation": "identity", "gated": True}, (1, 8, 8)),
    "conv": ({"kind": "conv", "widths": (4, 3), "activation": "elu"}, (1, 8, 8)),
    "conv_odd": ({"kind": "conv", "widths": (4, 3), "activation": "tanh"}, (3, 8, 9)),
    "residual": ({"kind": "residual", "widths": (4, 3), "activation": "elu"}, (3, 8, 9)),
}
network_and_shape = pytest.mark.parametrize(
    ("network", "shape"), NETWORKS.values(), ids=NETWORKS.keys()
)


def test_every_parameter_of_prior_and_guide_receives_a_gradient(
    make_vae: Any, prior_and_guide: tuple[str, str]
) -> None:
    assert_every_parameter_receives_a_gradient(make_vae(*prior_and_guide))


@network_and_shape
def test_every_parameter_of_networks_and_likelihood_receives_a_gradient(
    make_vae: Any, likelihood: dict[str, Any], network: dict[str, Any], shape: tuple[int, ...]
) -> None:
    if "multinomial" in likelihood["kind"] and len(shape) > 1:
        with pytest.raises(SpecError, match="needs rows of counts"):
            make_vae(likelihood=likelihood, network=network, shape=shape)
        return
    for prior in ("normal", "vamp"):  # the encoder sees data, or pseudo-inputs as well
        vae = make_vae(prior, "full_rank", likelihood, network, shape)
        assert vae.sample(3).shape == (3, *shape)
        assert_every_parameter_receives_a_gradient(vae)


def assert_every_parameter_receives_a_gradient(vae: VAE) -> None:
    x = vae.sample(30)  # so many that not all are zeros, at which an encoder's weights have none
    build_objective(ELBOSpec(), vae, x).loss_and_terms(vae, x)[0].backward()
    silent = [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_weights_carry_prior_and_guide_from_one_autoencoder_to_another(
    make_vae: Any, prior_and_guide: tuple[str, str]
) -> None:
    first, second = (make_vae(*prior_and_guide) for _ in range(2))
    x, z = first.sample(4), normalize(torch.randn(4, 2).double(), dim=-1)  # on a sphere or not

    def p(vae: Any) -> Tensor:
        return vae.prior(vae.posterior).log_prob(z).detach()

    def q(vae: Any) -> Tensor:
        torch.manual_seed(1)  # a draw says more than a density, and a point has none
        return vae.encode(x).rsample().detach()

    assert torch.isclose(p(first), p(second)).any() == (not list(first.prior.parameters()))
    assert not torch.isclose(q(first), q(second)).any()
    second.load_state_dict(first.state_dict())
    assert torch.equal(p(first), p(second))
    assert torch.equal(q(first), q(second))


def test_weights_carry_the_likelihood_from_one_autoencoder_to_another(
    make_vae: Any, likelihood: dict[str, Any]
) -> None:
    first, second = (make_vae(likelihood=likelihood) for _ in range(2))
    x, z = first.sample(4), torch.randn(4, 2).double()

    def log_prob(vae: Any) -> Tensor:
        return vae.decode(z).log_prob(x).detach()

    assert not torch.isclose(log_prob(first), log_prob(second)).any()
    second.load_state_dict(first.state_dict())
    assert torch.equal(log_prob(first), log_prob(second))


@torch.no_grad()
def test_the_density_of_a_prior_integrates_to_one_and_its_samples_follow_it(
    make_vae: Any, assert_follows: Any, prior: str
) -> None:
    vae = make_vae(prior)
    assert_follows(vae.prior(vae.posterior))


@torch.no_grad()
def test_the_density_of_a_vampprior_does_so_with_every_guide_that_has_a_density(
    make_vae: Any, assert_follows: Any, guide_with_density: str
) -> None:
    vae = make_vae("vamp", guide_with_density)
    assert_follows(vae.prior(vae.posterior))


@torch.no_grad()
def test_the_density_of_a_guide_integrates_to_one_and_its_samples_follow_it(
    make_vae: Any, assert_follows: Any, guide_with_density: str
) -> None:
    vae = make_vae(guide=guide_with_density)
    assert_follows(vae.encode(vae.sample(1)[0]))


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_a_mixture_of_one_standard_component_is_the_normal_prior(latent_dim: int) -> None:
    mixture = MixturePrior(latent_dim, components=1).double()
    nn.init.zeros_(mixture.loc)
    nn.init.constant_(mixture.raw_scale, raw_scale(1.0))
    guide = Guide(MLPEncoder((4,), (5,)), DiagonalNormal(5, latent_dim))
    z = torch.randn(7, latent_dim).double()
    normal = NormalPrior(latent_dim).double()(guide).log_prob(z)
    torch.testing.assert_close(mixture(guide).log_prob(z).detach(), normal, **EXACT)


def test_a_mixture_weighs_its_components_by_the_softmax_of_its_logits() -> None:
    prior = MixturePrior(latent_dim=2, components=3).double()
    nn.init.normal_(prior.logits)
    nn.init.normal_(prior.raw_scale)
    z = torch.randn(7, 2).double()
    normals = dist.Normal(prior.loc, positive(prior.raw_scale)).to_event(1)
    by_hand = (prior.logits.softmax(0) * normals.log_prob(z[:, None]).exp()).sum(-1).log()
    guide = Guide(MLPEncoder((4,), (5,)), DiagonalNormal(5, 2))
    torch.testing.assert_close(prior(guide).log_prob(z), by_hand, **EXACT)


@pytest.mark.parametrize("levels", [None, 16.0])
def test_a_vampprior_is_the_mean_of_the_guide_over_its_pseudo_inputs(
    make_vae: Any, guide_with_density: str, levels: float | None
) -> None:
    guide = make_vae(guide=guide_with_density, shape=(1, 2, 2)).posterior
    u = (torch.rand(3, 1, 2, 2) * (levels or 1.0)).double()
    z = torch.randn(7, 2).double()
    each = guide(u).log_prob(z[:, None]).exp()  # (7, 3)
    prior = VampPrior(2, u, levels).double()(guide)
    torch.testing.assert_close(prior.log_prob(z).exp(), each.mean(-1), **EXACT)
    alone = VampPrior(2, u[:1], levels).double()(guide)
    torch.testing.assert_close(alone.log_prob(z).exp(), each[:, 0], **EXACT)


def test_pseudo_inputs_start_where_they_are_put() -> None:
    u = torch.rand(3, 4).double() * 16
    torch.testing.assert_close(VampPrior(2, u, 16.0).data().detach(), u, **EXACT)


def test_pseudo_inputs_of_bounded_data_stay_within_their_bounds() -> None:
    prior = VampPrior(2, torch.rand(3, 4) * 16, 16.0)
    with torch.no_grad():
        prior.pseudo_inputs.copy_(torch.linspace(-3, 3, 12).reshape(3, 4))
    assert prior.data().min() == 0
    assert prior.data().max() == 16


def test_pseudo_inputs_of_real_valued_data_have_no_bounds() -> None:
    u = torch.linspace(-30, 30, 12).reshape(3, 4)
    assert torch.equal(VampPrior(2, u).data(), u)


def test_full_rank_starts_as_the_diagonal_normal() -> None:
    full_rank, diagonal = FullRankNormal(5, 3).double(), DiagonalNormal(5, 3).double()
    diagonal.load_state_dict(full_rank.state_dict(), strict=False)
    h, z = torch.randn(6, 5).double(), torch.randn(6, 3).double()
    torch.testing.assert_close(full_rank(h).log_prob(z), diagonal(h).log_prob(z), **EXACT)


def test_the_covariance_of_the_full_rank_normal_is_that_of_its_factor() -> None:
    family = FullRankNormal(5, 3).double()
    nn.init.normal_(family.below.weight)
    q = family(torch.randn(6, 5).double())
    assert torch.equal(q.scale_tril.triu(1), torch.zeros(6, 3, 3))
    assert q.scale_tril.tril(-1).any()
    assert (q.scale_tril.diagonal(dim1=-2, dim2=-1) >= SCALE_FLOOR).all()
    factored = q.scale_tril @ q.scale_tril.mT
    torch.testing.assert_close(q.covariance_matrix, factored, **EXACT)


SHAPES = [(1, 8, 8), (1, 9, 13), (1, 28, 28), (3, 32, 32), (1, 64, 64)]


@torch.no_grad()
def generic(network: nn.Module) -> nn.Module:
    """The network with residual blocks that add something, which they do not when they start."""
    for parameter in network.parameters():
        parameter.normal_()
    return network


ENCODERS = {
    "mlp": lambda shape: MLPEncoder(shape, (6, 5)),
    "gated": lambda shape: MLPEncoder(shape, (6, 5), gated=True),
    "linear": lambda shape: MLPEncoder(shape, ()),
    "conv": lambda shape: ConvEncoder(shape, (4, 3)),
    "residual": lambda shape: generic(ResidualEncoder(shape, (4, 3))),
}
DECODERS = {
    "mlp": lambda shape, outputs: MLPDecoder(2, shape, outputs, (6, 5)),
    "gated": lambda shape, outputs: MLPDecoder(2, shape, outputs, (6, 5), gated=True),
    "linear": lambda shape, outputs: MLPDecoder(2, shape, outputs, ()),
    "conv": lambda shape, outputs: ConvDecoder(2, shape, outputs, (4, 3)),
    "residual": lambda shape, outputs: generic(ResidualDecoder(2, shape, outputs, (4, 3))),
}
# Convolutions of another batch size may add up in another order.
REORDERED = {"rtol": 1e-9, "atol": 1e-9}


@torch.no_grad()
def assert_batches_are_independent(network: nn.Module, x: Tensor) -> None:
    """A network sees each of ``(2, 3, *event)`` by itself, whatever surrounds it."""
    together = network.double()(x)
    alone = torch.stack([torch.stack([network(datum) for datum in row]) for row in x])
    torch.testing.assert_close(together, alone, **REORDERED)
    torch.testing.assert_close(network(x[:, [2, 0, 1]]), together[:, [2, 0, 1]], **REORDERED)


@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS.keys())
@pytest.mark.parametrize("shape", SHAPES)
def test_an_encoder_sees_each_datum_by_itself(make: Any, shape: tuple[int, ...]) -> None:
    encoder = make(shape)
    x = torch.randn(2, 3, *shape).double()
    assert_batches_are_independent(encoder, x)
    assert encoder(x).shape == (2, 3, encoder.features)


@pytest.mark.parametrize("make", DECODERS.values(), ids=DECODERS.keys())
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_decoder_sees_each_code_by_itself(
    make: Any, shape: tuple[int, ...], outputs: int
) -> None:
    decoder = make(shape, outputs)
    z = torch.randn(2, 3, 2).double()
    assert_batches_are_independent(decoder, z)
    assert decoder(z).shape == (2, 3, outputs, *shape)


@pytest.mark.parametrize("network", [MLPEncoder, ConvEncoder, ResidualEncoder])
def test_an_encoder_sees_intensities_in_units_of_the_largest(network: type[Any]) -> None:
    counts, units = network((1, 8, 8), (4,), levels=16.0), network((1, 8, 8), (4,))
    units.load_state_dict(counts.state_dict())
    x = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(counts(16 * x), units(x))


@pytest.mark.parametrize("shape", [(64,), (1, 3, 9)])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (ConvEncoder, "conv"),
        (lambda s, w: ConvDecoder(2, s, 1, w), "conv"),
        (ResidualEncoder, "residual"),
        (lambda s, w: ResidualDecoder(2, s, 1, w), "residual"),
    ],
)
def test_convolutions_of_what_is_no_image_or_too_small_are_refused(
    make: Any, kind: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(SpecError, match=f"'{kind}' network"):
        make(shape, (4, 4, 4))


def test_a_scale_never_falls_below_its_floor() -> None:
    raw = torch.tensor([-1e30, -1e4, -20.0, 0.0, 20.0, 1e4])
    assert (positive(raw) >= SCALE_FLOOR).all()
    assert positive(raw[:1]) == SCALE_FLOOR


@pytest.mark.parametrize("scale", [1.1e-5, 1e-4, 0.1, 1.0, 30.0, 1e4])
def test_raw_scale_is_the_inverse_of_positive(scale: float) -> None:
    raw = torch.tensor(raw_scale(scale), dtype=torch.float64)
    assert positive(raw).item() == pytest.approx(scale, rel=1e-9)


@pytest.mark.parametrize("value", [1.1e-5, 1e-4, 0.1, 1.0, 30.0, 1e4])
def test_raw_positive_is_the_inverse_of_positive(value: float) -> None:
    values = torch.tensor([value], dtype=torch.float64)
    torch.testing.assert_close(positive(raw_positive(values)), values, rtol=1e-9, atol=0)
    assert raw_positive(values).item() == pytest.approx(raw_scale(value), rel=1e-9)


@pytest.mark.parametrize("scale", [SCALE_FLOOR, 0.0, -1.0, math.nan])
def test_a_scale_that_is_not_above_the_floor_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="must be above"):
        raw_scale(scale)


@pytest.mark.parametrize("kind", ["mlp", "conv", "residual"])
def test_an_encoder_of_logarithms_sees_the_order_of_magnitude(kind: str) -> None:
    """Its features are those of the same network for the logarithms."""
    shape = (1, 8, 8)
    keys = {"kind": kind, "widths": [4], "inputs": "log1p"}
    spec: Any = TypeAdapter(EncoderSpec).validate_python(keys)
    encoder = build_encoder(spec, shape, levels=1000.0)
    x = torch.poisson(torch.full((3, *shape), 50.0))
    features = encoder(x)
    encoder.inputs, encoder.levels = "scaled", 1.0
    torch.testing.assert_close(features, encoder(x.log1p()))
