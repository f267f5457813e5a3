"""A number that is not finite ends training, with a name, and spoils nothing on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pyrovae.training.loop
from pyrovae import InferenceSpec, Splits, Training, load_data
from pyrovae.errors import DivergenceError
from pyrovae.programs.handwritten import Handwritten
from pyrovae.training.loop import Callback
from pyrovae.training.order import epoch_order

pytestmark = pytest.mark.usefixtures("without_figures")

BATCH = 8  # two steps an epoch
TEXT = "loc, scale = encoder(x.flatten(1) / 16), x.new_ones(2)"
INK = "x.flatten(1).sum(-1, keepdim=True)"
# On an empty image the loss is not finite, or only its gradient.
IN_LOSS = (TEXT, f"{TEXT}\n        loc = loc * ({INK} / {INK})")
IN_GRADIENT = (TEXT, f"{TEXT}\n        loc = loc + ({INK} * encoder.bias.square()).sqrt()")
# Once a bias, on its way from below 1 to 3, has come far enough, whatever the data.
IN_TIME = ("decoder(z)", "((decoder(z) - 3) / (decoder.bias.max() < 1.5))")
# Once in thirty draws, so most likely not in the next one.
IN_DRAW = ("decoder(z)", "(decoder(z) / (torch.rand(()) < 0.97))")
SITES = {"loss": "site 'z' of the guide: loc", "gradient": "every site is finite"}


@pytest.fixture
def empty_image(here: Path, few: Splits) -> Callable[[int], Path]:
    """The twenty images, with an empty one in a certain step of the first epoch."""

    def put(step: int) -> Path:
        index = epoch_order(seed=0, epoch=0, count=16).split(BATCH)[step - 1]
        position = few.train.rows[int(index[index > 1][-1])]  # the first two are for rehearsal
        x = few.train.x.clone()
        x[position] = 0
        np.save(here / "images.npy", x[:, 0].numpy().astype(np.int64))
        return here / "images.npy"

    return put


@pytest.fixture(params=["anomaly_mode", "now and then"])
def watch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at every step, or only now and then and after that again."""
    if request.param == "anomaly_mode":
        run = Training.run

        def anomaly_mode(training: Training, *callbacks: Any) -> Any:
            training.anomaly_mode = True
            return run(training, *callbacks)

        monkeypatch.setattr(Training, "run", anomaly_mode)


def weights_in(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, weights_only=True)["state"]["weights"]


def assert_diverged(outcome: Any, words: list[str]) -> None:
    """The command has said why, and left a run that is whole and finite."""
    assert outcome.status == 2
    assert "Traceback" not in outcome.err
    assert [word for word in words if word not in outcome.err] == [], outcome.err
    run = Path("run")
    assert json.loads((run / "run.json").read_text())["status"] == "diverged"
    broken = [
        name
        for name, value in weights_in(run / "checkpoint.pt").items()
        if not torch.isfinite(value).all()
    ]
    assert broken == []
    assert list(run.glob(".*")) == []
    assert not (run / "weights.safetensors").exists()


@pytest.mark.usefixtures("watch")
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize(("what", "change"), [("loss", IN_LOSS), ("gradient", IN_GRADIENT)])
def test_a_divergence_names_step_site_and_parameter(
    command: Any,
    write_program: Any,
    empty_image: Callable[[int], Path],
    overrides: Any,
    step: int,
    what: str,
    change: tuple[str, str],
) -> None:
    words = overrides(declared=False)
    outcome = command(
        write_program(change), "svi", "--data", empty_image(step), "--output", "run", *words
    )
    named = [f"epoch 1, step {step}:", f"the {what} is not finite", SITES[what]]
    hints = ["parameter 'encoder.", "has a gradient", "state is in run", "lower learning rate"]
    assert_diverged(outcome, [*named, *hints])


@pytest.mark.usefixtures("watch")
@pytest.mark.parametrize("batch", [8, 16])  # one or two steps an epoch
@pytest.mark.parametrize("rate", ["1e20", "1e30"])
def test_a_huge_learning_rate_leaves_finite_weights_on_disk(
    command: Any, counts: Path, overrides: Any, rate: str, batch: int
) -> None:
    words = overrides(
        f"inference.optimiser.learning_rate={rate}",
        f"inference.batch_size={batch}",
        "inference.epochs=5",
    )
    outcome = command("--data", counts, "--output", "run", *words)
    assert_diverged(outcome, ["epoch ", "step ", "not finite", "parameter", "learning rate"])


