"""The picture of convergence: what was trained, and the weights that were kept."""

from __future__ import annotations

import io

import numpy as np
import pytest

from pyrovae.diagnosis.convergence import Convergence, Trend
from pyrovae.evaluation.hidden_units import HiddenUnits
from pyrovae.report.figures.convergence import convergence


@pytest.mark.parametrize("bad", [0.0, np.nan, -1e30])
@pytest.mark.parametrize(("epochs", "kept"), [(3, 0), (40, 20), (40, 39)])
def test_it_shows_every_epoch_and_the_kept_weights(epochs: int, kept: int, bad: float) -> None:
    validation = -90 - 1 / np.arange(1.0, epochs + 1)
    validation[1] += bad
    trend = Trend("ELBO", 1.0, 0.1, min(epochs, 8))
    units = HiddenUnits(0, 0)
    numbers = np.arange(1, epochs + 1)
    check = Convergence(numbers, validation + 1, validation, kept, 0.1, trend, units)
    figure = convergence(check)
    left, right = figure.axes
    curves = {line.get_label(): line.get_xydata() for line in left.lines}
    np.testing.assert_array_equal(np.asarray(curves["validation"])[:, 1], validation)
    star = np.asarray(curves[f"kept weights (epoch {kept + 1})"])
    np.testing.assert_array_equal(star, [[kept + 1, validation[kept]]])
    assert any("kept" in str(line.get_label()) for line in right.lines) == (kept >= epochs - 8)
    figure.savefig(io.BytesIO())
