from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from pyrovae import VAE, ModelSpec, build, load_data
from pyrovae.data import Dataset, from_arrays
from pyrovae.report.figures import curves, draw_figures, latent, reconstructions, samples
from pyrovae.report.figures.style import NOTEBOOK_DPI, STYLE
from pyrovae.report.figures.tables import draw_rows
from pyrovae.report.figures.variables import variables_in, variables_of
from pyrovae.specs.likelihoods import LikelihoodSpec
from pyrovae.specs.own import members
from pyrovae.training.records import History, Record

FILES = ["reconstructions.png", "samples.png", "latent.png", "curves.png"]


def record(epoch: int, split: str, elbo: float) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "split": split,
        "elbo": elbo,
        "reconstruction": elbo + 5,
        "kl": 5.0,
        "kl_kind": {"z": "exact"},
    }


def history(validation: Sequence[float]) -> list[dict[str, Any]]:
    return [
        record(epoch, split, elbo + shift)
        for epoch, elbo in enumerate(validation, start=1)
        for split, shift in [("train", 1.0), ("validation", 0.0)]
    ]


def untrained(
    shape: Sequence[int] = (8, 8),
    *,
    count: int = 200,
    classes: int = 0,
    model: Mapping[str, Any] | None = None,
) -> tuple[VAE, Dataset]:
    """An autoencoder as it was born, and the test split as it sees it."""
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (count, *shape), dtype=np.uint8)
    labels = random.permutation(np.arange(count) % classes) if classes else None
    splits = from_arrays(x, labels, name="noise")
    vae = build(ModelSpec(**(model or {})), data=splits)
    return vae, vae.contract.apply(splits).test


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


BITS = {"binarisation": "dynamic", "likelihood": {"kind": "bernoulli"}}
REAL = {"likelihood": {"kind": "normal"}}
KINDS: dict[str, dict[str, Any]] = {
    "counts": {"classes": 10},
    "bits": {"model": BITS, "classes": 2},
    "photos": {"shape": (16, 24, 3), "model": REAL},
    "large images": {"shape": (64, 64), "model": BITS, "count": 50},
    "tables": {"shape": (16,), "model": REAL, "classes": 3},
    "wide tables": {"shape": (50,), "model": BITS},
    "two columns": {"shape": (2,), "model": REAL},
    "one column": {"shape": (1,), "model": REAL},
    "many classes": {"classes": 40, "count": 800},
    "one test datum": {"count": 10, "classes": 2},
    "one test row": {"shape": (16,), "count": 10, "model": REAL},
}


MORE = ("bits", "large images", "many classes")  # images of other kinds are quick


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow) if kind in MORE else kind for kind in KINDS],
)
def test_four_pictures_fit_a_slide(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert STYLE["figure.dpi"] == 180
    scale = 1 if kind == "counts" else 1 / 3  # for speed
    monkeypatch.setitem(STYLE, "figure.dpi", 180 * scale)
    vae, data = untrained(**KINDS[kind])
    files = draw_figures(tmp_path / "new" / "folder", vae, data, history([-9, -8, -7]))
    assert [file.name for file in files] == FILES
    for file in files:
        with Image.open(file) as image:
            assert image.format == "PNG"
            assert image.width == 1620 * scale
            assert 360 * scale < image.height < 1620 * scale
            assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)


LIKELIHOODS = [member().kind for member in members(LikelihoodSpec)]


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_means_of_every_likelihood_can_be_drawn(kind: str) -> None:
    binarisation = "dynamic" if kind == "bernoulli" else "none"
    model = {"likelihood": {"kind": kind}, "binarisation": binarisation}
    shape = (16,) if kind.endswith("multinomial") else (8, 8)
    vae, data = untrained(shape, count=50, model=model)
    for draw in (reconstructions, samples):
        axes = draw(vae, data).axes[0]
        drawn = [line.get_ydata() for line in axes.lines] + [i.get_array() for i in axes.images]
        assert drawn
        assert all(np.isfinite(values).all() for values in drawn)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_latent_dimension_has_its_picture(dims: int) -> None:
    for classes in (0, 5):
        vae, data = untrained(classes=classes, model={"latent_dim": dims})
        axes = latent(vae, data).axes[0]
        match dims:
            case 1:
                assert axes.get_xlabel() == "z[0]"
                heights = sum(patch.get_height() for patch in axes.patches)
                assert heights == len(data)
            case 2:
                assert (axes.get_xlabel(), axes.get_ylabel()) == ("z[0]", "z[1]")
            case _:
                assert "first principal component" in axes.get_xlabel()
                assert "% of variance" in axes.get_ylabel()


