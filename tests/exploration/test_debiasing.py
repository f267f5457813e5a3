"""What two fits give to rare and to common data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pyrovae import InferenceSpec, Splits, build, load_data
from pyrovae.data import Dataset
from pyrovae.data.class_imbalance import thin
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.pointwise import evaluate_pointwise
from pyrovae.exploration.debiasing import Debiasing, debias, variants
from pyrovae.report.figures.debiasing import debiasing
from pyrovae.specs.files import validate
from pyrovae.specs.resampling import HistogramResamplingSpec, KernelResamplingSpec

KERNEL = KernelResamplingSpec(bandwidth=0.5)
FEW: dict[str, Any] = {"samples": 4, "num": 3}


@pytest.fixture
def digits() -> Splits:
    return load_data("digits")


def table(labels: bool = True, columns: int = 5) -> Splits:
    x = torch.randint(0, 2, (40, columns)).float()
    classes = torch.arange(40) % 4 if labels else None
    whole = Dataset("rows", x, torch.arange(40), classes, 1.0)
    rows = torch.arange(40).split([24, 8, 8])
    return Splits(*(replace(whole, rows=part) for part in rows))


def counts(data: Dataset) -> list[int]:
    labels = data.label(torch.arange(len(data)))
    assert labels is not None
    return labels.bincount(minlength=10).tolist()


def test_some_classes_are_thinned_and_nothing_else_changes(digits: Splits) -> None:
    cut = thin(digits, [2, 7], 0.1)
    for before, after in zip(digits[:2], cut[:2], strict=True):
        for label, (whole, left) in enumerate(zip(counts(before), counts(after), strict=True)):
            assert left == (round(0.1 * whole) if label in {2, 7} else whole)
        assert set(after.rows.tolist()) <= set(before.rows.tolist())
    assert cut.test is digits.test
    assert cut.fingerprint() == thin(digits, [7, 2], 0.1).fingerprint()
    assert thin(digits, [2, 7], 1.0).fingerprint() == digits.fingerprint()


@pytest.mark.parametrize(
    ("classes", "keep", "words"),
    [
        ([11], 0.5, "digits has no class 11 to make rare; it has 0, 1, 2"),
        ([3], 0.0001, r"keeping 0.0001 of the \d+ training data of class 3 .* choose 0.0"),
        ([3], 0.0, "would leave none"),
        ([3], 1.5, "or more than there are"),
    ],
)
def test_what_cannot_be_thinned_is_refused(
    digits: Splits, classes: list[int], keep: float, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        thin(digits, classes, keep)


def test_data_without_labels_cannot_be_thinned() -> None:
    with pytest.raises(DataError, match="rows has no labels"):
        thin(table(labels=False), [1], 0.5)


def test_variants_differ_in_resampling_alone() -> None:
    spec = InferenceSpec(epochs=7)
    found = variants(spec)
    assert found["off"] == spec
    assert found["on"].model_copy(update={"resampling": None}) == spec
    assert found["on"].resampling == KernelResamplingSpec()
    histogram = HistogramResamplingSpec(alpha=0.5)
    assert variants(found["on"], histogram)["on"].resampling == histogram
    own = variants(spec.model_copy(update={"resampling": histogram}))
    assert (own["off"].resampling, own["on"].resampling) == (None, histogram)


def test_variants_that_cannot_be_fitted_are_refused() -> None:
    spec = validate({"objective": {"kind": "tc"}}, InferenceSpec, "inference")
    with pytest.raises(SpecError, match="no sum over data"):
        variants(spec, KernelResamplingSpec(importance_weights=True))


def test_shares_and_differences_are_what_they_say(digits: Splits) -> None:
    cut = thin(digits, [2], 0.1)
    spec = variants(InferenceSpec(epochs=1), KERNEL)
    before = build("vae", spec["off"], cut)
    after = build("vae", spec["on"].model_copy(update={"seed": 1}), cut)
    with torch.no_grad():  # codes that vary, as of a fitted encoder
        after.posterior.family.loc.weight.mul_(5)  # type: ignore[union-attr, operator]
    seen = after.contract.apply(cut)
    found = debias(before, after, seen, [2], **FEW)
    assert found.resampling == KERNEL
    assert found.share_before.tolist() == pytest.approx(
        [count / len(cut.train) for count in counts(cut.train)]
    )
    labels = cut.train.label(torch.arange(len(cut.train)))
    assert labels is not None
    by_hand = [found.chances[labels == label].sum().item() for label in range(10)]
    assert found.share_after.tolist() == pytest.approx(by_hand)
    assert found.share_after.sum().item() == pytest.approx(1)
    assert found.share(after=True) == pytest.approx(by_hand[2])
    assert 0 < found.worth < 1
    test_labels = cut.test.label(torch.arange(len(cut.test)))
    assert test_labels is not None
    # Judged again, at the same data and with the same random numbers.
    chosen = torch.cat([(test_labels == label).nonzero()[:3, 0] for label in range(10)]).sort()[0]
    x = seen.test.batch(chosen).x
    difference = (
        evaluate_pointwise(after, x, 4).log_prob - evaluate_pointwise(before, x, 4).log_prob
    )
    torch.testing.assert_close(found.log_prob, difference)
    mean = difference[test_labels[chosen] == 2].mean().item()
    numbers = {number.name: number for number in found.numbers()}
    assert numbers["log p(x) of rare classes"].value == pytest.approx(mean)
    levels = {name: variable.values for name, variable in found.variables().items()}
    for when, fit in (("before", before), ("after", after)):
        expected = evaluate_pointwise(fit, x, 4).log_prob[test_labels[chosen] == 2].mean().item()
        assert levels[f"class_log_prob_{when}"][2] == pytest.approx(expected)
    factor = found.share_after[2] / found.share_before[2]
    assert numbers["rise of the share"].value == pytest.approx(factor.item())
    assert f"{factor:.1f} times as many" in found.summary()
    assert found.most_factor[0] == found.chances.max() * len(found.chances)
    assert found.least_factor[0] == found.chances.min() * len(found.chances)
    assert_shows(found, seen.train)


def assert_shows(found: Debiasing, data: Dataset) -> None:
    """Every variable has the dimensions it says, and there is a picture."""
    sizes: dict[str, int] = {}
    for variable in found.variables().values():
        assert variable.values.ndim == len(variable.dims)
        for dim, size in zip(variable.dims, variable.values.shape, strict=True):
            assert sizes.setdefault(dim, size) == size
    figure = debiasing(found, data)
    figure.canvas.draw()
    assert found.title.lower() in figure.get_suptitle()
    assert all(number.definition for number in found.numbers())


def test_two_equal_fits_differ_by_nothing(make_vae: Any, covering_pair: tuple[str, str]) -> None:
    vae, data = make_vae(*covering_pair).float(), table()
    found = debias(vae, vae, data, [1, 3], resampling=KERNEL, **FEW)
    assert (found.reconstruction == 0).all()
    point = covering_pair[1] == "delta"
    assert found.log_prob.isnan().all() if point else (found.log_prob == 0).all()
    assert ("the guide is a point" in found.summary()) == point
    if point:
        assert_shows(found, data.train)


def test_any_likelihood_can_be_looked_at(
    make_vae: Any, covering_likelihood: dict[str, Any]
) -> None:
    vae, data = make_vae(likelihood=covering_likelihood).float(), table()
    first = vae.sample(40).reshape(40, 5).float()
    data = Splits(*(replace(split, x=first) for split in data))
    found = debias(vae, vae, data, [1], resampling=KERNEL, **FEW)
    assert (found.log_prob == 0).all()


def test_without_labels_the_ends_are_shown_and_no_classes(make_vae: Any) -> None:
    vae, data = make_vae().float(), table(labels=False)
    found = debias(vae, vae, data, resampling=KERNEL, **FEW)
    assert set(found.variables()) == {"log_prob_difference", "reconstruction_difference"}
    assert len(found.most_likely) == 20
    assert "unlikeliest" in found.summary()
    assert_shows(found, data.train)
    with pytest.raises(DataError, match=r"rows has no labels, and so no classes \[1\]"):
        debias(vae, vae, data, [1], resampling=KERNEL)


def test_no_class_need_be_singled_out(make_vae: Any) -> None:
    vae, data = make_vae().float(), table()
    found = debias(vae, vae, data, resampling=KERNEL, **FEW)
    assert found.share_before.tolist() == pytest.approx([0.25] * 4)
    assert "unlikeliest" in found.summary()
    assert_shows(found, data.train)


def test_unknown_classes_and_unknown_draws_are_refused(make_vae: Any) -> None:
    vae, data = make_vae().float(), table()
    with pytest.raises(DataError, match="no class 7, but 0, 1, 2, 3"):
        debias(vae, vae, data, [7], resampling=KERNEL)
    with pytest.raises(SpecError, match=r"not declared with inference\.resampling"):
        debias(vae, vae, data, [1])


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_shown(make_vae: Any, channels: int) -> None:
    network = {"kind": "mlp", "widths": (7,), "activation": "tanh"}
    vae = make_vae(network=network, shape=(channels, 4, 4)).float()
    data = table(columns=channels * 16)
    images = [replace(split, x=split.x.reshape(-1, channels, 4, 4)) for split in data]
    found = debias(vae, vae, Splits(*images), [0], resampling=KERNEL, **FEW)
    assert found.most_likely.shape == (20, channels, 4, 4)
    assert_shows(found, images[0])


def test_a_class_without_test_data_is_said_to_have_none(make_vae: Any) -> None:
    vae, data = make_vae().float(), table()
    test = data.test
    labels = test.label(torch.arange(len(test)))
    assert labels is not None
    without = Splits(data.train, data.validation, replace(test, rows=test.rows[labels != 1]))
    found = debias(vae, vae, without, [1], resampling=KERNEL, **FEW)
    assert "nothing is known: there are none" in found.summary()
    assert np.isnan(found.variables()["class_log_prob"].values[1])
    assert_shows(found, data.train)
