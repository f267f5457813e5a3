"""The figures that a notebook calls."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from pyrovae import VAE, ModelSpec, Splits, build, figures, load_data
from pyrovae.diagnosis.diagnosis import diagnose
from pyrovae.errors import DataError, SpecError
from pyrovae.runs.metrics_file import read_metrics

RUN = Path(__file__).parent / "fixtures/runs/finished"
SIZE = (6.0, 5.0)


@pytest.fixture
def plane() -> tuple[VAE, Splits]:
    """An autoencoder of the digits with two latent dimensions, not trained."""
    data = Splits(*(split.first(60) for split in load_data("digits")))
    return build(ModelSpec(latent_dim=2), data=data), data


@pytest.mark.parametrize(
    "draw",
    [
        figures.reconstructions,
        figures.samples,
        figures.latents,
        figures.manifold,
        figures.traversals,
        figures.interpolations,
        figures.holes,
    ],
)
def test_splits_and_their_test_data_give_the_same_figure_in_any_size(
    draw: Callable[..., Figure], plane: tuple[VAE, Splits]
) -> None:
    vae, data = plane
    first, second = draw(vae, data, size=SIZE), draw(vae, data.test, size=SIZE)
    assert tuple(first.get_size_inches()) == SIZE
    for figure in (first, second):
        figure.set_dpi(40)
    assert np.array_equal(pixels(first), pixels(second))


def pixels(figure: Figure) -> Any:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def test_latents_are_drawn_on_axes_of_ones_own(plane: tuple[VAE, Splits]) -> None:
    vae, data = plane
    mine = Figure()
    left, right = mine.subplots(1, 2)
    assert figures.latents(vae, data, axes=right) is mine
    assert not left.collections
    points, own = (axes.collections[0].get_offsets() for axes in (right, other(vae, data)))
    np.testing.assert_array_equal(points, own)


def test_latents_are_coloured_by_numbers_or_labels(plane: tuple[VAE, Splits]) -> None:
    vae, data = plane
    count = len(data.test)
    numbers = np.linspace(0, 1, count)
    points: Any = figures.latents(vae, data, colour=numbers).axes[0].collections[0]
    np.testing.assert_array_equal(points.get_array(), numbers)
    legend = figures.latents(vae, data, colour=["odd", "even"] * (count // 2)).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["even", "odd"]
    with pytest.raises(DataError, match=f"colour has shape .* has {count} observations"):
        figures.latents(vae, data, colour=numbers[1:])


def other(vae: VAE, data: Splits) -> Any:
    return figures.latents(vae, data).axes[0]


def test_curves_of_a_folder_are_those_of_its_records() -> None:
    pairs = zip(figures.curves(RUN).axes, figures.curves(read_metrics(RUN)).axes, strict=True)
    for ours, theirs in pairs:
        for first, second in zip(ours.lines, theirs.lines, strict=True):
            np.testing.assert_array_equal(first.get_xydata(), second.get_xydata())


@pytest.mark.usefixtures("fewer")
def test_every_check_but_the_bound_has_its_figure(plane: tuple[VAE, Splits]) -> None:
    vae, data = plane
    diagnosis = diagnose(vae, data.test, draws=100)
    for found in diagnosis.checks:
        if found.question != "bound":
            assert isinstance(figures.check(diagnosis, found.question), Figure)
    for wrong in ("bound", "calibratoin"):
        with pytest.raises(SpecError, match=f"no check '{wrong}' with a figure"):
            figures.check(diagnosis, wrong)


def test_the_example_of_the_page_runs() -> None:
    text = (Path(__file__).parents[1] / "docs/notebooks.md").read_text(encoding="utf-8")
    for example in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(example, {})
    named = re.findall(r"^\| `(\w+)\(", text, flags=re.MULTILINE)
    assert {"curves", "check"} < set(named)
    assert [name for name in named if not hasattr(figures, name)] == []