def test_two_latent_dimensions_are_drawn_where_they_are() -> None:
    vae, data = untrained(model={"latent_dim": 2})
    with torch.no_grad():
        expected = vae.encode(data.batch(torch.arange(len(data))).x).mean
    points = latent(vae, data).axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points, expected, rtol=1e-5, atol=1e-6)


def test_codes_that_have_collapsed_can_be_drawn() -> None:
    vae, data = untrained(model={"latent_dim": 3})
    with torch.no_grad():
        for parameter in vae.posterior.parameters():
            parameter.zero_()
    assert latent(vae, data).axes[0].get_xlabel() == "z[0]"


def test_few_classes_are_named_and_many_are_not() -> None:
    few, many = (latent(*untrained(classes=n, count=800)) for n in (5, 40))
    legend = few.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["0", "1", "2", "3", "4"]
    assert many.axes[0].get_legend() is None
    assert many.axes[0].get_title().startswith("a colour for each of ")


def test_each_class_is_reconstructed() -> None:
    vae, data = untrained((4,), classes=6, count=600, model=REAL)
    titles = [axes.get_title() for axes in reconstructions(vae, data).axes]
    assert titles == [f"class {label}" for label in range(6)]


def test_data_stand_above_their_reconstructions() -> None:
    vae, data = untrained()
    for axes in reconstructions(vae, data).axes:
        places = {label.get_text(): label.get_position()[1] for label in axes.get_yticklabels()}
        assert places["data"] < places["reconstruction"]  # the origin of an image is on top


def test_reconstructed_rows_are_the_means_at_the_codes() -> None:
    vae, data = untrained((4,), model=REAL)
    x, variables = data.batch(torch.arange(1)).x, variables_in(data)
    drawn = {
        line.get_label(): line.get_ydata() for line in reconstructions(vae, data).axes[0].lines
    }
    np.testing.assert_allclose(drawn["data"], variables.values(x[0]))
    mean = variables.values(vae.reconstruct(x)[0])
    np.testing.assert_allclose(drawn["reconstruction"], mean, rtol=1e-4)


def test_two_columns_are_points_in_a_plane() -> None:
    vae, data = untrained((2,), model=REAL)
    axes = reconstructions(vae, data).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x[0]", "x[1]")
    x = data.batch(torch.arange(len(data))).x
    expected = {"test data": x, "reconstructions": vae.reconstruct(x)}
    for points in axes.collections:
        offsets = points.get_offsets()
        np.testing.assert_allclose(offsets, expected[str(points.get_label())], rtol=1e-5)


def test_columns_of_a_table_are_not_joined_and_other_variables_are() -> None:
    for shape, style in (((20,), "None"), ((4, 5), "-")):
        x = torch.randn(3, *shape)
        data = Dataset("noise", x, torch.arange(3), None, None)
        axes = Figure().subplots()
        variables = variables_in(data)
        draw_rows(axes, variables, x.flatten(1), ["red"] * 3)
        assert {line.get_linestyle() for line in axes.lines} == {style}
        drawn = [line.get_ydata() for line in axes.lines]
        np.testing.assert_array_equal(drawn, variables.values(x.flatten(1)))


def test_the_picture_of_a_table_does_not_depend_on_the_units_of_its_columns() -> None:
    x, unit = torch.randn(50, 4).double(), torch.tensor([1e-3, 1.0, 7.0, 1e6]).double()
    other = unit * x + 3 * unit
    np.testing.assert_allclose(
        variables_of(x).values(x), variables_of(other).values(other), rtol=1e-6, atol=1e-6
    )
    assert variables_of(x).unit == "value, in sd of the column"
    for counts, whole in ((True, x.exp().mul(100).round()), (False, (x > 0).double())):
        variables = variables_of(whole)
        assert variables.counts == counts
        assert variables.unit == "value"
        np.testing.assert_array_equal(variables.values(whole), whole)


