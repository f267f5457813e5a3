"""Threads for the size of the work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from pyrovae.compute.threads import SMALL, enough_threads


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_small_products_have_one_thread_and_others_what_they_had() -> None:
    rows = SMALL // (20 * 30)
    kernel = torch.zeros(2, 2, 3, 3)  # of a convolution
    for parameters, count, threads in (
        ([*nn.Linear(20, 30).parameters()], rows, 1),
        ([*nn.Linear(20, 30).parameters()], rows + 1, 2),
        ([kernel], 1, 2),
    ):
        with enough_threads(parameters, count):
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_threads_are_given_back_after_a_failure() -> None:
    with pytest.raises(ValueError, match="it"), enough_threads([torch.zeros(2)], 1):
        raise ValueError("it")
    assert torch.get_num_threads() == 2
