"""Pictures of codes that are moved: they fit a slide, and say what they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from pyrovae import ModelSpec, build
from pyrovae.data import Dataset, from_arrays
from pyrovae.exploration.interpolation import interpolate
from pyrovae.exploration.manifold import manifold
from pyrovae.exploration.traversal import Traversals, traverse
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.report.figures.animation import write_gif
from pyrovae.report.figures.interpolations import interpolations
from pyrovae.report.figures.manifold import manifold as draw_manifold
from pyrovae.report.figures.tiles import arrange, draw_tiles, enlargement, shades
from pyrovae.report.figures.traversals import traversals
from pyrovae.report.figures.variables import variables_in

MEGABYTE = 1_000_000

Draw = Callable[[Autoencoder, Dataset, torch.Tensor], Figure]


def draw_traversals(vae: Autoencoder, data: Dataset, x: torch.Tensor) -> Figure:
    return traversals(traverse(vae, x), data)


def draw_interpolations(vae: Autoencoder, data: Dataset, x: torch.Tensor) -> Figure:
    return interpolations(interpolate(vae, x), data)


def draw_plane(vae: Autoencoder, data: Dataset, x: torch.Tensor) -> Figure:
    return draw_manifold(manifold(vae, x), data)


DRAWN: list[Draw] = [draw_traversals, draw_interpolations, draw_plane]
BITS = {"binarisation": "static", "likelihood": {"kind": "bernoulli"}}
REAL = {"likelihood": {"kind": "normal"}}
KINDS: dict[str, dict[str, Any]] = {
    "counts": {"shape": (8, 8)},
    "photos": {"shape": (16, 24, 3), "model": REAL},
    "large images": {"shape": (64, 64), "model": BITS},
    "tables": {"shape": (7,), "model": REAL},
    "wide tables": {"shape": (50,), "model": REAL},
    "one column": {"shape": (1,), "model": REAL},
}


def untrained(
    shape: tuple[int, ...], model: dict[str, Any] | None = None, latent_dim: int = 2
) -> tuple[Autoencoder, Dataset, torch.Tensor]:
    """An autoencoder as it was born, and data of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (100, *shape), dtype=np.uint8)
    splits = from_arrays(noise, name="noise")
    vae = build(ModelSpec(latent_dim=latent_dim, **(model or {})), data=splits)
    data = vae.contract.apply(splits).train
    return vae, data, data.batch(torch.arange(20)).x


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


# Every picture of images and of a table, and every kind of data.
QUICK = {
    (draw_traversals, "counts"),
    (draw_traversals, "wide tables"),
    (draw_interpolations, "photos"),
    (draw_interpolations, "one column"),
    (draw_plane, "large images"),
    (draw_plane, "tables"),
}


@pytest.mark.parametrize(
    ("draw", "kind"),
    [
        pytest.param(draw, kind, marks=() if (draw, kind) in QUICK else pytest.mark.slow)
        for draw in DRAWN
        for kind in KINDS
    ],
)
def test_pictures_fit_a_slide(draw: Draw, kind: str, tmp_path: Path) -> None:
    figure = draw(*untrained(**KINDS[kind]))
    assert figure.dpi == 180
    figure.savefig(tmp_path / "figure.png", dpi=60)  # a third, for speed
    with Image.open(tmp_path / "figure.png") as image:
        assert image.width == 1620 / 3
        assert 360 / 3 < image.height < 2400 / 3
        assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("latent_dim", [1, 40])
@pytest.mark.parametrize("shape", [(8, 8), (7,)])
@pytest.mark.parametrize("draw", DRAWN[:2])
def test_few_and_many_dimensions(draw: Draw, shape: tuple[int, ...], latent_dim: int) -> None:
    figure = draw(*untrained(shape, REAL, latent_dim))
    figure.set_dpi(60)  # for speed
    figure.canvas.draw()
    assert figure.axes


def seen(*, steps: int = 4, shape: tuple[int, ...] = (1, 5, 5)) -> Traversals:
    """Two active dimensions and one that has collapsed, of noise."""
    images = torch.rand(3, steps, *shape)
    images[2] = images[2, :1]
    values = np.linspace(-2, 2, steps)
    change = np.ones((3, steps - 1)) * [[2.0], [1.0], [0.0]]
    return Traversals(
        names=["z[7]", "z[0]", "z[3]"],
        kl=np.array([2.13, 0.5, 0.0]),
        variance=np.array([0.9, 0.4, 0.0]),
        active=np.array([True, True, False]),
        probabilities=np.linspace(0.01, 0.99, steps),
        values=np.stack([values] * 3),
        code=np.array([1.9, -5.0, 0.1]),
        change=change,
        images=images,
        datum=torch.rand(shape),
        reconstruction=torch.rand(shape),
    )