def test_a_constant_column_and_unknown_values_leave_the_others_as_they_are() -> None:
    x = torch.randn(50, 3).double()
    x[:, 1], x[0, 2] = 7.0, torch.nan
    drawn = variables_of(x).values(x)
    np.testing.assert_array_equal(drawn[:, 1], 0.0)
    for column in (drawn[:, 0], drawn[1:, 2]):
        np.testing.assert_allclose(column.square().mean(), 1.0)


def test_samples_of_a_table_have_the_variance_of_draws_and_not_of_means() -> None:
    vae, data = untrained((4,), count=2000, model=REAL)
    with torch.no_grad():
        for parameter in vae.decoder.parameters():
            parameter.zero_()  # p(x | z) is p(x), whose mean is the same at each z
    intervals: Any = samples(vae, data).axes[0].collections[1]
    assert all(end[1] - start[1] > 0.01 for start, end in intervals.get_segments())


@pytest.mark.parametrize("count", [2, 20])
def test_every_class_is_named_in_the_plane_however_close_they_are(count: int) -> None:
    vae, data = untrained((4,), classes=count, count=4000, model={"latent_dim": 2, **REAL})
    with torch.no_grad():
        for parameter in vae.posterior.parameters():
            parameter.zero_()  # all latents are the same
    axes = latent(vae, data).axes[0]
    written = [text for text in axes.texts if text.get_text().isdigit()]
    assert [text.get_text() for text in written] == [str(name) for name in range(count)]


def test_names_of_classes_are_at_their_medians() -> None:
    vae, data = untrained(classes=3, count=600, model={"latent_dim": 2})
    axes = latent(vae, data).axes[0]
    points, labels = axes.collections[0].get_offsets(), data.label(torch.arange(len(data)))
    assert labels is not None
    for text in axes.texts:
        own = np.asarray(points)[labels.numpy() == int(text.get_text())]
        np.testing.assert_allclose(text.xy, np.median(own, 0), atol=0.1)


def test_a_figure_displays_itself_in_a_notebook() -> None:
    figure = curves(history([-3, -2]))
    image = Image.open(io.BytesIO(figure._repr_png_()))
    assert image.format == "PNG"
    assert image.width == round(figure.get_figwidth() * NOTEBOOK_DPI)


def test_what_is_left_out_of_a_wide_table_is_said() -> None:
    vae, data = untrained((50,), model=REAL)
    assert samples(vae, data).axes[0].get_xlabel() == "variable, the first 40 of 50"


def test_curves_mark_the_best_validation_epoch() -> None:
    figure = curves(history([-30, -10.25, -20]))
    assert [axes.get_title() for axes in figure.axes] == ["ELBO", "Reconstruction", "KL"]
    star = figure.axes[0].lines[-1]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (2, -10.25)
    assert "best validation ELBO: −10.2 (epoch 2)" in texts(figure)


@pytest.mark.parametrize("values", [[-5.0], [], [-5.0, -5.0], [float("nan")], [-1.0, -np.inf]])
def test_curves_can_be_short_or_odd(values: list[float], tmp_path: Path) -> None:
    figure = curves(history(values))
    figure.savefig(tmp_path / "curves.png", dpi=40)
    if len(values) == 1:
        assert all(line.get_marker() != "" for line in figure.axes[0].lines)


def test_first_epochs_that_are_far_off_do_not_hide_the_others() -> None:
    values = [-1e9, -1e6, *np.linspace(-100, -90, 50)]
    axes = curves(history(values)).axes[0]
    low, high = axes.get_ylim()
    assert low < -100
    assert high > -89
    assert high - low < 50
    assert "epochs 1 to 2 off the scale" in axes.get_xlabel()


