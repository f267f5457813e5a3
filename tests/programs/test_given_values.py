"""Arrays and lists given to an autoencoder's methods: the numbers of tensors, or a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from pyrovae import Splits, build
from pyrovae.errors import PyrovaeError

FORMS = {
    "array": lambda x: x.numpy(),
    "read-only array": lambda x: np.broadcast_to(x.numpy(), x.shape),
    "integers": lambda x: x.numpy().astype(np.int64),
    "doubles": lambda x: x.double(),
    "list": lambda x: x.tolist(),
}
WRONG = {
    "another shape": lambda data: np.zeros((10, 5)),
    "a single number": lambda data: 3.0,
    "a split": lambda data: data.test,
    "all splits": lambda data: data,
    "a DataFrame": lambda data: pd.DataFrame(np.zeros((10, 64))),
    "a name": lambda data: "digits",
    "nothing": lambda data: None,
    "rows of different lengths": lambda data: [[1.0, 2.0], [3.0]],
}


@pytest.fixture(params=["vae", "handwritten"])
def autoencoder(request: pytest.FixtureRequest, few_digits: Splits) -> Any:
    return build(request.param, "svi", few_digits).eval()


@pytest.fixture
def x(few_digits: Splits) -> Tensor:
    return few_digits.test.batch(torch.arange(4)).x


@pytest.mark.parametrize("form", FORMS)
def test_any_form_gives_the_numbers_of_the_tensor(autoencoder: Any, x: Tensor, form: str) -> None:
    given = FORMS[form](x)
    z = autoencoder.encode(x).mean.detach()
    torch.testing.assert_close(autoencoder.encode(given).mean, z)
    torch.testing.assert_close(autoencoder.reconstruct(given), autoencoder.reconstruct(x))
    if form != "integers":
        decoded = autoencoder.decode(FORMS[form](z)).mean
        torch.testing.assert_close(decoded, autoencoder.decode(z).mean, check_dtype=False)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("method", ["encode", "reconstruct"])
def test_what_is_no_data_is_named(
    autoencoder: Any, few_digits: Splits, method: str, wrong: str
) -> None:
    with pytest.raises(PyrovaeError, match=rf"^{method}: .*: (give|embed)"):
        getattr(autoencoder, method)(WRONG[wrong](few_digits))


def test_a_mask_may_be_an_array(few_digits: Splits, x: Tensor) -> None:
    vae = build("vae", "svi", few_digits)
    known = torch.arange(64).reshape(1, 1, 8, 8).expand(x.shape) % 2 == 0
    expected = vae.reconstruct(x, known)
    torch.testing.assert_close(vae.reconstruct(x.numpy(), known.numpy()), expected)
    assert not torch.equal(vae.reconstruct(x), expected)


def test_latents_of_another_length_are_named(few_digits: Splits) -> None:
    with pytest.raises(PyrovaeError, match=r"latents of shape .2, 3., and the model has 8"):
        build("vae", "svi", few_digits).decode(np.zeros((2, 3)))


@pytest.mark.parametrize("count", ["ten", -3, 0, 2.5, True, None])
def test_a_number_of_draws_is_a_whole_number(autoencoder: Any, count: Any) -> None:
    with pytest.raises(PyrovaeError, match=r"^sample: .*whole number, 1 or more"):
        autoencoder.sample(count)


def test_numpys_integers_count(autoencoder: Any) -> None:
    assert len(autoencoder.sample(np.int64(3))) == 3


def test_a_model_with_parts_of_ones_own_knows_its_shape(few_digits: Splits) -> None:
    vae = build("vae", "svi", few_digits, encoder=torch.nn.Flatten())
    assert vae.shape == (1, 8, 8)
