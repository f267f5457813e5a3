"""Arguments of the functions that take an autoencoder and data in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from pyrovae.data import Dataset, Splits
from pyrovae.errors import DataError, SpecError, nearest
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs import InferenceSpec

P = ParamSpec("P")
R = TypeVar("R")


def options_checked(function: Callable[P, R], name: str = "") -> Callable[P, R]:
    """Refuse options that a function does not have, with the one that is probably meant.

    Args:
        function: The function.
        name: Its name in messages; by default its own.
    """
    names = [each for each in signature(function).parameters if each != "self"]

    @wraps(function)
    def checked(*arguments: P.args, **options: P.kwargs) -> R:
        for option in options:
            if option not in names:
                raise SpecError(
                    f"{name or function.__name__} has no option '{option}'; "
                    f"{nearest(option, names)}"
                )
        return function(*arguments, **options)

    return checked


def require_autoencoder(call: str, autoencoder: Any) -> None:
    """Refuse a first argument that is no autoencoder.

    Args:
        call: The function with its arguments in order, such as ``fit(vae, data)``.
        autoencoder: What it was given first.

    Raises:
        SpecError: It is something else.
    """
    if not isinstance(autoencoder, Autoencoder):
        raise SpecError(
            f"{call}: the first argument is of type {type(autoencoder).__name__}: give an "
            "autoencoder first, as build(...) or load(...) returns"
        )


def require_shape(autoencoder: Autoencoder, data: Splits) -> None:
    """Refuse data of another shape than those that the autoencoder was built for.

    Raises:
        DataError: Names both shapes.
    """
    shape, expected = tuple(data.train.shape), autoencoder.shape
    if expected is not None and shape != expected:
        raise DataError(
            f"{data.name} has observations of shape {shape}, and the model was built for "
            f"{expected}: build one for these data, as in build('vae', 'svi', data)"
        )


def split_of(call: str, autoencoder: Any, data: Any) -> Dataset:
    """The observations to look at, as the model sees them; of splits the test data.

    Args:
        call: As for :func:`require_autoencoder`.
        autoencoder: Model and guide.
        data: Splits, one split, an array, a tensor or a DataFrame.

    Raises:
        SpecError: The first argument is no autoencoder.
        DataError: The data are of another kind or shape, or not as the model sees them.
    """
    require_autoencoder(call, autoencoder)
    return autoencoder.split(data.test if isinstance(data, Splits) else data)


def require_models(call: str, models: Any) -> None:
    """Refuse a first argument that is no dictionary of autoencoders.

    Args:
        call: As for :func:`require_autoencoder`.
        models: What it was given first.

    Raises:
        SpecError: It is something else, or empty.
    """
    if not isinstance(models, Mapping):
        raise SpecError(
            f"{call}: the first argument is of type {type(models).__name__}: give a dictionary of "
            "autoencoders, each with its name or β as the key"
        )
    for key, model in models.items():
        if not isinstance(model, Autoencoder):
            raise SpecError(
                f"{call}: models[{key!r}] is of type {type(model).__name__}: give an autoencoder, "
                "as build(...) or load(...) returns"
            )
    if not models:
        raise SpecError(f"{call}: there is no model to compare: give one or more")


def require_inference(call: str, spec: Any) -> None:
    """Refuse a first argument that is no specification of an inference.

    Raises:
        SpecError: It is something else.
    """
    if not isinstance(spec, InferenceSpec):
        raise SpecError(
            f"{call}: the first argument is of type {type(spec).__name__}: give an InferenceSpec, "
            "such as InferenceSpec(epochs=20)"
        )


def require_splits(call: str, data: Any) -> None:
    """Refuse data that are not all three splits.

    Raises:
        DataError: They are something else.
    """
    if not isinstance(data, Splits):
        raise DataError(
            f"{call}: data of type {type(data).__name__}: give the training, validation and test "
            "data together, as load_data(...) returns them"
        )