def noise(shape: tuple[int, ...] = (1, 5, 5)) -> Dataset:
    return Dataset("noise", torch.rand(3, *shape), torch.arange(3), None, None)


def test_rows_and_columns_are_named() -> None:
    figure = traversals(seen(), noise())
    rows = figure.axes[1]
    columns = [label.get_text() for label in rows.get_xticklabels()]
    assert columns == ["1 %", "34 %", "66 %", "99 %"]
    named = [label.get_text() for label in rows.get_yticklabels()]
    assert named == ["z[7]  KL 2.1 nats", "z[0]  KL 0.5 nats"]
    assert figure.get_suptitle().endswith("\ncollapsed, not shown: z[3]")
    assert {"observation", "reconstruction"} <= set(texts(figure))


def test_what_a_dimension_says_is_its_variance_where_kl_is_not_known() -> None:
    found = seen()
    found.kl[:] = np.nan
    assert "z[7]  variance 0.90" in texts(traversals(found, noise()))


def test_the_quantile_nearest_to_the_datum_is_framed() -> None:
    rows = traversals(seen(), noise()).axes[1]
    frames = [patch for patch in rows.patches if isinstance(patch, Rectangle)]
    width = frames[0].get_width()
    assert [round(frame.get_x() / width) for frame in frames] == [3, 0]


def test_a_model_without_active_dimensions_has_a_picture_of_its_first() -> None:
    for shape in ((1, 5, 5), (6,)):
        found = replace(seen(shape=shape), active=np.zeros(3, bool))
        said = texts(traversals(found, noise(shape)))
        assert "z[7]  collapsed" in said
        assert any(text.endswith("collapsed, not shown: z[0], z[3]") for text in said)


def test_bars_are_as_long_as_the_output_moves() -> None:
    rows, beside = traversals(seen(), noise()).axes[1:]
    bars = [bar for bar in beside.patches if isinstance(bar, Rectangle)]
    widths = [bar.get_width() for bar in bars]
    assert beside.get_ylim() == rows.get_ylim()
    middles = [bar.get_y() + bar.get_height() / 2 for bar in bars]
    np.testing.assert_allclose(middles, rows.get_yticks())
    assert widths == [6.0, 3.0]


def test_panels_of_tables_show_every_quantile() -> None:
    found = seen(shape=(6,))
    data = noise((6,))
    figure, variables = traversals(found, data), variables_in(data)
    panels = figure.axes[:2]
    titles = ["z[7]  KL 2.1 nats", "z[0]  KL 0.5 nats"]
    assert [axes.get_title() for axes in panels] == titles
    for row, axes in enumerate(panels):
        lines = np.stack([line.get_ydata() for line in axes.lines])
        expected = [*found.images[row], found.datum, found.reconstruction]
        np.testing.assert_allclose(lines, variables.values(torch.stack(expected)))


def test_the_animation_goes_there_and_back(tmp_path: Path) -> None:
    file = write_gif(seen(steps=5), noise(), tmp_path / "moving.gif")
    assert file is not None
    with Image.open(file) as animation:
        assert animation.format == "GIF"
        frames = []
        for frame in range(animation.n_frames):
            animation.seek(frame)
            frames.append(np.asarray(animation.convert("RGB"), int))
    assert len(frames) == 8
    for step in (1, 2, 3):
        assert np.array_equal(frames[step], frames[-step])
        assert not np.array_equal(frames[step], frames[step - 1])


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 28, 28)])
def test_an_animation_is_small_even_of_noise(shape: tuple[int, ...], tmp_path: Path) -> None:
    found = replace(seen(steps=11, shape=shape), images=torch.rand(10, 11, *shape))
    rows = {"names": found.names * 4, "active": np.arange(12) > 2, "kl": np.ones(12)}
    file = write_gif(replace(found, **rows), noise(shape), tmp_path / "noise.gif")
    assert file is not None
    assert file.stat().st_size < MEGABYTE


def test_there_is_no_animation_of_a_table(tmp_path: Path) -> None:
    assert write_gif(seen(shape=(6,)), noise((6,)), tmp_path / "none.gif") is None
    assert not list(tmp_path.iterdir())


