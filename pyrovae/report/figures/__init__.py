"""Pictures of a fitted autoencoder, of its data and of its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from pyrovae.compute.modes import evaluating
from pyrovae.data import Dataset
from pyrovae.data.examples import classes, evenly, one_of_each_class
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.reconstruction import prior_means, reconstruct, why_no_means
from pyrovae.evaluation.simulation import simulate
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.report.figures.history import curves as curves
from pyrovae.report.figures.images import draw_reconstructed_images, draw_sampled_images
from pyrovae.report.figures.latent_plane import latent as latent
from pyrovae.report.figures.tables import draw_reconstructed_rows, draw_sampled_rows
from pyrovae.report.figures.variables import known_values

SAMPLED_IMAGES = 72
MOST_SAMPLED_ROWS = 1000


def draw_figures(
    folder: Path,
    autoencoder: Autoencoder,
    data: Dataset,
    metrics: Sequence[Mapping[str, Any]],
    kept: int | None = None,
    show: Callable[[str, Figure], None] | None = None,
) -> list[Path]:
    """Write ``reconstructions.png``, ``samples.png``, ``latent.png`` and ``curves.png``.

    The first two are written only where the model has a distribution of its data with means.

    Args:
        folder: Output folder; made if it is missing.
        autoencoder: Model and guide.
        data: The test split, as loaded or as the model sees it.
        metrics: Records as in ``metrics.jsonl``.
        kept: Epoch whose weights were kept.
        show: Told each figure with its name, once the file is written.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"latent": latent(autoencoder, data), "curves": curves(metrics, kept)}
    data = autoencoder.contract.prepared(data)
    few = observations(data, torch.arange(1)).to(_device(autoencoder))
    if not why_no_means(autoencoder, few):
        shown = reconstructions(autoencoder, data), samples(autoencoder, data)
        figures = {"reconstructions": shown[0], "samples": shown[1], **figures}
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
        if show is not None:
            show(name, figure)
    return [folder / f"{name}.png" for name in figures]


def reconstructions(autoencoder: Autoencoder, data: Dataset) -> Figure:
    """Observations, of each class if there are classes, and their reconstructions.

    Args:
        autoencoder: Model and guide.
        data: The split that is shown, as loaded or as the model sees it:
            ``(channels, height, width)`` with one or three channels are images, all else is drawn
            variable by variable.

    Example:
        >>> from pyrovae import build, load_data
        >>> vae = build()
        >>> figure = reconstructions(vae, vae.contract.apply(load_data()).test)
        >>> figure.get_suptitle()
        'digits: test data and their reconstructions'
    """
    data = autoencoder.contract.prepared(data)
    index = one_of_each_class(data, 20 if data.shape.numel() > 2 else 200)
    batch = observations(data, index)
    x = batch.x
    means = reconstruct(autoencoder, batch.to(_device(autoencoder)))
    if data.are_images:
        return draw_reconstructed_images(data, x.cpu(), means.cpu())
    known = known_values(batch, x).cpu()
    return draw_reconstructed_rows(data, known, means.cpu(), classes(data, index))


def samples(autoencoder: Autoencoder, data: Dataset) -> Figure:
    """Means of p(x | z) at latents drawn from the prior; of tables draws from p(x).

    A mean has less variance than the data, so that of a table it would not look like a row.

    Args:
        autoencoder: Model and guide.
        data: A split, as loaded or as the model sees it, for the shape, the range and comparison.
    """
    data = autoencoder.contract.prepared(data)
    images = data.are_images
    count = SAMPLED_IMAGES if images else min(len(data), MOST_SAMPLED_ROWS)
    batch = observations(data, evenly(data, count)).to(_device(autoencoder))
    if images:
        return draw_sampled_images(data, batch.x.cpu(), prior_means(autoencoder, batch).cpu())
    with evaluating(autoencoder, batch.device):
        drawn = simulate(autoencoder, batch).x
    x, drawn = (known_values(batch, values).cpu() for values in (batch.x, drawn))
    return draw_sampled_rows(data, x, drawn)


def _device(autoencoder: Autoencoder) -> torch.device:
    return autoencoder.device
