"""Probabilities, entropy and information of discrete latents, and their agreement with labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyrovae.data import Batch, from_arrays
from pyrovae.diagnosis.calibration import check_calibration
from pyrovae.diagnosis.classes import ClassUse, check_classes
from pyrovae.evaluation.classes import class_probabilities
from pyrovae.evaluation.simulation import simulate
from pyrovae.programs.handwritten import Handwritten
from pyrovae.report.figures.discrete_latents import discrete_latents

N = 60
X = np.random.default_rng(0).normal(size=(N, 3))
CLASSES = np.arange(N) % 3

# A mixture of three normals, its exact posterior, and labels for some of the data.
MIXTURE = """\
import pyro
import pyro.distributions as dist
import torch
from torch import nn

means = nn.Parameter(torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]))


def model(x, y, y_known):
    m = pyro.param("means", means)
    with pyro.plate("data", len(x)):
        k = pyro.sample("y", dist.Categorical(logits=x.new_zeros(3)))
        pyro.sample("x", dist.Normal(m[k], 1.0).to_event(1), obs=x)


def guide(x, y, y_known):
    m = pyro.param("means", means)
    posterior = dist.Normal(m, 1.0).to_event(1).log_prob(x.unsqueeze(1))
    logits = torch.where(y_known[:, None], torch.eye(3)[y].log(), posterior)
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Categorical(logits=logits))
"""
# Two classes for each observation, of which the guide draws the second given a latent.
TWO = """\
import pyro
import pyro.distributions as dist
import torch
from torch import nn

weight = nn.Parameter(torch.tensor(2.0))


def model(x):
    pyro.param("weight", weight)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("both", 2):
            pyro.sample("k", dist.Bernoulli(0.5))
        pyro.sample("x", dist.Normal(x.new_zeros(3), 1.0).to_event(1), obs=x)


def guide(x):
    w = pyro.param("weight", weight)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("both", 2) as i:
            pyro.sample("k", dist.Bernoulli(logits=w * z * i[:, None]))
"""


@pytest.fixture
def mixture(tmp_path: Path) -> Callable[..., tuple[Handwritten, Batch]]:
    def make(*, known: bool) -> tuple[Handwritten, Batch]:
        (tmp_path / "mixture.py").write_text(MIXTURE, encoding="utf-8")
        variables = {"y": CLASSES, "y_known": np.full(N, known)}
        data = from_arrays(X, variables=variables)
        program = Handwritten(tmp_path / "mixture.py", data)
        split = program.contract.apply(data).train
        return program, split.batch(torch.arange(len(split)))

    return make


@pytest.mark.parametrize("known", [False, True])
def test_probabilities_are_those_of_the_posterior_whatever_is_known(
    mixture: Any, known: bool
) -> None:
    program, batch = mixture(known=known)
    (found,) = class_probabilities(program, batch).values()
    expected = (3 * batch.x.double()).softmax(1)  # normals of one scale, 3 from zero
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_a_class_that_depends_on_a_latent_has_the_mean_probability(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO, encoding="utf-8")
    data = from_arrays(X)
    program = Handwritten(tmp_path / "two.py", data)
    found = class_probabilities(program, data.train.batch(torch.arange(20)))
    assert list(found) == ["k[0]", "k[1]"]
    assert torch.equal(found["k[0]"], torch.full((20, 2), 0.5).double())
    # By symmetry 1/2 as well, and not the same at each draw.
    assert (found["k[1]"] - 0.5).abs().max() < 5 * 0.33 / 100**0.5
    assert (found["k[1]"].sum(1) - 1).abs().max() < 1e-6
    assert found["k[1]"].std() > 0


def certain(classes: np.ndarray) -> np.ndarray:
    return np.eye(3)[classes]


def test_a_certain_guide_has_the_information_of_its_classes() -> None:
    use = ClassUse("y", certain(CLASSES), (CLASSES + 1) % 3)
    assert use.entropy == 0
    assert use.information == pytest.approx(math.log(3))
    assert use.agreement == 0
    assert use.best_agreement == 1
    assert use.confusion is not None
    assert use.confusion.sum() == N


def test_a_guide_that_does_not_look_at_the_data_knows_nothing() -> None:
    use = ClassUse("y", np.tile([0.5, 0.3, 0.2], (N, 1)), None)
    assert use.information == pytest.approx(0, abs=1e-12)
    assert use.entropy == pytest.approx(-sum(p * math.log(p) for p in (0.5, 0.3, 0.2)))
    assert use.confusion is None
    assert math.isnan(use.agreement)


def test_a_class_without_information_fails(mixture: Any) -> None:
    program, batch = mixture(known=False)
    assert check_classes(program, batch).verdict().grade == "ok"
    with torch.no_grad():
        program.get_parameter("means").zero_()
    verdict = check_classes(program, batch).verdict()
    assert verdict.grade == "FAIL"
    assert verdict.advice.startswith("q(y | x) is the same for all data")


def test_labels_may_be_more_than_the_classes() -> None:
    labels = np.arange(N) % 5
    use = ClassUse("y", certain(CLASSES), labels)
    assert use.confusion is not None
    assert use.confusion.shape == (5, 5)
    assert use.agreement == (labels == CLASSES).mean()


def test_labels_are_not_those_of_simulated_data(mixture: Any) -> None:
    found = []
    for known in (False, True):
        program, batch = mixture(known=known)
        torch.manual_seed(0)
        simulated = simulate(program, batch)
        assert not simulated.batch.others["y_known"].any()
        found.append(simulated)
    assert torch.equal(found[0].x, found[1].x)
    assert torch.equal(found[0].z, found[1].z)
    assert found[0].z.unique().tolist() == [0.0, 1.0, 2.0]


def test_calibration_of_a_class_alone_says_so(mixture: Any) -> None:
    program, batch = mixture(known=True)
    with pytest.raises(Exception, match="are discrete"):
        check_calibration(program, batch)


@pytest.mark.parametrize("labels", [None, CLASSES])
def test_the_picture_has_the_numbers(labels: np.ndarray | None) -> None:
    figure = discrete_latents([ClassUse("y", certain(CLASSES), labels)])
    left, right = figure.axes
    assert [bar.get_height() for bar in left.patches] == pytest.approx([1 / 3] * 3)
    if labels is None:
        assert sum(bar.get_height() for bar in right.patches) == N
    else:
        shares: Tensor = right.images[0].get_array()
        assert np.array_equal(np.asarray(shares), np.eye(3))
