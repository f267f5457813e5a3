"""Construction of an autoencoder from two specifications."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.compute.randomness import seeded
from pyrovae.data import Dataset, Splits, load_data
from pyrovae.data.batch import X_KNOWN
from pyrovae.data.contract import Contract
from pyrovae.errors import SpecError
from pyrovae.parts.guides.building import build_guide
from pyrovae.parts.likelihoods.building import build_likelihood
from pyrovae.parts.likelihoods.location_scale import LocationScaleLikelihood
from pyrovae.parts.networks import Decoder, Encoder
from pyrovae.parts.networks.building import build_decoder, build_encoder
from pyrovae.parts.networks.module import as_decoder, as_encoder
from pyrovae.parts.priors.building import build_prior
from pyrovae.parts.standardisation import Standardisation
from pyrovae.programs.autoencoder import Declaration, Seen
from pyrovae.programs.handwritten import Handwritten
from pyrovae.programs.memory import require_memory
from pyrovae.programs.own_parts import (
    DECLARED,
    PLACES,
    Parts,
    own_names,
    own_parts,
    require_attributes,
    require_part_names,
    try_once,
)
from pyrovae.programs.vae import VAE
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.files import find
from pyrovae.specs.model import OutputBias
from pyrovae.specs.networks import MirrorSpec
from pyrovae.specs.priors import VampPriorSpec
from pyrovae.specs.program import ProgramSpec
from pyrovae.specs.resolve import choose_likelihood, resolve_inference, resolve_model
from pyrovae.specs.settings import Settings, in_python, require_settings, set_inference, set_model


def build(
    model: str | Path | ModelSpec | ProgramSpec = "vae",
    inference: str | Path | InferenceSpec = "svi",
    data: Any = "digits",
    settings: Settings | None = None,
    **parts: Any,
) -> VAE | Handwritten:
    """Build the autoencoder that two specifications declare for some data.

    Parameters are initialised from the inference specification's seed; the caller's random stream
    is left as it was.

    Args:
        model: A specification, its file, or the name of one in ``models/``; or the file of a
            program by hand.
        inference: A specification, its file, or the name of one in ``inference/``.
        data: Data set, or what :func:`~pyrovae.load_data` takes, such as an array; gives the
            shape, the units and the start of a VampPrior.
        settings: Values of keys, as in ``{"model.latent_dim": 2}``.
        parts: Parts of your own in place of declared ones: a ``prior``, ``likelihood`` or
            ``guide``; any module as ``decoder``, from ``(batch, latent_dim)`` to the likelihood's
            outputs, or as ``encoder``, from data over their largest intensity to features. The
            declared guide is made for that encoder. The latent dimension is that of a prior or
            guide of yours, if ``settings`` have none. Each is tried once.

    Raises:
        SpecError: A specification cannot be read, or parts do not fit.

    Example:
        >>> vae = build("mixture", "full_rank", settings={"model.latent_dim": 2})
        >>> vae.formulas().guide
        'Normal(loc(x), L(x) L(x)ᵀ)'
    """
    require_part_names(parts)
    _require_kind("model", model, (str, Path, ModelSpec, ProgramSpec))
    _require_kind("inference", inference, (str, Path, InferenceSpec))
    with in_python():
        settings = require_settings(settings)
        if isinstance(model, (str, Path)):
            model = find(str(model), "models")
        model = set_model(model, settings)
        if not isinstance(inference, InferenceSpec):
            inference = find(str(inference), "inference")
        inference = set_inference(inference, settings)
    own = own_parts(parts)
    data = load_data(data)
    if isinstance(model, ProgramSpec):
        if parts:
            raise SpecError(f"{next(iter(parts))}: a program has its own parts: change its file")
        with seeded(inference.seed):
            program = Handwritten(model, data)
        program.inference = inference
        return program
    if "model.latent_dim" not in settings:  # then that of a part of one's own
        model = _in_length(model, own)
    return _made_of_parts(model, inference, data, own)


def _require_kind(name: str, given: Any, kinds: tuple[type, ...]) -> None:
    """Refuse a model or an inference that is something else, such as data.

    Raises:
        SpecError: Says the order of the arguments.
    """
    if not isinstance(given, kinds):
        raise SpecError(
            f"build(model, inference, data): the {name} is of type {type(given).__name__}: give "
            "its name, file or specification, as in build('vae', 'svi', data)"
        )


def _in_length(model: ModelSpec, parts: Parts) -> ModelSpec:
    """The specification with the latent dimension of a prior or guide of a user's own."""
    part = parts.prior or parts.guide
    if part is None:
        return model
    return model.model_copy(update={"latent_dim": part.latent_dim})


