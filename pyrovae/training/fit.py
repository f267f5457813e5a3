"""Fit an autoencoder in one call."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from pyrovae.compute.modes import not_in_store
from pyrovae.compute.randomness import seeded
from pyrovae.data import load_data
from pyrovae.errors import SpecError, nearest
from pyrovae.objectives import Objective
from pyrovae.programs.arguments import require_autoencoder, require_shape
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs import InferenceSpec
from pyrovae.specs.computation import Computation
from pyrovae.specs.files import keys_named
from pyrovae.training.loop import Callback, Training
from pyrovae.training.optimisers import MakeOptimiser
from pyrovae.training.progress import ProgressBar, is_watched
from pyrovae.training.records import History

logger = logging.getLogger("pyrovae")


def fit(
    autoencoder: Autoencoder,
    data: Any,
    inference: InferenceSpec | None = None,
    callbacks: Sequence[Callback] | Callback = (),
    computation: Computation | None = None,
    *,
    objective: Objective | None = None,
    optimiser: MakeOptimiser | None = None,
    progress: bool = True,
    **others: Any,
) -> History:
    """Fit an autoencoder; see ``pyrovae.Training`` for the state and for resuming.

    Random numbers come from the specification's seed; the caller's stream is left as it was.
    The autoencoder ends up with its best weights by validation ELBO, or with its last where these
    have a lower loss (see :meth:`Training.conclude`). A fit that went badly is named in a warning
    of the logger "pyrovae": the posterior has collapsed, or the model is worse than before the
    first step.

    Args:
        autoencoder: Autoencoder to fit, in place, on its own device.
        data: The data as loaded, or what :func:`~pyrovae.load_data` takes, such as an array.
        inference: Specification of the inference; by default that which it was built with.
        callbacks: Hooks that training calls, or one.
        computation: Options of compilation and precision.
        objective: An objective of yours, in place of the specification's.
        optimiser: Function that makes one of ``torch.optim``'s optimisers from the parameters, in
            place of the specification's; its learning rates follow the specification's schedule.
        progress: Draw a progress bar, in a notebook or where stderr is a terminal.
        others: None; options of another name are refused, with the place where they are set.

    Returns:
        Training and validation records, epoch by epoch; a list that a notebook shows as curves,
        with ``frame()`` for a table of pandas.

    Raises:
        DivergenceError: The loss or a gradient is not finite.
        DataError: The data have another shape than those that the autoencoder was built for.
        SpecError: These programs do not permit the objective, or something is no callback, no
            objective or no optimiser, or no option of ``fit``.

    Example:
        >>> from pyrovae import InferenceSpec, build, load_data
        >>> data = load_data("digits")
        >>> vae = build("vae", "svi", data)
        >>> history = fit(vae, data, InferenceSpec(epochs=2))
        >>> [(record.epoch, record.split) for record in history]
        [(1, 'train'), (1, 'validation'), (2, 'train'), (2, 'validation')]
    """
    require_autoencoder("fit(vae, data)", autoencoder)
    for name, value in others.items():
        raise SpecError(f"fit has no option '{name}'; {_where_set(name, value)}")
    if inference is not None and not isinstance(inference, InferenceSpec):
        raise SpecError(
            f"fit(vae, data, {inference!r}): the third argument is an InferenceSpec, as in "
            f"fit(vae, data, InferenceSpec(epochs=3)); {_SET}"
        )
    callbacks = [callbacks] if isinstance(callbacks, Callback | str) else callbacks
    declaration = autoencoder.declaration
    declared = autoencoder.inference if declaration is None else declaration.inference
    spec = inference or declared or InferenceSpec()
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise SpecError(
                f"{callback!r} is no callback: give an object of a subclass of "
                "pyrovae.Callback, with on_step or on_epoch_end"
            )
    if computation is not None and not isinstance(computation, Computation):
        raise SpecError(
            f"computation = {computation!r}: give pyrovae.Computation(compile='on') or the like"
        )
    if objective is not None and not isinstance(objective, Objective):
        raise SpecError(
            f"objective = {objective!r} is not an objective: give an instance of a subclass of "
            "pyrovae.objectives.bound.Bound, or call Pyro's SVI with vae.model and vae.guide"
        )
    data = load_data(data)
    require_shape(autoencoder, data)
    device = autoencoder.device
    bars = [ProgressBar()] if progress and is_watched() else []
    with seeded(spec.seed, device), not_in_store(autoencoder):
        training = Training(autoencoder, data, spec, computation, objective, optimiser)
        try:
            history = training.run([*callbacks, *bars])
        finally:  # also where the loss is not finite
            for bar in bars:
                bar.close()
        training.conclude()
    history.kept = training.kept.epoch
    for warning in training.warnings:
        logger.warning("%s; %s", warning.finding, warning.advice)
    return history


_SET = 'or build(..., {"inference.epochs": 3}) and fit(vae, data)'
_OPTIONS = ("inference", "callbacks", "computation", "objective", "optimiser", "progress")
_ELSEWHERE = {
    "device": 'move the autoencoder first: vae.to("cuda")',
    "verbose": "progress=False draws no bar",
}


def _where_set(name: str, value: Any) -> str:
    """The end of a sentence: the place where an option of another name is set."""
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    word = "learning_rate" if name == "lr" else name
    keys = [key for key in keys_named(word) if key.startswith("inference.")]
    if not keys:
        return nearest(name, _OPTIONS)
    own = f"fit(vae, data, InferenceSpec({name}={value!r})) or "
    return (
        f"set it by {own if keys[0].count('.') == 1 else ''}build(..., {{'{keys[0]}': {value!r}}})"
    )
