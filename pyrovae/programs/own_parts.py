"""Parts of a user's own in place of declared ones, each tried once before it is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import nn

from pyrovae.compute.modes import evaluation_mode
from pyrovae.errors import PyrovaeError, SpecError, nearest, reason
from pyrovae.parts.families import Family
from pyrovae.parts.guides import Guide
from pyrovae.parts.likelihoods import Likelihood
from pyrovae.parts.priors import Prior
from pyrovae.programs.autoencoder import Declaration
from pyrovae.programs.vae import VAE
from pyrovae.specs.files import keys_named
from pyrovae.specs.own import OwnSpec


class Parts(NamedTuple):
    """Parts of a user's own, in place of declared ones."""

    prior: Prior | None = None
    decoder: nn.Module | None = None
    likelihood: Likelihood | None = None
    encoder: nn.Module | None = None
    guide: Guide | None = None


DECLARED = Parts()
"""No parts of a user's own."""

PLACES = {
    "prior": "prior",
    "decoder": "decoder",
    "likelihood": "likelihood",
    "encoder": "posterior.encoder",
    "guide": "posterior",
}
"""Where an autoencoder has them."""

_KINDS = {
    "prior": Prior,
    "decoder": nn.Module,
    "likelihood": Likelihood,
    "encoder": nn.Module,
    "guide": Guide,
}
_ATTRIBUTES = {
    Prior: {"latent_dim": "length of the latent", "formula": "density in words"},
    Likelihood: {
        "outputs": "number of decoder outputs for each value",
        "formula": "density in words",
        "advice": "data that it takes, in words",
    },
    Family: {
        "features": "length of the features, set by super().__init__(features, dims)",
        "dims": "length of the latent, set by super().__init__(features, dims)",
        "formula": "density in words",
    },
}


def require_part_names(parts: Mapping[str, Any]) -> None:
    """Refuse arguments that name no part.

    Raises:
        SpecError: Names the key that sets it, or the nearest part.
    """
    for name, value in parts.items():
        if name not in Parts._fields:
            keys = keys_named(name)
            where = f"set it by build(..., {{'{keys[0]}': {value!r}}})" if keys else ""
            raise SpecError(f"there is no part '{name}'; {where or nearest(name, Parts._fields)}")


def own_parts(parts: Mapping[str, Any]) -> Parts:
    """The parts, each of its kind and with its attributes.

    Raises:
        SpecError: One is of another kind, or lacks an attribute.
    """
    for name, part in parts.items():
        kind = _KINDS[name]
        if isinstance(part, type) and issubclass(part, kind):
            raise SpecError(f"{name} = {part.__name__} is a class: give an instance of it")
        if not isinstance(part, kind):
            raise SpecError(
                f"{name} = {part!r} is not a part of that kind: give an instance of a subclass "
                f"of {kind.__module__}.{kind.__name__}"
            )
        require_attributes(name, part)
    return Parts(**parts)


def own_names(declaration: Declaration, parts: Parts) -> list[str]:
    """Names of the parts that are a user's own: given, or named as classes."""
    model, guide = declaration.model, declaration.inference.guide
    declared = {
        "prior": model.prior,
        "decoder": model.decoder,
        "likelihood": model.likelihood,
        "encoder": guide.encoder,
        "guide": guide,
    }
    return [
        name
        for name, given in parts._asdict().items()
        if given is not None or isinstance(declared[name], OwnSpec)
    ]


def try_once(vae: VAE, own: Sequence[str], shape: Sequence[int]) -> None:
    """Run each part of a user's own once, and refuse results of other kinds or shapes.

    Args:
        vae: The autoencoder that is made of them.
        own: Names of those that are a user's own.
        shape: Shape of one observation.

    Raises:
        SpecError: Names the part and what it should return.
    """
    latent, event = (vae.prior.latent_dim,), tuple(shape)
    outputs = (2, vae.likelihood.outputs, *event)
    with torch.no_grad(), evaluation_mode(vae):
        if "guide" in own:
            x = torch.zeros(2, *event)
            _distribution("guide", lambda: vae.posterior(x), (2,), latent)
        if "prior" in own:
            _distribution("prior", lambda: vae.prior(vae.posterior), (), latent)
        if "decoder" in own or "likelihood" in own:
            found = _called("decoder", lambda: vae.decoder(torch.randn(2, *latent)))
            if getattr(found, "shape", None) != outputs:
                raise SpecError(
                    f"the decoder returns {_described(found)} for two latents: return outputs of "
                    f"shape {outputs}"
                )
            if "likelihood" in own:
                _distribution("likelihood", lambda: vae.likelihood(found), (2,), event)


def require_attributes(name: str, part: Any) -> None:
    """Refuse a part that lacks an attribute of its kind.

    Raises:
        SpecError: Names the attribute, and what it says.
    """
    for kind, attributes in _ATTRIBUTES.items():
        for attribute, meaning in attributes.items():
            if isinstance(part, kind) and not hasattr(part, attribute):
                raise SpecError(
                    f"the {name} {type(part).__name__} has no attribute '{attribute}': set it to "
                    f"the {meaning}"
                )


def _distribution(
    name: str, call: Callable[[], Any], batch: tuple[int, ...], event: tuple[int, ...]
) -> None:
    """Refuse what is no distribution of Pyro with these shapes."""
    found = _called(name, call)
    if not isinstance(found, TorchDistributionMixin):
        what = "distribution of torch" if hasattr(found, "log_prob") else _described(found)
        raise SpecError(
            f"the {name} returns a {what}: return a distribution of pyro.distributions, with "
            f"batch shape {batch} and event shape {event}"
        )
    shapes = tuple(found.batch_shape), tuple(found.event_shape)
    if shapes != (batch, event):
        hint = f", as by .to_event({len(event)})" if sum(shapes, ()) == batch + event else ""
        raise SpecError(
            f"the {name} returns a distribution of batch shape {shapes[0]} and event shape "
            f"{shapes[1]}: return batch shape {batch} and event shape {event}{hint}"
        )


def _called(name: str, call: Callable[[], Any]) -> Any:
    """Call a part, and let its errors name it."""
    try:
        return call()
    except PyrovaeError:
        raise
    except Exception as error:  # a user's part
        raise SpecError(f"the {name} fails: {reason(error)}") from error


def _described(found: Any) -> str:
    shape = getattr(found, "shape", None)
    return type(found).__name__ if shape is None else f"tensor of shape {tuple(shape)}"
