"""Display in a notebook: short, escaped, and without arrays."""

from __future__ import annotations

import base64
import importlib
import io
import math
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import pyrovae.diagnosis
import pyrovae.exploration
from pyrovae import InferenceSpec, ModelSpec, Splits, build, fit, load_data, notebook
from pyrovae.data import Batch, Dataset
from pyrovae.diagnosis.diagnosis import diagnose
from pyrovae.evaluation.results import Check
from pyrovae.exploration.manifold import manifold
from pyrovae.exploration.result import Result
from pyrovae.runs.loading import load_run
from pyrovae.training.records import History

RUN = Path(__file__).parent / "fixtures/runs/finished"


@pytest.fixture
def shown(fewer: None) -> dict[str, Any]:
    """An object of each class that a notebook displays."""
    data = load_data("digits")
    model = ModelSpec(latent_dim=2, decoder={"kind": "mlp", "widths": (8,)})
    inference = InferenceSpec(epochs=2)
    vae = build(model, inference, data)
    few = Splits(*(split.first(60) for split in data))
    diagnosis = diagnose(vae, few.test, draws=100)
    found = {type(check).__name__: check for check in diagnosis.checks}
    table = load_data(np.random.default_rng(0).normal(size=(40, 12)))
    batch = few.test.batch(torch.arange(20))
    history = fit(vae, few, inference)
    return {
        "splits": data,
        "dataset": data.test,
        "table": table,
        "vae": vae,
        "model": model,
        "inference": inference,
        "history": history,
        "diagnosis": diagnosis,
        **found,
        "manifold": manifold(vae, batch, size=3),
        "run": load_run(RUN, device="cpu"),
    }


def tree(markup: str) -> ElementTree.Element:
    """The markup as a tree; parsing fails if a tag is not closed or a text not escaped."""
    return ElementTree.fromstring(re.sub(r"<(br|img[^>]*)>", r"<\1/>", markup))


def test_everything_is_displayed_in_words_and_no_tensor_is_printed(shown: dict[str, Any]) -> None:
    for name, each in shown.items():
        markup = each._repr_html_()
        text = "".join(tree(markup).itertext())
        assert text.strip(), name
        for written in (text, repr(each)):
            assert "tensor(" not in written, name
            assert "array(" not in written, name
        assert len(repr(each)) < 1000, name
        assert len(markup) < 30_000, name


def subclasses(base: type) -> Iterator[type]:
    for each in base.__subclasses__():
        yield each
        yield from subclasses(each)


@pytest.mark.parametrize(
    ("base", "package"), [(Check, pyrovae.diagnosis), (Result, pyrovae.exploration)]
)
def test_no_check_and_no_analysis_prints_its_arrays(base: type, package: Any) -> None:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    found = [each for each in subclasses(base) if each.__module__.startswith("pyrovae.")]
    assert len(found) > 5
    assert [each for each in found if each.__repr__ is not base.__repr__] == []


def test_text_of_a_user_is_escaped(few_digits: Splits) -> None:
    name = "<script>alert('&')</script>"
    data = replace(few_digits.train, name=name)
    for markup in (
        data._repr_html_(),
        Splits(data, data, data)._repr_html_(),
        notebook.card(name),
        notebook.table({name: name}),
        notebook.preformatted(name),
    ):
        assert "<script>" not in markup
        assert name in "".join(tree(markup).itertext())


def test_the_first_images_are_those_of_the_data(few_digits: Splits) -> None:
    data = few_digits.train
    found = re.search('base64,([^"]*)', data._repr_html_())
    assert found is not None
    line = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))
    images = data.batch(torch.arange(12)).x.numpy()[:, 0] / data.levels
    for number, image in enumerate(images):
        left = number * 9  # eight pixels and a white gap
        assert np.abs(line[:, left : left + 8] / 255 - image).max() < 1 / 255
        assert (line[:, left + 8] == 255).all()


def test_values_that_are_not_known_are_not_shown() -> None:
    x, known = torch.full((20, 3), 7.25), torch.ones(20, 3, dtype=torch.bool)
    known[:, 1] = False
    data = Dataset("rows", x, torch.arange(20), None, None, variables={"x_known": known})
    cells = [cell.text for cell in tree(data._repr_html_()).iter("td")]
    assert cells[:3] == ["7.25", "–", "7.25"]


def test_a_curve_rises_with_its_values_and_leaves_out_what_is_not_finite() -> None:
    values = [-5.0, -3.0, math.nan, -2.0]
    points = re.search('points="([^"]*)"', notebook.curves({"line": values}))
    assert points is not None
    across, down = np.array([pair.split(",") for pair in points[1].split()], float).T
    assert len(across) == 3
    assert (np.diff(across) > 0).all()
    assert (np.diff(down) < 0).all()  # pixels are counted from above
    assert notebook.curves({"line": [math.nan]}) == ""


def test_a_history_is_a_list_with_a_row_for_each_record(few_digits: Splits) -> None:
    history = fit(build(data=few_digits), few_digits, InferenceSpec(epochs=2))
    assert history == list(history)
    assert history.kept == 2
    frame = history.frame()
    assert len(frame) == len(history)
    elbos = frame["reconstruction"] - frame["kl"]
    assert np.allclose(frame["elbo"], elbos, rtol=1e-4)
    assert "no epoch" in repr(History())


def test_a_batch_is_written_as_its_shapes() -> None:
    assert repr(Batch(torch.zeros(3, 2), {"y": torch.zeros(3)})) == "Batch(x (3, 2), y (3,))"
