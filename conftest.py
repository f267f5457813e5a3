"""A clean slate for every test and doctest."""

from __future__ import annotations

import pyro
import pytest
import torch


@pytest.fixture(autouse=True)
def clean_slate() -> None:
    """No randomness, parameter or switch is left over from another test."""
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    pyro.enable_validation(True)
    torch.set_num_threads(1)  # the networks are too small for more
