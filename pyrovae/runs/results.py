"""Latents, draws and reconstructions of a run, written to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluation_mode
from pyrovae.compute.randomness import seeded
from pyrovae.data import Dataset, Splits
from pyrovae.data.values import Array
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.batches import BATCH, observations
from pyrovae.evaluation.encoding import EncodedSite, encode
from pyrovae.evaluation.reconstruction import reconstruct
from pyrovae.evaluation.semi_amortised import improved_sites
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.report import console
from pyrovae.report.display import Display
from pyrovae.runs.atomic_files import file_name
from pyrovae.runs.loading import Run, load_model, load_run
from pyrovae.runs.options import EncodeOptions, ResultsOptions, SampleOptions
from pyrovae.runs.output_files import Results, require_writable
from pyrovae.specs.local_inference import LocalInference


def encode_run(options: EncodeOptions, display: Display) -> Path:
    """Write q(z | x) of data in numbers: means, standard deviations, probabilities.

    Those of a better approximation of p(z | x) where one is asked for.

    Returns:
        The file; by default ``RUN/results/latents-<data>-<split>.csv``.

    Raises:
        PyrovaeError: A run or data that cannot be opened, or a guide that cannot be improved.
    """
    asked = LocalInference(refine_steps=options.refine_steps, resample=options.resample)
    run, split, notes = _opened(options, display)
    if asked:
        bar = run.name if display.bars else ""
        found, gain = improved_sites(run.autoencoder, split, asked, bar)
        display.say(str(gain))
    else:
        found = encode(run.autoencoder, split)
    notes += [
        f"no mean of q({name} | x) is known, and these are draws from it"
        for name, site in found.items()
        if site.drawn
    ]
    results = Results(
        np.concatenate([site.mean.numpy() for site in found.values()], 1),
        _beside(split) | _arrays(found),
        _LABEL | _values(found),
    )
    return _written(results, options, _file(run, options, "latents", ".csv"), notes, display)


def reconstruct_run(options: ResultsOptions, display: Display) -> Path:
    """Write the means of p(x | z) at the means of q(z | x).

    Returns:
        The file; by default ``RUN/results/reconstructions-<data>-<split>.npy``.

    Raises:
        PyrovaeError: A run or data that cannot be opened, or p(x | z) without a mean.
    """
    run, split, notes = _opened(options, display)
    x = reconstructed(run.autoencoder, split)
    names = list(split.columns)
    # A column of the table's own takes the place of one that is called the same.
    beside = {key: array for key, array in _beside(split).items() if key not in names}
    results = Results(x, beside | {"x": x}, _LABEL | {"x": names})
    file = _file(run, options, "reconstructions", ".npy")
    return _written(results, options, file, notes, display)


def sample_run(options: SampleOptions, display: Display) -> Path:
    """Write draws from p(x).

    Returns:
        The file; by default ``RUN/results/samples.npy``.

    Raises:
        PyrovaeError: A run that cannot be opened, or p(x) that is given labels or the like.
    """
    file = options.run / "results" / "samples.npy"
    require_writable((options.output or file).parent)
    autoencoder, notes = load_model(options.run, options.device)
    x = sampled(autoencoder, options.num, options.seed)
    results = Results(x, {"x": x}, {"x": list(autoencoder.contract.columns)})
    return _written(results, options, file, notes, display)


def reconstructed(autoencoder: Autoencoder, split: Dataset) -> Array:
    """Means of p(x | z) at the means of q(z | x), ``(data, *shape)``.

    Raises:
        SpecError: See :func:`pyrovae.evaluation.reconstruction.reconstruct`.
    """
    parts = [
        reconstruct(autoencoder, observations(split, index).to(autoencoder.device)).cpu().numpy()
        for index in torch.arange(len(split)).split(BATCH)
    ]
    return np.concatenate(parts)


def sampled(autoencoder: Autoencoder, count: int, seed: int, **others: Tensor) -> Array:
    """Draws ``(count, *shape)`` from p(x), whole numbers as integers.

    Args:
        autoencoder: Model and guide.
        count: Number of draws.
        seed: Seed; the caller's random stream is left as it was.
        others: Variables that p(x) is given, by name, ``(count, ...)``.

    Raises:
        SpecError: One of those is missing, or no site observes ``x``.
    """
    missing = [name for name in autoencoder.conditions if name not in others]
    if missing:
        raise SpecError(
            f"{autoencoder.source}p(x) is given {', '.join(missing)}, and nothing says which: in "
            f"Python, open_run(RUN).sample({count}, {missing[0]}=...) takes a tensor of values"
        )
    device = autoencoder.device
    parts, start = [], 0
    with evaluation_mode(autoencoder), torch.no_grad(), seeded(seed, device):
        for size in chunks.draws(1, count, device):
            given: Any = {name: v[start : start + size].to(device) for name, v in others.items()}
            drawn: Any = autoencoder
            parts.append(drawn.sample(size, **given).cpu())
            start += size
    x: Array = torch.cat(parts).numpy()
    return x.astype(np.int64) if (x == x.round()).all() else x


_LABEL = {"labels": ["label"]}


def _arrays(found: Mapping[str, EncodedSite]) -> dict[str, Array]:
    """Means of all sites, then standard deviations and probabilities where they are known."""
    means, spreads, chances = dict[str, Array](), dict[str, Array](), dict[str, Array]()
    for name, (mean, deviation, probabilities, _) in found.items():
        is_class = probabilities is not None and bool(mean.isfinite().all())
        means[name] = (mean.long() if is_class else mean).numpy()
        if deviation is not None:
            spreads[f"sd {name}"] = deviation.numpy()
        if probabilities is not None:
            chances[f"q({name})"] = probabilities.numpy()
    return means | spreads | chances


def _values(found: Mapping[str, EncodedSite]) -> dict[str, list[str]]:
    """Names of the columns of probabilities, such as ``q(y[0] = 3)``."""
    listed = {name: s.probabilities for name, s in found.items() if s.probabilities is not None}
    return {
        f"q({name})": [f"q({name}[{i}] = {k})" for i, k in np.ndindex(chances.shape[1:])]
        for name, chances in listed.items()
    }


def _opened(options: ResultsOptions, display: Display) -> tuple[Run, Dataset, list[str]]:
    """The run, the data to look at, and notes."""
    require_writable((options.output or options.run / "results" / "a file").parent)
    run = load_run(
        options.run, data=options.data, data_root=options.data_root, device=options.device
    )
    whole = _split(run.data, options.split)
    split, notes = whole if options.num is None else whole.first(options.num), list(run.notes)
    if options.num is not None and options.num > len(split):
        notes.append(
            f"{split.name} has only {len(split)} {_kind(options)}, fewer than the {options.num} "
            "asked for: all are used"
        )
    display.say(f"{run.folder} on {len(split)} {_kind(options)} of {split.name}")
    return run, split, notes


def _kind(options: ResultsOptions) -> str:
    return "data" if options.split == "all" else f"{options.split} data"


def _split(data: Splits, name: str) -> Dataset:
    """A split by its name; all data in the order in which they are stored."""
    if name != "all":
        split: Dataset = getattr(data, name)
        return split
    if any(part.x is not data.test.x for part in data):
        raise DataError(f"the splits of {data.name} are stored apart: name one with --split")
    return replace(data.test, rows=torch.cat([part.rows for part in data]).sort().values)


def _beside(split: Dataset) -> dict[str, Array]:
    """Place of each observation in the split and in the stored data, and its label."""
    index = torch.arange(len(split))
    found = {"index": index.numpy(), "row": split.rows.cpu().numpy()}
    labels = split.label(index)
    return found if labels is None else {**found, "labels": labels.cpu().numpy()}


def _file(run: Run, options: ResultsOptions, what: str, ending: str) -> Path:
    """Path of the results if no file is named."""
    return run.folder / "results" / f"{what}-{file_name(run.data.name)}-{options.split}{ending}"


def _written(
    results: Results,
    options: ResultsOptions | SampleOptions,
    usual: Path,
    notes: list[str] | tuple[str, ...],
    display: Display,
) -> Path:
    file = options.output or usual
    content = results.write(file)
    display.say(console.written(notes, f"{file}: {content}"))
    return file
