"""Several processes that share an evaluation find what one alone finds."""

from __future__ import annotations

import os
from dataclasses import astuple
from typing import Any

import pytest
import torch
from torch import Tensor

from pyrovae import InferenceSpec, Splits, build
from pyrovae.compute import chunks
from pyrovae.compute.distributed import ALONE, Processes, let_others_end
from pyrovae.data import Batch
from pyrovae.errors import DataError
from pyrovae.evaluation.annealed_importance import anneal, bracket
from pyrovae.evaluation.importance import draw_weighted
from pyrovae.evaluation.pointwise import evaluate_pointwise
from pyrovae.evaluation.sharing import shared

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
CPU = torch.device("cpu")


def test_each_part_is_done_once_with_noise_of_its_own(in_processes: Any) -> None:
    done: list[int] = []

    def work(part: int) -> tuple[int, int, Tensor]:
        done.append(part)
        return part, os.getpid(), torch.randn(3)

    parts = range(5)
    alone = shared(parts, work, CPU, ALONE)
    assert [part for part, _, _ in alone] == [*parts]
    assert len({tuple(noise.tolist()) for _, _, noise in alone}) == 5
    for size in (2, 3, 7):  # also more than there are parts
        found = in_processes(size, lambda processes: shared(parts, work, CPU, processes))
        for each in found:
            assert [part for part, _, _ in each] == [*parts]
            assert len({pid for _, pid, _ in each}) == min(size, 5)
            assert all(torch.equal(a[2], b[2]) for a, b in zip(each, alone, strict=True))


def test_an_evaluation_does_not_depend_on_the_number_of_processes(
    few_digits: Splits, in_processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "data", lambda device: 4)
    monkeypatch.setattr("pyrovae.evaluation.annealed_importance._data_at_once", lambda *_: 4)
    monkeypatch.setattr("pyrovae.evaluation.pointwise.batch_size", lambda device: 4)
    monkeypatch.setattr("pyrovae.evaluation.annealed_importance.PILOT_TRIES", 1)
    torch.manual_seed(0)
    vae = build("vae", "svi", few_digits)
    x = few_digits.test.batch(torch.arange(10)).x

    def work(processes: Processes) -> list[Any]:
        torch.set_num_threads(1)
        plain = evaluate_pointwise(vae, x, 20, processes=processes)
        refined = evaluate_pointwise(vae, x, 20, refine_steps=2, processes=processes)
        annealed = anneal(vae, x, steps=2, chains=2, processes=processes)
        _, *both = bracket(vae, x, steps=2, chains=2, processes=processes)
        drawn = draw_weighted(vae, Batch(x), 3, processes).log_weight.T
        return [*astuple(plain)[:8], *astuple(refined)[:8], *annealed, *both, drawn]

    threads = torch.get_num_threads()
    alone = work(ALONE)
    torch.set_num_threads(threads)
    for each in in_processes(2, work):
        for mine, theirs in zip(each, alone, strict=True):
            if isinstance(mine, Tensor):
                assert len(mine) == 10
                assert torch.equal(mine, theirs)
            else:
                assert mine == theirs


def test_an_error_in_one_is_an_error_in_all(in_processes: Any) -> None:
    def work(part: int) -> int:
        if part == 3:
            raise DataError("observation 3 is wrong")
        return part

    def said(processes: Processes) -> str:
        with pytest.raises(DataError) as raised:
            shared(range(5), work, CPU, processes)
        if processes.is_first:
            let_others_end()
        return str(raised.value)

    assert in_processes(2, said) == ["process 1: observation 3 is wrong", ""]


def test_the_noise_of_parts_differs(few_digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same observation in two parts has two estimates, and in the same place one."""
    monkeypatch.setattr(chunks, "data", lambda device: 1)
    vae = build("vae", InferenceSpec(), few_digits)
    x = few_digits.test.batch(torch.zeros(2, dtype=torch.long)).x
    first, second = evaluate_pointwise(vae, x, 5).log_prob
    assert first != second
    assert torch.equal(evaluate_pointwise(vae, x[:1], 5).log_prob[0], first)