def test_first_epochs_are_drawn_where_the_others_can_still_be_seen() -> None:
    axes = curves(history([-200, *np.linspace(-150, -90, 50)])).axes[0]
    assert axes.get_ylim()[0] < -200
    assert axes.get_xlabel() == "epoch"


def test_curves_mark_the_epoch_whose_weights_were_kept() -> None:
    figure = curves(history([-30, -10, -20]), kept=3)
    assert "weights kept (epoch 3)" in texts(figure)
    assert all(3 in axes.lines[2].get_xdata() for axes in figure.axes)


def test_a_history_is_drawn_as_its_lines_are() -> None:
    lines = [
        {**each, "step": 1, "kl_per_site": {}, "kl_per_dim": None, "loss": 0, "beta": 1}
        for each in history([-30, -10, -20])
    ]
    records = History(Record(**each, seconds=0.0) for each in lines)
    for first, second in zip(curves(records).axes, curves(lines).axes, strict=True):
        for ours, theirs in zip(first.lines, second.lines, strict=True):
            np.testing.assert_array_equal(ours.get_xydata(), theirs.get_xydata())


def test_epochs_after_the_last_are_not_invented() -> None:
    test_record = record(9, "test", -1e6)
    axes = curves([*history([-3, -2]), test_record]).axes[0]
    assert axes.get_xlim()[1] < 3


def test_a_name_with_dollar_signs_is_written_as_it_is(tmp_path: Path) -> None:
    vae, data = untrained((4,), model=REAL)
    named = Dataset("$x_1^$", data.x, data.rows, data.labels, data.maximum, divisor=data.divisor)
    reconstructions(vae, named).savefig(tmp_path / "figure.png", dpi=40)


def test_pictures_are_the_same_each_time_and_nothing_global_changes(tmp_path: Path) -> None:
    vae, data = untrained(model=BITS, classes=3)
    settings = dict(matplotlib.rcParams)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (
        [file.read_bytes() for file in draw_figures(tmp_path / n, vae, data, history([-2, -1]))]
        for n in ("first", "second")
    )
    assert first == second
    assert dict(matplotlib.rcParams) == settings
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_the_users_style_does_not_change_the_pictures() -> None:
    vae, data = untrained((4,), model=REAL)
    with matplotlib.rc_context({"figure.facecolor": "black", "font.size": 40}):
        figure = reconstructions(vae, data)
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert figure.axes[0].xaxis.label.get_size() == 11


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_the_gpu_is_drawn_as_well(tmp_path: Path) -> None:
    vae, data = untrained(model=BITS, classes=3)
    for where in ("cpu", "cuda"):
        assert len(draw_figures(tmp_path, vae.to("cuda"), data.to(where), history([-1]))) == 4


def test_the_curves_of_a_point_are_not_called_a_bound() -> None:
    record = {"elbo": -3.0, "reconstruction": -1.0, "kl": 2.0, "kl_kind": {"z": "point"}}
    metrics = [{"epoch": 1, "split": split, **record} for split in ("train", "validation")]
    figure = curves(metrics)
    assert [axes.get_title() for axes in figure.axes] == [
        "log p(x, z)",
        "log p(x | z)",
        "−log p(z)",
    ]


def test_values_that_are_not_known_are_not_drawn_and_columns_have_their_names() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(40, 5, 200), "income": rng.normal(1e4, 100, 200)})
    frame["height"] = rng.normal(170, 9, 200)
    whole = variables_in(load_data(frame).train)
    holes = frame.mask(rng.random(frame.shape) < 0.3)
    data = load_data(holes)
    vae = build("vae", "svi", data)
    found = variables_in(vae.contract.prepared(data.train))
    torch.testing.assert_close(found.centre, whole.centre, rtol=0.01, atol=0)
    torch.testing.assert_close(found.scale, whole.scale, rtol=0.2, atol=0)
    axes = samples(vae, data.test).axes[0]
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    assert np.abs(drawn).max() < 10  # in sd of the column: a zero in place of a hole is far off
    format_name = axes.xaxis.get_major_formatter()
    assert [format_name(place, None) for place in range(3)] == list(frame.columns)