def test_the_data_themselves_are_at_both_ends() -> None:
    vae, data, x = untrained((8, 8))
    found = interpolate(vae, x, pairs=1, steps=3)
    grid = np.asarray(interpolations(found, data).axes[0].images[0].get_array())
    first, last = grid[4:68, 4:68, 0], grid[4:68, -68:-4, 0]
    for drawn, datum in zip((first, last), found.ends[0], strict=True):
        np.testing.assert_allclose(drawn[::8, ::8], datum[0] / data.levels, rtol=1e-5)


def test_every_change_is_drawn_and_their_mean() -> None:
    vae, data, x = untrained((8, 8))
    found = interpolate(vae, x, pairs=3)
    axes = interpolations(found, data).axes[-1]
    drawn = np.stack([line.get_ydata() for line in axes.lines])
    expected = [[*change, change.mean(0)] for change in found.change]
    np.testing.assert_allclose(drawn, np.concatenate(expected))
    assert {"linear, mean", "spherical, mean"} <= set(texts(interpolations(found, data)))


def test_the_plane_has_its_origin_below_on_the_left() -> None:
    vae, data, x = untrained((8, 8))
    found = manifold(vae, x, size=3)
    axes = draw_manifold(found, data).axes[0]
    grid = np.asarray(axes.images[0].get_array())
    for row, column in ((0, 0), (2, 0), (0, 2)):
        top, left = 4 + (2 - row) * 68, 4 + column * 68
        drawn = grid[top : top + 64 : 8, left : left + 64 : 8, 0]
        np.testing.assert_allclose(drawn, found.images[row, column, 0] / data.levels, rtol=1e-5)
    assert axes.get_xlabel() == "z[0], quantile of the prior"


def test_a_table_has_a_map_of_each_of_its_first_variables() -> None:
    vae, data, x = untrained((14,), REAL)
    found = manifold(vae, x, size=4)
    figure = draw_manifold(found, data)
    maps = [axes for axes in figure.axes if axes.get_title().startswith("x[")]
    assert len(maps) == 12
    np.testing.assert_array_equal(maps[2].images[0].get_array(), found.images[..., 2])
    assert maps[2].images[0].origin == "lower"
    assert "the first 12 of 14 variables" in figure.get_suptitle()


@pytest.mark.parametrize("gap", [0, 3])
def test_tiles_are_where_they_say(gap: int) -> None:
    shaded = torch.linspace(0.1, 0.9, 6).reshape(6, 1, 1, 1).expand(6, 1, 4, 7)
    axes = Figure().subplots()
    tiles = draw_tiles(axes, shaded, columns=3, gap=gap)
    grid = np.asarray(axes.images[0].get_array())
    for number in range(6):
        row, column = round(tiles.down(number // 3)), round(tiles.across(number % 3))
        assert np.isclose(grid[row, column, 0], shaded[number, 0, 0, 0])
    assert np.isclose(tiles.across(2.5) + 0.5, grid.shape[1] - gap / 2)
    assert np.isclose(tiles.across(-0.5) + 0.5, gap / 2)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_no_tile_covers_is_white(count: int, channels: int) -> None:
    shaded = torch.rand(count, channels, 4, 7, generator=torch.Generator().manual_seed(0)) / 2
    grid = arrange(shaded, columns=3, gap=2)
    times, columns, rows = enlargement(shaded), min(count, 3), -(-count // 3)
    height, width = 4 * times, 7 * times
    assert grid.shape == (rows * (height + 2) + 2, columns * (width + 2) + 2, 3)
    covered = (grid < 1).all(-1)
    assert covered.sum() == count * height * width
    last = grid[covered].reshape(-1, 3)[-1]
    np.testing.assert_array_equal(last, shaded[-1, :, -1, -1].expand(3))


def test_shades_know_neither_unit_nor_origin_of_real_values() -> None:
    _, data, _ = untrained((5, 5), REAL)
    real = replace(data, maximum=None)
    first, second = torch.randn(2, 3, 1, 5, 5)
    expected = torch.cat(shades(real, first, second))
    assert expected.min() == 0
    assert expected.max() == 1
    for unit, origin in ((2.0, -7.0), (0.5, 5.0)):
        moved = shades(real, unit * first + origin, unit * second + origin)
        torch.testing.assert_close(torch.cat(moved), expected, rtol=0, atol=1e-5)


def test_images_without_contrast_can_be_drawn() -> None:
    assert all(shade.isfinite().all() for shade in shades(noise(), torch.ones(2, 1, 5, 5)))
