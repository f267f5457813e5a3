"""What the version before families were parts has written, opened by this one.

``tests/fixtures`` holds, as that version wrote them: the weights of small
autoencoders of digits with each guide, and what they say of the first five test observations;
a finished run; and the same run interrupted after step 30 of 39.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pyrovae import evaluate, load, load_data
from pyrovae.errors import CheckpointError
from pyrovae.evaluation.bound import evaluate as bound
from pyrovae.runs.loading import load_run
from pyrovae.runs.weights import load_weights

FIXTURES = Path(__file__).parents[1] / "fixtures"
EXPECTED: dict[str, dict[str, Any]] = json.loads((FIXTURES / "weights/expected.json").read_text())
CLOSE = {"rtol": 1e-4, "atol": 1e-4}

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture
def older(here: Path) -> Callable[[str], Path]:
    """A copy of a run of the version before."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(FIXTURES / "runs" / name, here / name))

    return copy


def elbo_of(run: Path) -> float:
    return json.loads((run / "run.json").read_text())["test"]["elbo"]


@torch.no_grad()
@pytest.mark.parametrize("guide", EXPECTED)
def test_the_weights_of_every_guide_open_and_say_the_same(guide: str) -> None:
    vae = load(FIXTURES / "weights" / f"{guide}.safetensors")
    x = load_data("digits").test.batch(torch.arange(5)).x
    z = torch.tensor([0.6, 0.8]).expand(5, 2)
    q: Any = vae.encode(x)
    found: dict[str, Tensor] = {"log_likelihood": vae.decode(z).log_prob(x)}
    found |= {"mean": q.mean} if guide == "delta" else {"log_guide": q.log_prob(z)}
    for name, values in EXPECTED[guide].items():
        torch.testing.assert_close(found[name], torch.tensor(values), **CLOSE)


def test_weights_that_are_renamed_are_not_changed_for_whoever_gave_them() -> None:
    vae = load(FIXTURES / "weights" / "full_rank.safetensors")
    now = vae.posterior.state_dict()
    before = {name.removeprefix("family."): value + 1 for name, value in now.items()}
    names = list(before)
    vae.posterior.load_state_dict(before)
    assert list(before) == names
    for name, value in vae.posterior.state_dict().items():
        assert torch.equal(value, before[name.removeprefix("family.")])


def test_weights_of_another_guide_are_refused_as_ever() -> None:
    vae = load(FIXTURES / "weights" / "diagonal.safetensors")
    for other in ("full_rank", "delta", "mixture"):
        with pytest.raises(CheckpointError, match="these are weights of another autoencoder"):
            load_weights(vae, FIXTURES / "weights" / f"{other}.safetensors")


def test_a_finished_run_opens_and_can_be_evaluated(older: Any, command_of: Any) -> None:
    run = older("finished")
    opened = load_run(run)
    assert opened.notes == ()
    # Of 360 draws; the standard deviation of each is a few nats.
    assert bound(opened.autoencoder, opened.data.test).elbo == pytest.approx(elbo_of(run), abs=3)
    outcome = command_of(evaluate.main)(run, "--num", "20", "--samples", "20")
    assert outcome.status == 0, outcome.err


def test_an_unfinished_run_opens_with_its_last_weights(older: Any) -> None:
    opened = load_run(older("interrupted"))
    (note,) = opened.notes
    assert "best weights, of epoch 2 of 3" in note  # it stops early
    assert bound(opened.autoencoder, opened.data.test).elbo > -400


def test_an_interrupted_run_of_the_version_before_is_refused_by_name(
    older: Any, command: Any
) -> None:
    run = older("interrupted")
    outcome = command("--resume", run)
    assert outcome.status == 2
    assert "the checkpoint was not written by this version of pyrovae" in outcome.err
