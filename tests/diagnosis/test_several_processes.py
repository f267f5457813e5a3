"""Several processes that share a diagnosis find what one alone finds."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.data import Batch, Dataset
from pyrovae.diagnosis import diagnosis as module
from pyrovae.diagnosis.diagnosis import Diagnosis, diagnose
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.results import NotApplicable
from pyrovae.programs.autoencoder import Autoencoder, Formulas
from pyrovae.specs.computation import Computation

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
N = 12
SHARED = ["log p(x)", "inference gap", "chains"]


class Data(Dataset):
    def batch(self, index: Tensor) -> Batch:
        return Batch(self.x[index])


def none(*_: Any) -> Any:
    raise SpecError("not looked at here")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps, parts of the data of four, and none of the checks that each process makes."""
    for name in ("calibration", "collapse", "aggregate", "predictive"):
        monkeypatch.setattr(module, f"check_{name}", none)
    for name, options in {
        "check_mcmc": {"warmup": 2, "draws": 6},
        "check_sandwich": {"steps": 2, "chains": 2},
        "anneal": {"steps": 2, "chains": 2},
    }.items():
        monkeypatch.setattr(module, name, partial(getattr(module, name), **options))
    for name in ("diagnosis.gap.STEPS", "evaluation.annealed_importance.PILOT_TRIES"):
        monkeypatch.setattr(f"pyrovae.{name}", 2)
    for name in ("diagnosis.mcmc", "evaluation.annealed_importance"):
        monkeypatch.setattr(f"pyrovae.{name}._data_at_once", lambda *_: 4)
    monkeypatch.setattr("pyrovae.diagnosis.gap.batch_size", lambda _: 4)


def diagnosed(autoencoder: Any, x: Tensor, processes: Processes) -> Diagnosis:
    torch.set_num_threads(1)
    data, off = Data("rows", x, torch.arange(len(x)), None, None), Computation("off")
    return diagnose(
        autoencoder, data, num=N, draws=100, full=True, computation=off, processes=processes
    )


def answers(found: Diagnosis) -> dict[str, Any]:
    """What every check says, to the last bit; of one that does not apply, only that."""
    return {
        each.question: None
        if isinstance(each, NotApplicable)
        else {name: variable.values.tobytes() for name, variable in each.variables().items()}
        for each in found.outcomes
    }


@pytest.fixture
def compared(in_processes: Any) -> Any:
    """Answers of one process, which those of several have to be."""

    def compare(autoencoder: Any, x: Tensor, size: int = 2) -> dict[str, Any]:
        threads = torch.get_num_threads()
        alone = diagnosed(autoencoder, x, ALONE)
        torch.set_num_threads(threads)
        for each in in_processes(size, lambda p: found(diagnosed(autoencoder, x, p))):
            assert each == found(alone)
        return answers(alone)

    def found(diagnosis: Diagnosis) -> Any:
        return answers(diagnosis), diagnosis.draws.z.numpy().tobytes()

    return compare


@pytest.mark.parametrize(("guide", "size"), [("full_rank", 3), ("delta", 2)])
def test_a_diagnosis_does_not_depend_on_the_number_of_processes(
    make_vae: Any, compared: Any, guide: str, size: int
) -> None:
    vae = make_vae(guide=guide)
    found = compared(vae, vae.sample(N), size)
    assert found["chains"] is not None
    assert (found["inference gap"] is None) == (guide == "delta")


class Coin(Autoencoder):
    """A latent that is heads or tails, through which nothing can move."""

    vectorisable = True

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(0.3))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.5 + 0 * x).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=self.logit * x).to_event(1))

    def formulas(self) -> Formulas:
        return Formulas("Bernoulli", "Normal", "Bernoulli")


def test_a_check_that_does_not_apply_keeps_no_process_waiting(compared: Any) -> None:
    found = compared(Coin(), torch.randn(N, 1))
    assert [found[question] for question in SHARED] == [None] * 3


def test_an_error_in_one_is_an_answer_in_all(
    make_vae: Any, monkeypatch: pytest.MonkeyPatch, in_processes: Any
) -> None:
    vae = make_vae()
    x = vae.sample(N)

    def found(processes: Processes) -> list[Any]:
        def fails(*_: Any) -> Any:
            raise DataError("this part is wrong")  # and the next check goes on

        if processes.rank == 1:
            monkeypatch.setattr("pyrovae.diagnosis.gap._refine", fails)
        outcomes = {each.question: each for each in diagnosed(vae, x, processes).outcomes}
        return [getattr(outcomes[question], "why", None) for question in SHARED]

    first, second = in_processes(2, found)
    assert first == [None, "process 1: this part is wrong", None]
    assert second == [None, "", None]  # the first says it
