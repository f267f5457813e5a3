from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from scipy import stats

from pyrovae.data import from_arrays
from pyrovae.evaluation.results import Variable
from pyrovae.report.figures.aggregate import aggregate, distance
from pyrovae.report.figures.axis_range import scale_of
from pyrovae.report.figures.calibration import CELLS, band, calibration, ecdf_difference, intervals
from pyrovae.report.figures.chains import chains, examples
from pyrovae.report.figures.extremes import Case, choose, extremes
from pyrovae.report.figures.gap import gap
from pyrovae.report.figures.latent_dimensions import latent_dimensions
from pyrovae.report.figures.predictive import predictive, tail
from pyrovae.report.figures.sandwich import sandwich
from pyrovae.report.figures.weights import weights

Draw = Callable[[int, int, float], Figure]
SIZES = [(1, 1), pytest.param(2, 3, marks=pytest.mark.slow), (8, 300), (64, 50)]


def variables(**arrays: Any) -> dict[str, Variable]:
    """As a check gives them."""
    values = {name: np.asarray(array) for name, array in arrays.items()}
    return {n: Variable(tuple("abcd"[: v.ndim]), v, "") for n, v in values.items()}


def numbers(*shape: int, bad: float = 0.0, loc: float = 0.0) -> np.ndarray[Any, Any]:
    """Normal numbers, of which some are not finite if ``bad`` is not."""
    values = np.random.default_rng(sum(shape)).normal(loc, 1.0, shape)
    if not np.isfinite(bad):
        values.flat[:: max(values.size // 3, 1)] = bad
    return values


def draw_weights(dims: int, data: int, bad: float) -> Figure:
    constant = np.arange(data) % 5 == 4
    return weights(variables(khat=numbers(data, bad=bad, loc=0.5), degenerate=constant))


def draw_latent_dimensions(dims: int, data: int, bad: float) -> Figure:
    positive = np.abs(numbers(dims, bad=bad))
    active = np.arange(dims) % 3 == 0
    columns = ("kl", "mean_variance", "information")
    return latent_dimensions(variables(**dict.fromkeys(columns, positive), active=active))


def draw_calibration(dims: int, data: int, bad: float) -> Figure:
    pit = stats.norm.cdf(numbers(data, dims))
    pit[numbers(data, dims, bad=bad) == bad] = bad
    coverage = np.clip(numbers(dims, bad=bad, loc=0.8), 0, 1)
    arrays = variables(pit=pit, pit_log_joint=pit[:, 0], coverage=coverage)
    return calibration(arrays, active=np.arange(dims) % 3 == 0)


def draw_aggregate(dims: int, data: int, bad: float) -> Figure:
    z, prior = numbers(data, dims, bad=bad), numbers(data, dims, loc=0.5)
    columns = {"log_prior_aggregated": z.sum(1), "log_prior_prior": prior.sum(1)}
    with np.errstate(invalid="ignore"):
        return aggregate(variables(aggregated=z, prior=prior, **columns))


def draw_gap(dims: int, data: int, bad: float) -> Figure:
    family, encoder = numbers(data, bad=bad, loc=1), numbers(data, loc=2)
    columns = {"approximation_gap": family, "amortisation_gap": encoder}
    return gap(variables(gap=family + encoder, **columns))


def draw_sandwich(dims: int, data: int, bad: float) -> Figure:
    lower = numbers(data, bad=bad, loc=-16)
    with np.errstate(invalid="ignore"):
        return sandwich(variables(lower=lower, upper=lower + np.abs(numbers(data))))


def draw_predictive(dims: int, data: int, bad: float) -> Figure:
    names = [f"statistic $ {number}" for number in range(min(dims, 7))]
    arrays = variables(
        observed_statistic=numbers(len(names), bad=bad),
        replicated_statistic=numbers(20, len(names), bad=bad),
    )
    return predictive(arrays, names)


def draw_chains(dims: int, data: int, bad: float) -> Figure:
    number = numbers(data, dims, bad=bad)
    columns = ("mean_shift", "scale_ratio", "guide_coverage")
    arrays = variables(rhat=1 + np.abs(number), **dict.fromkeys(columns, np.clip(number, 0, 1)))
    z = numbers(4, 20, data, dims, bad=bad)
    return chains(arrays, z, guide=z[0], starts=("guide", "guide", "prior", "prior"))


FIGURES: dict[str, Draw] = {
    "weights": draw_weights,
    "latent dimensions": draw_latent_dimensions,
    "calibration": draw_calibration,
    "aggregate": draw_aggregate,
    "gap": draw_gap,
    "sandwich": draw_sandwich,
    "predictive": draw_predictive,
    "chains": draw_chains,
}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def assert_drawn(figure: Figure) -> None:
    """It can be drawn, is as wide as all pictures, and no title or label is cut off."""
    figure.set_dpi(60)  # for speed
    canvas = FigureCanvasAgg(figure)  # drawn once: a file would be laid out and drawn twice
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    assert image.width == 540
    assert 120 < image.height < 700
    assert len(image.getcolors(1 << 20) or []) > 10
    for axes in figure.axes:
        if not axes.axison:
            continue
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts):
            box = text.get_window_extent()
            assert box.x0 > -1, text
            assert box.x1 < figure.bbox.width + 1, text
            assert box.y0 > -1, text
            assert box.y1 < figure.bbox.height + 1, text


@pytest.mark.parametrize(("dims", "data"), SIZES)
@pytest.mark.parametrize("name", FIGURES)
def test_every_size_can_be_drawn(name: str, dims: int, data: int) -> None:
    assert_drawn(FIGURES[name](dims, data, 0.0))


@pytest.mark.parametrize(
    ("bad", "dims", "data"),
    [
        (np.nan, 1, 1),
        (np.nan, 3, 30),
        (np.inf, 3, 30),
        (-np.inf, 1, 1),
        *(
            pytest.param(*more, marks=pytest.mark.slow)
            for more in ((np.inf, 1, 1), (-np.inf, 3, 30))
        ),
    ],
)
@pytest.mark.parametrize("name", FIGURES)
def test_numbers_that_are_none_do_not_spoil_a_picture(
    name: str, bad: float, dims: int, data: int
) -> None:
    assert_drawn(FIGURES[name](dims, data, bad))


def test_weights_tell_how_many_lie_above_the_threshold() -> None:
    khat = np.array([0.1, 0.2, 0.8, np.nan, 0.9])
    constant = np.array([False, False, False, False, True])
    title = weights(variables(khat=khat, degenerate=constant)).axes[0].get_title()
    assert title == "50 % of 4 data above 0.7; 1 more have constant weights"
    everywhere = weights(variables(khat=khat, degenerate=np.full(5, True)))
    assert any("constant for all 5 data" in text for text in texts(everywhere))


def test_every_datum_is_drawn_once_however_far_off() -> None:
    khat = np.concatenate([np.linspace(0, 1, 50), [1e6, np.inf, np.nan, -1e6]])
    figure = weights(variables(khat=khat, degenerate=np.zeros(len(khat), bool)))
    left, right = figure.axes
    assert sum(len(points.get_offsets()) for points in left.collections) == len(khat)
    assert sum(patch.get_width() for patch in right.patches[-24:]) == len(khat)
    assert "off the scale: 4" in left.get_xlabel()


def test_bars_of_latent_dimensions_are_sorted_and_named() -> None:
    kl = np.array([0.001, 2.0, np.nan, 3.0])
    active = np.array([False, True, True, True])
    arrays = variables(kl=kl, mean_variance=[1e-4, 1, 1, 1], active=active, information=kl)
    figure = latent_dimensions(arrays)
    upper, lower = figure.axes
    assert [label.get_text() for label in lower.get_xticklabels()] == ["3", "1", "2", "0"]
    heights = {round(p.get_x() + p.get_width() / 2): p.get_height() for p in upper.patches}
    assert heights == {0: 3.0, 1: 2.0, 2: 0.0, 3: 0.001}
    assert "?" in [text.get_text() for text in upper.texts]
    assert figure.get_suptitle() == "Latent dimensions: 3 of 4 active"


def test_band_holds_whole_lines_of_uniform_values_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    for count, level in ((50, 0.8), (1000, 0.95)):
        half = band(count, level)
        lines = [ecdf_difference(random.random(count)) for _ in range(2000)]
        held = np.mean([(np.abs(line) <= half + 1e-12).all() for line in lines])
        # 2000 lines: three standard errors are 0.027 and 0.015.
        assert abs(held - level) < 0.035
        assert half[0] == half[CELLS] == 0


def test_ecdf_difference_is_that_of_scipy() -> None:
    pit = numbers(200) % 1
    grid = np.linspace(0, 1, CELLS + 1)
    expected = stats.ecdf(pit).cdf.evaluate(grid) - grid
    np.testing.assert_allclose(ecdf_difference(pit), expected, atol=1e-12)


def test_an_ecdf_counts_what_is_equal() -> None:
    pit = np.array([0.0, 0.25, 0.5, 0.5, 1.0])
    found = ecdf_difference(pit)[[0, CELLS // 4, CELLS // 2, CELLS]]
    np.testing.assert_allclose(found, [0.2, 0.4 - 0.25, 0.8 - 0.5, 0.0], atol=1e-12)


def test_intervals_of_coverage_are_those_of_wilson() -> None:
    for held, count in ((0, 10), (9, 10), (761, 1000)):
        expected = stats.binomtest(held, count).proportion_ci(method="wilson")
        low, high = intervals(np.array([held / count]), count)
        np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=1e-6)


def test_only_active_dimensions_get_a_line_of_ranks() -> None:
    pit = np.random.default_rng(0).random((100, 4))
    arrays = variables(pit=pit, pit_log_joint=pit[:, 0], coverage=np.full(4, 0.9))
    figure = calibration(arrays, active=np.array([True, False, False, True]))
    names = [line.get_label() for line in figure.axes[0].lines]
    assert sorted(names) == ["log p(x, z)", "z[0]", "z[3]"]


def test_the_dimensions_that_deviate_most_are_drawn() -> None:
    z = numbers(500, 8)
    prior = np.random.default_rng(5).normal(size=(500, 8))
    z[:, 6] += 3
    z[:, 2] *= 4
    log = np.zeros(500)
    arrays = variables(aggregated=z, prior=prior, log_prior_aggregated=log, log_prior_prior=log)
    labels = [axes.get_xlabel().partition("\n")[0] for axes in aggregate(arrays).axes]
    assert labels[:2] == ["z[6]", "z[2]"]
    assert labels[3] == "log p(z), nats"
    expected = stats.ks_2samp(z[:, 2], prior[:, 2]).statistic
    assert distance(z[:, 2], prior[:, 2]) == pytest.approx(expected)


def test_two_gaps_add_up_to_the_whole() -> None:
    family, encoder = np.array([0.5, 0.1, 0.3]), np.array([1.0, 0.2, 0.1])
    columns = {"approximation_gap": family, "amortisation_gap": encoder}
    axes = gap(variables(gap=family + encoder, **columns)).axes[0]
    stacked = [patch for bars in axes.containers for patch in bars]
    tops = sorted(patch.get_y() + patch.get_height() for patch in stacked[3:])
    assert tops == pytest.approx(sorted(family + encoder))
    labels = axes.get_legend_handles_labels()[1]
    assert {"approximation gap, mean 0.30", "amortisation gap, mean 0.43"} < set(labels)
    unknown = gap(variables(gap=family, **dict.fromkeys(columns, np.full(3, np.nan))))
    assert len(unknown.axes[0].get_legend_handles_labels()[1]) == 1


def test_mean_difference_of_bounds_comes_with_its_error() -> None:
    lower, upper = np.zeros(100), numbers(100) + 0.3
    label = sandwich(variables(lower=lower, upper=upper)).axes[1].get_legend_handles_labels()[1]
    error = stats.sem(upper)
    assert label == [f"mean {upper.mean():.3f} ± {error:.3f}"]


def test_a_tail_beyond_all_replicates_is_only_bounded() -> None:
    replicates = np.linspace(0, 1, 200)[:, None]
    for observed, said in ((3.0, "< 1 %"), (0.5, "100 %")):
        figure = predictive(
            {
                "observed_statistic": Variable((), np.array([observed]), ""),
                "replicated_statistic": Variable((), replicates, ""),
            },
            ["mean"],
        )
        assert figure.axes[0].get_xlabel() == f"two-sided tail: {said}"


def test_a_tail_is_uniform_if_the_model_is_right() -> None:
    random = np.random.default_rng(0)
    tails = [tail(random.normal(), random.normal(size=99)) for _ in range(2000)]
    assert stats.kstest(tails, "uniform").statistic < 0.04


def test_of_many_statistics_those_farthest_off_are_drawn() -> None:
    replicated = numbers(50, 20)
    observed = np.zeros(20)
    observed[[3, 17]] = 8.0, -9.0
    arrays = variables(observed_statistic=observed, replicated_statistic=replicated)
    figure = predictive(arrays, [f"statistic {number}" for number in range(20)])
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 9
    assert {"statistic 3", "statistic 17"} < set(titles)
    assert figure.get_suptitle().endswith("9 of 20 statistics")


def test_chains_that_disagree_are_shown_as_the_worst() -> None:
    shift = np.array([[0.1], [0.9], [0.2], [0.0]])
    mixed = np.full((4, 1), 1.01)
    assert list(examples(mixed, shift).values()) == [1, 0, 3]
    split = mixed.copy()
    split[3] = np.nan
    assert examples(split, shift)["worst"] == 3
    assert examples(mixed[:1], shift[:1]) == {"worst": 0}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 11, 12, 13, 100])