@pytest.mark.usefixtures("watch")
def test_a_run_that_diverged_can_be_resumed_and_diverges_alike(
    command: Any, write_program: Any, empty_image: Callable[[int], Path], overrides: Any
) -> None:
    words = overrides(declared=False)
    program, data = write_program(IN_LOSS), empty_image(2)
    first = command(program, "svi", "--data", data, "--output", "run", *words)
    second = command("--resume", "run")
    assert (second.status, second.err) == (first.status, first.err)


def diverge(program: Path, data: Splits, *, anomaly_mode: bool) -> tuple[str, int, Training]:
    """The message of a training that diverges, and how many steps went well."""
    torch.manual_seed(0)
    autoencoder = Handwritten(program, data)
    optimiser = {"kind": "adam", "learning_rate": 0.05}
    spec = InferenceSpec.model_validate({"batch_size": 3, "optimiser": optimiser})
    training = Training(autoencoder, data, spec)
    training.anomaly_mode = anomaly_mode
    with pytest.raises(DivergenceError) as error:
        training.run()
    return str(error.value), training.step, training


def test_a_divergence_late_in_training_is_found_and_named_alike_with_and_without_watching(
    write_program: Any, few: Splits, same: Callable[[Any, Any], bool]
) -> None:
    program = write_program(IN_TIME)
    watched, step, training = diverge(program, few, anomaly_mode=True)
    replayed, replayed_step, replayed_training = diverge(program, few, anomaly_mode=False)
    assert step > 6  # six steps an epoch: not the first one
    assert f"epoch {step // 6 + 1}, step {step + 1}: the loss is not finite" in watched
    assert (replayed, replayed_step) == (watched, step)
    assert same(replayed_training.state_dict()["weights"], training.state_dict()["weights"])


@pytest.mark.parametrize("anomaly_mode", [True, False])
def test_a_divergence_at_a_rare_draw_is_named_by_drawing_it_again(
    write_program: Any, few: Splits, anomaly_mode: bool
) -> None:
    message, step, _ = diverge(write_program(IN_DRAW), few, anomaly_mode=anomaly_mode)
    assert step > 0  # it was not there at once
    assert f"step {step + 1}: the loss is not finite; site 'x' of the model: logits" in message


def test_numbers_are_looked_at_before_the_epoch_ends(
    write_program: Any, few: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyrovae.training.loop, "CHECK_EVERY", 2)
    torch.manual_seed(0)
    autoencoder = Handwritten(write_program(IN_DRAW), few)
    training = Training(autoencoder, few, InferenceSpec(batch_size=1, epochs=50))
    seen: list[int] = []

    class Watch(Callback):
        def on_step(self, training: Training) -> None:
            seen.append(training.step)

    with pytest.raises(DivergenceError, match="the loss is not finite"):
        training.run([Watch()])
    again = next(i for i in range(1, len(seen)) if seen[i] <= seen[i - 1])
    # Gone back to the start of the epoch at the first look after the step that went wrong.
    assert seen[again] % 16 == 1
    assert seen[again - 1] - training.step in (1, 2)
    assert seen[again:] == list(range(seen[again], training.step + 1))


@pytest.mark.parametrize("likelihood", ["binomial", "bernoulli"])
def test_watching_changes_no_number(
    make_training: Any, same: Callable[[Any, Any], bool], likelihood: str
) -> None:
    binarisation = "dynamic" if likelihood == "bernoulli" else "none"
    model = {"likelihood": {"kind": likelihood}, "binarisation": binarisation}
    watched, unwatched = make_training({}, model), make_training({}, model)
    watched.anomaly_mode = True
    for training in (watched, unwatched):
        torch.manual_seed(0)
        training.run()
    assert same(unwatched.state_dict(), watched.state_dict())


def test_a_divergence_in_training_leaves_the_data_alone(
    write_program: Any, empty_image: Callable[[int], Path]
) -> None:
    path = empty_image(1)
    data = load_data(path)
    before = data.fingerprint()
    torch.manual_seed(0)
    program = Handwritten(write_program(IN_LOSS), data)
    with pytest.raises(DivergenceError):
        Training(program, data, InferenceSpec(batch_size=BATCH)).run()
    assert data.fingerprint() == before
