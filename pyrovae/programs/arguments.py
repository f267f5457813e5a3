"""Arguments of the functions that take an autoencoder and data in Python."""

from __future__ import annotations

from typing import Any

from pyrovae.data import Dataset, Splits
from pyrovae.errors import DataError, SpecError
from pyrovae.programs.autoencoder import Autoencoder


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
