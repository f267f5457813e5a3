"""``embed``: the means of q(z | x) of data in any form, the same as elsewhere, or a refusal."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from pyrovae import Splits, build, load_data
from pyrovae.errors import DataError


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load_data("digits")


@pytest.fixture(scope="module")
def vae(digits: Splits) -> Any:
    return build("vae", "svi", digits)


@pytest.fixture(scope="module")
def x(digits: Splits) -> Tensor:
    """The first test data as they are stored, uint8."""
    return digits.test.batch(torch.arange(600 // 9)).x.to(torch.uint8)


FORMS = {
    "tensor": lambda x: x,
    "array": lambda x: x.numpy(),
    "floats": lambda x: x.double().numpy(),
    "without a channel": lambda x: x[:, 0],
    "channel last": lambda x: x.permute(0, 2, 3, 1).numpy(),
    "rows": lambda x: x.flatten(1).numpy(),
    "DataFrame": lambda x: pd.DataFrame(x.flatten(1).numpy()),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_means_of_the_guide_whatever_form_data_have(vae: Any, x: Tensor, form: str) -> None:
    with torch.no_grad():
        expected = vae.encode(x.float()).mean.numpy()
    found = vae.embed(FORMS[form](x))
    assert isinstance(found, pd.DataFrame if form == "DataFrame" else np.ndarray)
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-6)


def test_a_split_is_embedded_row_by_row(vae: Any, digits: Splits) -> None:
    whole = vae.embed(digits.test)
    assert whole.shape == (len(digits.test), 8)
    np.testing.assert_allclose(whole[:7], vae.embed(digits.test.first(7)), atol=1e-6)
    one = vae.embed(digits.test.batch(torch.tensor([5])).x)
    np.testing.assert_allclose(one, whole[5:6], atol=1e-6)


def test_nothing_of_the_model_changes(vae: Any, x: Tensor) -> None:
    vae.train()
    before = torch.get_rng_state()
    vae.embed(x)
    assert vae.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_a_data_frame_keeps_its_index_and_gets_names(vae: Any, x: Tensor) -> None:
    index = [f"row {i}" for i in range(len(x))]
    found = vae.embed(pd.DataFrame(x.flatten(1).numpy(), index=index))
    assert list(found.index) == index
    assert list(found.columns) == [f"z[{i}]" for i in range(8)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda x, data: data, "one split"),
        (lambda x, data: "digits", "one split"),
        (lambda x, data: x[:, :, :3], r"shape \(66, 1, 3, 8\).*shape \(1, 8, 8\)"),
        (lambda x, data: x[0, 0, 0], r"shape \(8,\).*a row for each"),
        (lambda x, data: x[:0], "a row for each"),
        (lambda x, data: x.numpy().astype(str), "type <U"),
        (lambda x, data: np.full((2, 64), np.nan), "NaN or infinite"),
        (lambda x, data: [1, 2], r"shape \(2,\).*a row for each"),
    ],
)
def test_what_is_no_data_of_the_model_is_refused(
    vae: Any, x: Tensor, digits: Splits, given: Any, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        vae.embed(given(x, digits))


def test_bits_stay_as_they_are_and_grey_values_are_refused(digits: Splits, x: Tensor) -> None:
    for kind in ("threshold", "dynamic"):
        vae = build("bernoulli", "svi", digits, {"model.binarisation": kind})
        bits = (x >= 8).float()
        with torch.no_grad():
            expected = vae.encode(bits).mean.numpy()
        np.testing.assert_allclose(vae.embed(bits), expected, atol=1e-6)
        with pytest.raises(DataError, match=r"x has the value 1., and the model sees"):
            vae.embed(x)


def test_a_program_gets_its_variables_from_a_split_alone(digits: Splits, x: Tensor) -> None:
    cvae: Any = build("cvae", "svi", digits)
    batch = cvae.contract.apply(digits).test.batch(torch.arange(1))
    assert list(batch.others) == ["y"]
    assert cvae.embed(digits.test).shape == (len(digits.test), 8)
    with pytest.raises(DataError, match="no variable y, which the programs take"):
        cvae.embed((x > 8).float())


SCALES: dict[str, tuple[str, Any, str | None]] = {
    "negative counts": ("poisson", lambda x: -x, "the value -1., and p.* from 0 to inf"),
    "more than all": ("binomial", lambda x: 2 * x, "the value 3.*takes values from 0 to 16"),
    "negative levels": ("discretized_logistic", lambda x: x - 8, "the value -8, and p.* from 0"),
    "negative bits": ("bernoulli", lambda x: x / 8 - 1, "the value -1, and p.* from 0 to 1"),
    "negative shares": ("continuous_bernoulli", lambda x: x / 8 - 1, "the value -1, and p"),
    "larger counts": ("poisson", lambda x: 2 * x, None),
    "real values": ("normal", lambda x: x / 16 - 0.5, None),
}


@pytest.mark.parametrize("scale", SCALES)
def test_an_array_has_the_bounds_of_the_likelihood(digits: Splits, x: Tensor, scale: str) -> None:
    """Those that ``fit`` refuses as well."""
    kind, moved, words = SCALES[scale]
    bits = {"model.binarisation": "threshold"} if kind == "bernoulli" else {}
    vae = build("vae", "svi", digits, {"model.likelihood.kind": kind, **bits})
    if words is None:
        assert len(vae.embed(moved(x.float()))) == len(x)
        return
    with pytest.raises(DataError, match=words):
        vae.embed(moved(x.float()))


def test_values_that_were_divided_are_warned_of(vae: Any, x: Tensor) -> None:
    with pytest.warns(UserWarning, match=r"at most 1, and .* from 0 to 16") as said:
        vae.embed(x / 16)
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae.embed(x)
        vae.embed((x > 8).float())  # whole numbers may be small
