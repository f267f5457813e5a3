"""Pictures of outliers: for images and tables, whatever the scores are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from pyrovae.data import Dataset
from pyrovae.exploration.auroc import separation
from pyrovae.exploration.outliers import Outliers, Scored
from pyrovae.exploration.scores.definitions import SCORES
from pyrovae.report.figures.outliers import IMAGES, ROWS, outliers
from pyrovae.report.figures.variables import variables_of


def found(shape: tuple[int, ...], inside: int, outside: int, scores: int = 8) -> Outliers:
    random = np.random.default_rng(0)
    pairs = [(random.normal(0, 1, inside), random.normal(k, 1, outside)) for k in range(scores)]
    scored = [
        Scored(definition, ours, theirs, separation(ours, theirs))
        for definition, (ours, theirs) in zip(SCORES, pairs, strict=False)
    ]
    x = torch.rand(inside, *shape), torch.rand(outside, *shape)
    return Outliers(("our$", "the$ir"), *x, tuple(scored), {}, 10, 10)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def rendered(figure: Figure) -> bytes:
    figure.set_dpi(60)  # for speed
    canvas = FigureCanvasAgg(figure)  # drawn once: a file would be laid out and drawn twice
    canvas.draw()
    return bytes(canvas.buffer_rgba())


@pytest.mark.parametrize(
    ("shape", "inside", "outside", "scores"),
    [
        ((1, 8, 8), 30, 20, 8),
        ((3, 6, 9), 3, 9, 5),
        ((5,), 30, 20, 2),
        ((2,), 30, 20, 2),
        ((90,), 3, 9, 3),
        ((4, 3, 3), 1, 1, 1),
        ((1,), 1, 1, 1),
    ],
)
def test_every_shape_of_data_is_drawn(
    shape: tuple[int, ...], inside: int, outside: int, scores: int
) -> None:
    looked = found(shape, inside, outside, scores)
    data = Dataset("some", looked.inside, torch.arange(inside), None, 1.0)
    pictures = outliers(looked, data)
    assert len(pictures) == 2
    for picture in pictures:
        assert rendered(picture.figure)
        assert picture.caption
    written = texts(pictures[0].figure)
    for scored in looked.scored:
        number = f"{scored.separation.auroc:.3f}"
        assert number in written  # beside its interval
        assert f"{scored.definition.label}\nAUROC {number}" in written


def test_histograms_hold_all_data_and_both_sets_share_their_bins() -> None:
    looked = found((5,), 40, 30, scores=3)
    data = Dataset("some", looked.inside, torch.arange(40), None, None)
    panels = [a for a in outliers(looked, data)[0].figure.axes if "\nAUROC" in a.get_title()]
    assert len(panels) == 3
    for axes in panels:
        first, second = axes.containers
        for bars in (first, second):
            assert sum(bar.get_height() for bar in bars) == pytest.approx(1)
        assert [bar.get_x() for bar in first] == [bar.get_x() for bar in second]


def test_the_strangest_rows_are_those_with_the_highest_scores() -> None:
    looked = found((5,), 40, 30, scores=1)
    data = Dataset("some", looked.inside, torch.arange(40), None, None)
    axes: Any = outliers(looked, data)[1].figure.axes[0]
    drawn = np.array([line.get_ydata() for line in axes.lines])
    scored = looked.scored[0]
    expected = [
        x[np.argsort(values)[::-1][:ROWS].copy()].numpy()
        for x, values in ((looked.inside, scored.inside), (looked.outside, scored.outside))
    ]
    drawn_again = variables_of(looked.inside).values(torch.as_tensor(np.concatenate(expected)))
    np.testing.assert_allclose(drawn, drawn_again)


def test_the_strangest_images_are_in_the_row_of_their_score() -> None:
    looked = found((1, 8, 8), 40, 30, scores=3)
    shade = torch.linspace(0, 1, 40)  # of the strangest the lightest, by the last score alone
    looked.inside[:] = shade[:, None, None, None]
    looked.scored[2].inside[:] = shade
    looked.scored[0].inside[:] = -shade
    data = Dataset("some", looked.inside, torch.arange(40), None, 1.0)
    axes = outliers(looked, data)[1].figure.axes[0]
    image: Any = axes.images[0].get_array()
    rows = np.array_split(image[..., 0], 3)
    pixel = [row[row.shape[0] // 2, row.shape[1] // IMAGES // 2] for row in rows]
    assert pixel[0] == pytest.approx(0)
    assert pixel[2] == pytest.approx(1)
