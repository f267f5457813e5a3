"""Warnings about fits that go badly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs import InferenceSpec
from pyrovae.specs.inference import ConstantBetaSpec, LinearBetaSpec
from pyrovae.specs.objectives import ELBOSpec

Kind = Literal["posterior_collapse", "worse_than_untrained"]


@dataclass(frozen=True)
class FitWarning:
    """A warning: finding, numbers and advice.

    Attributes:
        kind: Kind of the problem.
        epoch: Finished epochs when it was noticed.
        numbers: Evidence, in nats per observation unless the name says otherwise.
        finding: The evidence in words.
        advice: Remedies to try.
    """

    kind: Kind
    epoch: int
    numbers: dict[str, float]
    finding: str
    advice: str


def posterior_collapse(
    autoencoder: Autoencoder, spec: InferenceSpec, epoch: int, epochs: int, nats: float
) -> FitWarning:
    """Warning of a posterior collapse, from the nats of the latest epochs."""
    return FitWarning(
        "posterior_collapse",
        epoch,
        {"epochs": float(epochs), "nats": nats},
        f"the posterior has collapsed: for {epochs} epochs the latents have had at most "
        f"{nats:.2g} nats of information on an observation, and the decoder ignores them",
        f"unless there is no structure in the data to be found, try {_instead(autoencoder, spec)}",
    )


def worse_than_untrained(
    spec: InferenceSpec, epoch: int, elbo: float, untrained: float, *, loss_fell: bool = False
) -> FitWarning:
    """Warning of weights that are worse than the initial ones."""
    rate = spec.optimiser.learning_rate
    clip = (
        "inference.clip_norm = 1"
        if spec.clip_norm is None
        else f"a lower inference.clip_norm than {spec.clip_norm:g}"
    )
    return FitWarning(
        "worse_than_untrained",
        epoch,
        {"elbo": elbo, "elbo_untrained": untrained},
        f"training has made the model worse: ELBO {nats(elbo)} at epoch {epoch}, "
        f"{nats(untrained)} before the first step",
        "the loss fell with the ELBO: look at the sign of the objective"
        if loss_fell
        else f"try a lower inference.optimiser.learning_rate than {rate:g}, or {clip}",
    )


def nats(value: float) -> str:
    """A number of nats, formatted with readable digits.

    Example:
        >>> nats(-98.853), nats(-3.1e29)
        ('-98.85', '-3.1e+29')
    """
    return f"{value:.2f}" if abs(value) < 1e7 else f"{value:.3g}"


def _instead(autoencoder: Autoencoder, spec: InferenceSpec) -> str:
    """Remedies for a posterior collapse that are not in use yet."""
    options = []
    if spec.beta.value > 1:
        options.append(f"a smaller inference.beta.value than {spec.beta.value:g}")
    if isinstance(spec.beta, ConstantBetaSpec):
        options.append("a KL weight that rises from zero (inference.beta.kind = 'linear')")
    elif isinstance(spec.beta, LinearBetaSpec):
        options.append(f"more inference.beta.warmup_epochs than {spec.beta.warmup_epochs:g}")
    if isinstance(spec.objective, ELBOSpec):
        options.append("a KL that is free up to a floor (inference.objective.kind = 'free_bits')")
    declaration = autoencoder.declaration
    if declaration is None:
        options += [
            "a decoder that can do less without the latents, and that does not start at the mean "
            "of the data"
        ]
    else:
        if declaration.model.output_bias == "data_mean":
            options.append("model.output_bias = 'random'")
        options.append("a smaller decoder (model.decoder.widths)")
    return f"{'; '.join(options[:-1])}; or {options[-1]}" if len(options) > 1 else options[0]
