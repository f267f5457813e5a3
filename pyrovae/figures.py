"""Figures of a fitted autoencoder, of its training and of its checks, for notebooks and scripts.

Each function returns a Matplotlib figure: a notebook shows it, ``figure.savefig("name.png")``
writes it. ``data`` are the splits, of which the test data are shown, one split, or an array,
a tensor or a DataFrame of values as the model sees them. ``size`` is width and height in inches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyrovae.data import Batch, Dataset
from pyrovae.data.examples import evenly, pairs_of_data
from pyrovae.diagnosis.diagnosis import Diagnosis
from pyrovae.errors import SpecError, nearest
from pyrovae.evaluation.batches import observations
from pyrovae.exploration.completeness import sample_both
from pyrovae.exploration.interpolation import interpolate
from pyrovae.exploration.manifold import manifold as decoded_plane
from pyrovae.exploration.traversal import traverse
from pyrovae.programs.arguments import split_of
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.report import figures as drawing
from pyrovae.report.figures import completeness as drawing_of_both
from pyrovae.report.figures import interpolations as drawing_of_paths
from pyrovae.report.figures import manifold as drawing_of_plane
from pyrovae.report.figures import traversals as drawing_of_traversals
from pyrovae.report.figures.checks import picture
from pyrovae.report.figures.latent_plane import Colour, draw_latents
from pyrovae.runs.facts import RunFacts
from pyrovae.runs.metrics_file import read_metrics
from pyrovae.training.records import History, Record

Size = tuple[float, float]
FEW = 500
"""Most observations that an analysis is made on."""


def curves(
    history: Sequence[Record | Mapping[str, Any]] | str | Path, *, size: Size | None = None
) -> Figure:
    """ELBO, reconstruction and KL over the epochs, in nats per observation.

    Args:
        history: What ``fit`` returned, or the folder of a run.
        size: Size of the figure.
    """
    _require_size(size)
    if isinstance(history, str | Path):
        weights = RunFacts.read(Path(history)).weights or {}
        drawn = drawing.curves(read_metrics(Path(history)), weights.get("epoch"))
    else:
        _require_records(history)
        drawn = drawing.curves(history, history.kept if isinstance(history, History) else None)
    return _sized(drawn, size)


def reconstructions(autoencoder: Autoencoder, data: Any, *, size: Size | None = None) -> Figure:
    """Observations above their reconstructions, of each class if there are classes."""
    return _sized(
        drawing.reconstructions(autoencoder, _split(autoencoder, data, size)),
        size,
    )


def samples(autoencoder: Autoencoder, data: Any, *, size: Size | None = None) -> Figure:
    """Means of p(x | z) at latents drawn from the prior; of tables, draws from p(x) and data."""
    return _sized(drawing.samples(autoencoder, _split(autoencoder, data, size)), size)


def latents(
    autoencoder: Autoencoder,
    data: Any,
    *,
    size: Size | None = None,
    axes: Axes | None = None,
    colour: Colour | None = None,
) -> Figure:
    """Means of q(z | x) in a plane, coloured by class if there are classes.

    Args:
        autoencoder: Model and guide.
        data: The data.
        size: Size of the figure.
        axes: Axes to draw on; their figure is returned.
        colour: In place of the classes, numbers or labels, one for each observation.

    Raises:
        DataError: ``colour`` has not one value for each observation.
    """
    if axes is None:
        return _sized(drawing.latent(autoencoder, _split(autoencoder, data, size), colour), size)
    draw_latents(axes, autoencoder, _split(autoencoder, data, size), colour)
    return _sized(cast(Figure, axes.figure), size)


def manifold(autoencoder: Autoencoder, data: Any, *, size: Size | None = None) -> Figure:
    """Means of p(x | z) over the plane of two latent dimensions, at quantiles of the prior.

    Raises:
        SpecError: There are not two latent dimensions, or no quantiles are known.
    """
    seen = _split(autoencoder, data, size)
    found = decoded_plane(autoencoder, _batch(autoencoder, seen))
    return _sized(drawing_of_plane.manifold(found, seen), size)


def traversals(
    autoencoder: Autoencoder,
    data: Any,
    *,
    observation: int = 0,
    size: Size | None = None,
) -> Figure:
    """One latent dimension at a time, moved through the quantiles of the prior.

    Args:
        autoencoder: Model and guide.
        data: The data.
        observation: Number of the observation whose latent is moved.
        size: Size of the figure.
    """
    seen = _split(autoencoder, data, size)
    found = traverse(autoencoder, _batch(autoencoder, seen), datum=observation)
    return _sized(drawing_of_traversals.traversals(found, seen), size)


def interpolations(
    autoencoder: Autoencoder, data: Any, *, pairs: int = 6, size: Size | None = None
) -> Figure:
    """Decoded paths between the latents of pairs of observations, of different classes if any.

    Args:
        autoencoder: Model and guide.
        data: The data.
        pairs: Number of pairs.
        size: Size of the figure.
    """
    seen = _split(autoencoder, data, size)
    ends = observations(seen, pairs_of_data(seen, pairs).flatten()).to(autoencoder.device)
    found = interpolate(autoencoder, ends, pairs=pairs)
    return _sized(drawing_of_paths.interpolations(found, seen), size)


def holes(autoencoder: Autoencoder, data: Any, *, size: Size | None = None) -> Figure:
    """Samples from the prior and from the aggregated posterior, and where the two differ."""
    seen = _split(autoencoder, data, size)
    found = sample_both(autoencoder, _batch(autoencoder, seen))
    return _sized(drawing_of_both.samples(found, seen), size)


def check(diagnosis: Diagnosis, question: str, *, size: Size | None = None) -> Figure:
    """The figure of a check of a diagnosis.

    Args:
        diagnosis: Result of ``diagnose``.
        question: Name of the check, such as "calibration" or "prior predictive".
        size: Size of the figure.

    Raises:
        SpecError: There is no such check, it does not apply, or it has no figure.
    """
    if not isinstance(diagnosis, Diagnosis):
        raise SpecError(
            "figures.check(diagnosis, question): the first argument is of type "
            f"{type(diagnosis).__name__}: give what diagnose returned first"
        )
    _require_size(size)
    checks = {found.question: found for found in diagnosis.checks if found.question != "bound"}
    drawn = picture(checks[question], diagnosis) if question in checks else None
    if drawn is None:
        raise SpecError(f"no check '{question}' with a figure; {nearest(question, checks)}")
    return _sized(drawn.figure, size)


def _split(autoencoder: Autoencoder, data: Any, size: Size | None) -> Dataset:
    _require_size(size)
    return split_of("figures take (vae, data)", autoencoder, data)


def _require_size(size: Any) -> None:
    try:
        width, height = (float(length) for length in size or (1, 1))
    except (TypeError, ValueError):
        width = height = 0.0
    if not (width > 0 and height > 0):
        raise SpecError(f"size = {size!r}: give width and height in inches, as in size=(6, 4)")


def _require_records(history: Any) -> None:
    if not isinstance(history, list | tuple) or not all(
        isinstance(record, Record | Mapping) for record in history
    ):
        raise SpecError(
            f"figures.curves(history): the argument is of type {type(history).__name__}: give "
            "what fit returned, or the folder of a run"
        )


def _batch(autoencoder: Autoencoder, seen: Dataset) -> Batch:
    index = evenly(seen, min(len(seen), FEW))
    return observations(seen, index).to(autoencoder.device)


def _sized(figure: Figure, size: Size | None) -> Figure:
    if size is not None:
        figure.set_size_inches(*size)
    return figure
