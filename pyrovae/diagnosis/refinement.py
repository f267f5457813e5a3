"""Refinement of the guide of a fitted autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pyrovae.compute.modes import not_in_store
from pyrovae.data import Splits, load_data
from pyrovae.diagnosis.agreement import Agreement, Until, agreement, is_point, likeness
from pyrovae.errors import SpecError
from pyrovae.programs.arguments import require_autoencoder
from pyrovae.programs.autoencoder import Autoencoder, Declaration
from pyrovae.programs.building import build
from pyrovae.programs.starting import start_from
from pyrovae.specs import InferenceSpec
from pyrovae.training.fit import fit
from pyrovae.training.loop import Callback, Training
from pyrovae.training.records import History
from pyrovae.training.refinement import epochs_within, frozen, proposed, refinable, to_measure


class Refined(NamedTuple):
    """An autoencoder with the model of another and a better guide.

    Attributes:
        autoencoder: The same p(x, z), and the new q(z | x).
        history: Records of the fit.
        before: Agreement of the old guide with the posterior, on data from the model; None
            if it was a point.
        after: That of the new one.
    """

    autoencoder: Autoencoder
    history: History
    before: Agreement | None
    after: Agreement


def refine(
    autoencoder: Autoencoder,
    data: Any,
    inference: InferenceSpec | None = None,
    *,
    until: float | Literal["calibrated"] | None = "calibrated",
    minutes: float | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> Refined:
    r"""Fit a better guide to the model of a fitted autoencoder, which stays as it is.

    The guide is fitted to the training data by the ELBO, and to as many draws of the model by
    :math:`-\log q(z \mid x)`, whose mean is :math:`\operatorname{KL}(p, q)` but for a constant.

    Args:
        autoencoder: A fitted autoencoder made of declared parts.
        data: The data that it was fitted to.
        inference: The guide and its fit; by default the flow, mixture or distribution on the
            sphere that is there, or a full-rank normal. It starts as the guide that is there if it
            contains that.
        until: Goal at which the fit ends before its budget: "calibrated", or the largest
            KL(p, q) + KL(q, p) in nats; None for the whole budget. It is judged on data drawn from
            the model.
        minutes: Budget in place of the inference's epochs; by default 5, or these epochs where an
            inference is given.
        callbacks: Hooks that training calls.
        progress: Draw a progress bar, as :func:`pyrovae.fit` does.

    Returns:
        The new autoencoder; the one that was given is not changed.

    Raises:
        SpecError: The autoencoder was not made of declared parts, or its guide is a point.
        DataError: The data have another shape than those that the autoencoder was built for.

    References:
        Hinton et al. (1995), *The Wake-Sleep Algorithm for Unsupervised Neural Networks*;
        Bornschein and Bengio (2015), *Reweighted Wake-Sleep*, arXiv:1406.2751.
    """
    require_autoencoder("refine(vae, data)", autoencoder)
    declaration = autoencoder.declaration
    if declaration is None:
        raise SpecError(
            "refine(vae, data) makes a new guide from a specification, and this autoencoder was "
            "not made from one: fit its own guide by fit(vae, data, InferenceSpec(frozen='model', "
            "simulated={'share': 0.5}))"
        )
    data = load_data(data)
    spec = frozen(inference or proposed(declaration), declaration)
    if minutes is None and inference is None:
        minutes = 5.0
    if minutes is not None:
        measured = to_measure(spec, len(data.train))
        other = _with_guide(autoencoder, declaration, measured, data)
        with not_in_store(other):
            epochs = epochs_within(Training(other, data, measured), 60 * minutes)
        spec = spec.model_copy(update={"epochs": epochs})
    refined = _with_guide(autoencoder, declaration, spec, data)
    like = likeness(refined.contract.apply(data).train, refined.device)
    before = None if is_point(autoencoder, like) else agreement(autoencoder, like)
    goals = [] if until is None else [Until(until)]
    history = fit(refined, data, spec, [*goals, *callbacks], progress=progress)
    return Refined(refined, history, before, agreement(refined, like))


def _with_guide(
    autoencoder: Autoencoder, declaration: Declaration, spec: InferenceSpec, data: Splits
) -> Autoencoder:
    """The model of an autoencoder with another guide, which starts where they agree."""
    other = build(refinable(declaration), spec, data).to(autoencoder.device)
    start_from(other, autoencoder)
    return other
