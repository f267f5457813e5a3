"""Pictures of samples, of ablations and of sweeps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from pyrovae import VAE, InferenceSpec, ModelSpec, Splits, build
from pyrovae.data import from_arrays
from pyrovae.exploration.ablation import ablate
from pyrovae.exploration.completeness import Samples, outside, sample_both
from pyrovae.exploration.sweep import sweep
from pyrovae.report.figures import ablation as ablation_figure
from pyrovae.report.figures import completeness as completeness_figure
from pyrovae.report.figures import sweep as sweep_figure
from pyrovae.report.figures.style import GREY, MODEL

QUICK: list[tuple[int, ...]] = [(4, 8, 3), (1,), (50,)]
SLOW: list[tuple[int, ...]] = [(6, 6), (2,), (9,), (2, 3, 4, 2)]  # drawn in another dimension too
NETWORK = {"kind": "mlp", "widths": (8,)}


def untrained(
    shape: tuple[int, ...] = (6, 6), *, dims: int = 2, classes: int = 0, guide: str = "diagonal"
) -> tuple[VAE, Splits]:
    """An autoencoder as it was born, and data as it sees them; tables are real-valued."""
    random = np.random.default_rng(0)
    images = len(shape) in (2, 3)
    size = (600, *shape) if len(shape) < 4 else (600, int(np.prod(shape)))
    x: Any = random.integers(0, 256, size, dtype=np.uint8) if images else random.normal(size=size)
    labels = random.integers(0, classes, 600) if classes else None
    splits = from_arrays(x if images else x.astype(np.float32), labels, name="noise")
    likelihood = {"kind": "bernoulli"} if images else {"kind": "normal", "noise": "learned"}
    model = ModelSpec(latent_dim=dims, decoder=NETWORK, likelihood=likelihood)
    vae = build(model, InferenceSpec(guide={"kind": guide, "encoder": NETWORK}), splits)
    return vae, vae.contract.apply(splits)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def drawn(figure: Figure) -> np.ndarray[Any, Any]:
    """The picture; it comes out without a warning."""
    figure.set_dpi(60)  # for speed
    canvas = FigureCanvasAgg(figure)  # drawn once: a file would be laid out and drawn twice
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def look(vae: VAE, data: Splits, count: int = 16) -> Samples:
    train = data.train
    return sample_both(vae, train.batch(torch.arange(len(train))).x, count=count)


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        *((shape, 2) for shape in QUICK),
        *(pytest.param(shape, 2, marks=pytest.mark.slow) for shape in SLOW),
        ((6, 6), 1),
        ((9,), 1),
        ((2,), 5),
    ],
)
def test_samples_of_anything_are_drawn(shape: tuple[int, ...], dims: int) -> None:
    vae, data = untrained(shape, dims=dims)
    figure = completeness_figure.samples(look(vae, data), data.train)
    assert drawn(figure).std() > 0
    said = " ".join(texts(figure))
    assert "noise: samples from the prior" in said
    assert "of the prior's draws in holes" in said


@pytest.mark.parametrize("count", [1, 16, 21])
def test_samples_outside_are_outlined_and_their_codes_crossed(count: int) -> None:
    vae, data = untrained()
    with torch.no_grad():
        vae.posterior.family.loc.weight.mul_(30)
    found = look(vae, data, count)
    figure = completeness_figure.samples(found, data.train)
    grids, planes = figure.axes[:2], figure.axes[2:]
    for axes, plane, share in zip(grids, planes, (found.holes, found.missed), strict=True):
        outlines = [p for p in axes.patches if isinstance(p, Rectangle)]
        coloured = [p for p in outlines if p.get_linewidth() == 2.5]
        flagged = np.flatnonzero(share.outside[found.shown.numpy()])
        columns = min(completeness_figure.COLUMNS, count)
        assert len(coloured) == len(flagged)
        tile = axes.get_images()[0].get_extent()[1] / columns
        for patch, place in zip(coloured, flagged, strict=True):
            centre = patch.get_x() + patch.get_width() / 2
            assert int(centre // tile) == place % columns
        crosses = np.asarray(plane.collections[2].get_offsets())
        assert len(crosses) == share.outside.sum()
    assert found.missed.value > 0.1


def test_a_projection_has_no_crosses_since_it_does_not_show_holes() -> None:
    vae, data = untrained(dims=3)
    with torch.no_grad():
        vae.posterior.family.loc.weight.mul_(30)
    found = look(vae, data)
    assert found.missed.value > 0.1
    figure = completeness_figure.samples(found, data.train)
    for plane in figure.axes[2:]:
        assert len(plane.collections[2].get_offsets()) == 0
    assert "out of reach" not in texts(figure)


@pytest.mark.parametrize(
    ("shape", "dims", "classes"),
    [
        *((shape, 2, 3) for shape in QUICK),
        *(pytest.param(shape, 2, 3, marks=pytest.mark.slow) for shape in SLOW),
        ((6, 6), 1, 0),
        ((9,), 1, 3),
        ((2,), 5, 0),
        ((6, 6), 2, 30),
    ],
)
def test_ablations_of_anything_are_drawn(shape: tuple[int, ...], dims: int, classes: int) -> None:
    vae, data = untrained(shape, dims=dims, classes=classes)
    point, _ = untrained(shape, dims=dims, classes=classes, guide="delta")
    found = ablate({"autoencoder": point, "β = 1": vae}, data)
    figure = ablation_figure.ablation(found, data.test)
    assert drawn(figure).std() > 0
    said = " ".join(texts(figure))
    assert "the guide is a point" in said
    for name, column in found.columns.items():
        assert name in said
        assert f"{column.reconstruction.value:.1f}".replace("-", "−") in said
    assert ("prior" in texts(figure)) == (0 < classes <= 20)


@pytest.mark.parametrize("models", [1, pytest.param(4, marks=pytest.mark.slow), 6])
def test_a_column_for_each_model(models: int) -> None:
    vae, data = untrained(classes=3)
    found = ablate({f"model {number}": vae for number in range(models)}, data)
    figure = ablation_figure.ablation(found, data.test)
    drawn(figure)
    assert len(figure.axes) == 4 * models
    renderer: Any = figure.canvas
    boxes = [
        text.get_window_extent(renderer.get_renderer())
        for axes in figure.axes[:models]
        for text in axes.texts
    ]
    for left, right in pairwise(boxes):
        assert left.x1 < right.x0  # numbers of neighbours do not overlap


@pytest.mark.parametrize(
    ("betas", "known"),
    [
        ([1.0], None),
        ([0.0], "all"),
        ([0.0, 1.0], "none"),
        ([0.0, 0.1, 2.0], "some"),
        ([0.1, 1.0, 9.0], "all"),
    ],
)
def test_sweeps_are_drawn(betas: list[float], known: str | None) -> None:
    vae, data = untrained()
    values = {"all": 0.2, "some": 0.2, "none": float("nan")}
    mig = None if known is None else dict.fromkeys(betas, values[known])
    if known == "some" and mig is not None:
        mig.pop(betas[0])
    found = sweep(dict.fromkeys(betas, vae), data, mig)
    figure = sweep_figure.sweep(found, data.test)
    assert drawn(figure).std() > 0
    assert len(figure.axes) == (2 if known is None else 3)
    curve = figure.axes[0]
    place = found.places[betas[0]]
    (left, right), (low, high) = curve.get_xlim(), curve.get_ylim()
    assert left <= place.rate.value <= right
    assert low <= place.distortion.value <= high
    assert {f"β = {beta:g}" for beta in betas} <= set(texts(figure))


def test_the_line_of_a_sweep_is_where_the_elbo_is_that_of_beta_one() -> None:
    vae, data = untrained()
    found = sweep({1.0: vae, 2.0: vae}, data)
    figure = sweep_figure.sweep(found, data.test)
    line = next(line for line in figure.axes[0].lines if line.get_color() == MODEL)
    anchor: Any = line
    assert anchor.get_slope() == -1
    assert anchor.get_xy1()[1] == pytest.approx(-found.places[1.0].elbo.value)


def test_grey_behind_is_the_other_kind_of_code() -> None:
    vae, data = untrained()
    found = look(vae, data)
    figure = completeness_figure.samples(found, data.train)
    for plane, codes in zip(
        figure.axes[2:], (found.posterior_codes, found.prior_codes), strict=True
    ):
        np.testing.assert_allclose(plane.collections[0].get_offsets(), codes.numpy())
        assert plane.collections[0].get_facecolor()[0][:3] == pytest.approx(
            [int(GREY[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        )
    assert outside(found.prior_codes, found.posterior_codes).value == found.holes.value