def _made_of_parts(model: ModelSpec, inference: InferenceSpec, data: Splits, parts: Parts) -> VAE:
    """Build an autoencoder from the parts that specifications declare, and from others."""
    likelihood, reason = choose_likelihood(model, data.train.shape, data.train.levels)
    model = model.model_copy(update={"likelihood": likelihood})
    seen = contract(model).apply(data).train
    model = resolve_model(model, seen.levels, lambda: seen.mean().sum().item())
    declaration = Declaration(
        model,
        resolve_inference(inference, model),
        tuple(seen.shape),
        seen.levels,
        seen.columns,
        seen.transforms,
    )
    if not own_names(declaration, parts):
        sizes = (model.model_dump(), inference.guide.model_dump(), tuple(seen.shape))
        require_memory(lambda: declared(declaration), sizes)
    with seeded(inference.seed):
        count = model.prior.pseudo_inputs if isinstance(model.prior, VampPriorSpec) else 0
        examples = seen.batch(torch.randint(len(seen), (count,), device=seen.rows.device)).x
        vae = declared(declaration, examples.cpu(), parts)
    if any(parts):
        vae.declaration, vae.inference = None, declaration.inference
    else:
        vae.likelihood_reason = reason
    _start(vae, seen, model.output_bias)
    return vae


def _start(vae: VAE, data: Dataset, output_bias: OutputBias) -> None:
    """Set units, and the last bias if requested, from the training data.

    References:
        Burda et al. (2016), *Importance Weighted Autoencoders*, arXiv:1509.00519, in whose
        published code the last bias starts at the mean.
    """
    likelihood, decoder = vae.likelihood, vae.decoder
    if isinstance(likelihood, LocationScaleLikelihood) and likelihood.standardisation is not None:
        likelihood.standardisation.fit(data.mean(), data.deviation())
    if output_bias == "data_mean":
        decoder.start_at(likelihood.outputs_at(decoder.pooled(data.mean().cpu())))


def declared(
    declaration: Declaration, pseudo_inputs: Tensor | None = None, parts: Parts = DECLARED
) -> VAE:
    """Build the autoencoder of resolved specifications and a known shape of data.

    Args:
        declaration: Specifications and shape.
        pseudo_inputs: Initial pseudo-inputs of a VampPrior; zeros by default, to be overwritten by
            loaded weights.
        parts: Parts in place of declared ones.

    Raises:
        SpecError: Parts do not fit.
    """
    model, inference, shape, levels, columns, transforms = declaration
    own = own_names(declaration, parts)
    likelihood = parts.likelihood or build_likelihood(model.likelihood, shape)
    require_attributes("likelihood", likelihood)
    # One after the other, so that a seed gives the same weights as ever.
    prior = parts.prior or build_prior(model.prior, model.latent_dim, shape, levels, pseudo_inputs)
    require_attributes("prior", prior)
    decoder = _decoder(parts.decoder, declaration, likelihood.outputs)
    encoder = _encoder(parts.encoder, declaration)
    if parts.guide is not None:
        parts.guide.take_data(shape, levels or 1.0)
    guide = parts.guide or build_guide(inference.guide, encoder, model.latent_dim)
    require_attributes("guide's family", guide.family)
    if isinstance(likelihood, LocationScaleLikelihood):
        units = Standardisation(shape, likelihood.unit)
        likelihood.standardisation = guide.encoder.standardisation = units
        guide.encoder.levels = 1.0
    vae = VAE(prior=prior, decoder=decoder, likelihood=likelihood, guide=guide)
    vae.own_parts = tuple(PLACES[name] for name in own)
    try_once(vae, own, shape)
    vae.contract = replace(contract(model), columns=columns, transforms=transforms)
    vae.declaration, vae.seen = declaration, Seen(shape, levels)
    return vae


def _decoder(own: nn.Module | None, declaration: Declaration, outputs: int) -> Decoder:
    model, shape = declaration.model, declaration.shape
    if own is None:
        return build_decoder(model.decoder, model.latent_dim, shape, outputs)
    return as_decoder(own, model.latent_dim, outputs, shape)


def _encoder(own: nn.Module | None, declaration: Declaration) -> Encoder:
    shape, levels = declaration.shape, declaration.levels
    spec = declaration.inference.guide.encoder
    if isinstance(own, Encoder):
        return own
    if isinstance(spec, MirrorSpec):
        raise SpecError("an encoder of kind 'mirror' must be resolved before it is built")
    if own is None:
        return build_encoder(spec, shape, levels or 1.0)
    encoder = as_encoder(own, shape, levels or 1.0)
    encoder.inputs = spec.inputs
    return encoder


def contract(model: ModelSpec) -> Contract:
    """Contract between the model and its data, as far as the model says."""
    return Contract(model.binarisation, model.likelihood.interval, optional=(X_KNOWN,))