def test_extremes_are_ordered_and_none_is_chosen_twice(count: int) -> None:
    score = torch.randn(count)
    kinds = choose(score)
    chosen = [number for numbers in kinds.values() for number in numbers]
    assert len(set(chosen)) == len(chosen) <= 12
    assert score[kinds["worst"][0]] == score.min()
    if count > 1:
        assert score[kinds["best"][0]] == score.max()
    if "middling" in kinds:
        middle = score[kinds["middling"]]
        assert score[kinds["worst"]].max() <= middle.min()
        assert middle.max() <= score[kinds["best"]].min()


KINDS: Mapping[str, tuple[tuple[int, ...], int]] = {
    "grey images": ((8, 8), 30),
    "coloured images": ((16, 24, 3), 30),
    "one image": ((8, 8), 1),
    "two images": ((8, 8), 2),
    "tables": ((6,), 30),
    "wide tables": ((60,), 4),
    "points": ((2,), 30),
    "one column": ((1,), 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_extremes_of_every_kind_of_data_can_be_drawn(kind: str) -> None:
    shape, count = KINDS[kind]
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (20, *shape), dtype=np.uint8)
    rows = random.normal(size=(20, *shape)).astype(np.float32)
    data = from_arrays(pixels if len(shape) > 1 else rows, name="noise $").train
    kinds = choose(torch.randn(min(count, len(data))))
    index = torch.tensor([number for numbers in kinds.values() for number in numbers])
    x = data.batch(index).x
    means = x.clone()
    means[0] = torch.nan
    values = (-12.34, -13.0, torch.nan)
    cases = [Case(kind, n, *values) for kind, members in kinds.items() for n in members]
    figure = extremes(data, x, means, cases)
    assert_drawn(figure)
    written = [text for text in texts(figure) if "log p(x)" in text]
    assert len(written) == len(index)
    assert f"no. {index[0]}\nlog p(x) −12.3\nELBO −13.0, k̂ unknown" in written


def test_a_scale_shows_most_values_and_counts_the_rest() -> None:
    values = np.concatenate([np.arange(100.0), [1e9, np.nan]])
    scale = scale_of(values)
    assert scale.hidden == 2
    assert (scale.low, scale.high) == (0.0, 99.0 + (scale.high - 99.0))
    assert scale.high < 200
    alone = scale_of(np.array([5.0]))
    assert alone.low < 5 < alone.high
