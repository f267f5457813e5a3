"""From specifications to parts: a ``match`` for each role, and no registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import torch
from torch import Tensor

from pyrovae.autoencoder import Declaration
from pyrovae.data import Splits, load_data
from pyrovae.data.contract import Contract
from pyrovae.errors import SpecError
from pyrovae.guides import DiagonalGuide, FullRankGuide, Guide
from pyrovae.likelihoods import (
    BernoulliLikelihood,
    BinomialLikelihood,
    Likelihood,
    NormalLikelihood,
)
from pyrovae.networks import ConvDecoder, ConvEncoder, Decoder, Encoder, MLPDecoder, MLPEncoder
from pyrovae.priors import MixturePrior, NormalPrior, Prior, VampPrior
from pyrovae.randomness import seeded
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.files import find, read
from pyrovae.specs.inference import DiagonalGuideSpec, FullRankGuideSpec, GuideSpec
from pyrovae.specs.model import (
    BernoulliLikelihoodSpec,
    BinomialLikelihoodSpec,
    LikelihoodSpec,
    MixturePriorSpec,
    NormalLikelihoodSpec,
    NormalPriorSpec,
    PriorSpec,
    VampPriorSpec,
)
from pyrovae.specs.networks import ConvSpec, MirrorSpec, MLPSpec, NetworkSpec
from pyrovae.specs.resolve import resolve_inference, resolve_model
from pyrovae.vae import VAE


def build(
    model: str | Path | ModelSpec = "vae",
    inference: str | Path | InferenceSpec = "svi",
    data: Splits | None = None,
) -> VAE:
    """The autoencoder that two specifications declare for some data.

    Parameters start from the inference specification's seed; the caller's random stream is
    left as it was.

    Args:
        model: A specification, its file, or the name of one in ``models/``.
        inference: A specification, its file, or the name of one in ``inference/``.
        data: What it is for: gives the shape, and where a VampPrior starts. scikit-learn's
            digits by default.

    Raises:
        SpecError: A specification that cannot be read, or parts that do not fit.

    Example:
        >>> vae = build("mixture", "full_rank")
        >>> vae.formulas().guide
        'Normal(loc(x), L(x) L(x)ᵀ)'
    """
    if data is None:
        data = load_data("digits")
    if not isinstance(model, ModelSpec):
        model = read(find(str(model), "models"), ModelSpec)
    if not isinstance(inference, InferenceSpec):
        inference = read(find(str(inference), "inference"), InferenceSpec)
    seen = contract(model).apply(data).train
    model = resolve_model(model, seen.levels)
    declaration = Declaration(
        model, resolve_inference(inference, model), tuple(seen.shape), seen.levels
    )
    with seeded(inference.seed):
        count = model.prior.pseudo_inputs if isinstance(model.prior, VampPriorSpec) else 0
        examples = seen.batch(torch.randint(len(seen), (count,), device=seen.rows.device))
        return declared(declaration, examples.cpu())


def declared(declaration: Declaration, pseudo_inputs: Tensor | None = None) -> VAE:
    """The autoencoder of resolved specifications and a known shape of data.

    Args:
        declaration: What to build.
        pseudo_inputs: Where a VampPrior starts; zeros by default, to be loaded over.
    """
    model, inference, shape, levels = declaration
    likelihood = build_likelihood(model.likelihood, shape)
    encoder_spec = inference.guide.encoder
    if isinstance(encoder_spec, MirrorSpec):
        raise SpecError("an encoder of kind 'mirror' must be resolved before it is built")
    vae = VAE(
        prior=build_prior(model.prior, model.latent_dim, shape, levels, pseudo_inputs),
        decoder=build_decoder(model.decoder, model.latent_dim, shape, likelihood.outputs),
        likelihood=likelihood,
        guide=build_guide(
            inference.guide, build_encoder(encoder_spec, shape, levels or 1.0), model.latent_dim
        ),
    )
    vae.contract = contract(model)
    vae.declaration = declaration
    return vae


def contract(model: ModelSpec) -> Contract:
    """How the model wants its data."""
    return Contract(model.binarisation, isinstance(model.likelihood, NormalLikelihoodSpec))


def build_prior(
    spec: PriorSpec,
    latent_dim: int,
    shape: Sequence[int],
    levels: float | None,
    pseudo_inputs: Tensor | None,
) -> Prior:
    """p(z)."""
    match spec:
        case NormalPriorSpec():
            return NormalPrior(latent_dim)
        case MixturePriorSpec():
            return MixturePrior(latent_dim, spec.components)
        case VampPriorSpec():
            if pseudo_inputs is None:
                pseudo_inputs = torch.zeros(spec.pseudo_inputs, *shape)
            return VampPrior(latent_dim, pseudo_inputs, levels)
        case _:
            assert_never(spec)


def build_likelihood(spec: LikelihoodSpec, shape: Sequence[int]) -> Likelihood:
    """p(x | z), given the decoder's outputs."""
    match spec:
        case BernoulliLikelihoodSpec():
            return BernoulliLikelihood(shape)
        case BinomialLikelihoodSpec():
            if spec.total_count == "data":
                raise SpecError("model.likelihood.total_count must be resolved to a number")
            return BinomialLikelihood(shape, spec.total_count)
        case NormalLikelihoodSpec():
            return NormalLikelihood(shape, spec.noise, spec.scale)
        case _:
            assert_never(spec)


def build_decoder(
    spec: NetworkSpec, latent_dim: int, shape: Sequence[int], outputs: int
) -> Decoder:
    """The network from codes to the likelihood's numbers."""
    match spec:
        case MLPSpec():
            return MLPDecoder(
                latent_dim, shape, outputs, spec.widths, spec.activation, gated=spec.gated
            )
        case ConvSpec():
            return ConvDecoder(latent_dim, shape, outputs, spec.widths, spec.activation)
        case _:
            assert_never(spec)


def build_encoder(spec: NetworkSpec, shape: Sequence[int], levels: float) -> Encoder:
    """The network from data to features."""
    match spec:
        case MLPSpec():
            return MLPEncoder(shape, spec.widths, spec.activation, gated=spec.gated, levels=levels)
        case ConvSpec():
            return ConvEncoder(shape, spec.widths, spec.activation, levels=levels)
        case _:
            assert_never(spec)


def build_guide(spec: GuideSpec, encoder: Encoder, latent_dim: int) -> Guide:
    """q(z | x), given its encoder."""
    match spec:
        case DiagonalGuideSpec():
            return DiagonalGuide(encoder, latent_dim)
        case FullRankGuideSpec():
            return FullRankGuide(encoder, latent_dim)
        case _:
            assert_never(spec)
