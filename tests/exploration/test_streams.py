"""Bits that are drawn to look at data come from no stream of the caller's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from pyrovae import ModelSpec, Splits, build
from pyrovae.data import KnownFactors
from pyrovae.evaluation.bound import evaluate
from pyrovae.evaluation.evidence import log_evidence
from pyrovae.evaluation.latent_means import codes
from pyrovae.exploration.disentanglement.all_latents import all_codes
from pyrovae.exploration.rate_distortion import rate_and_distortion

BITS = ModelSpec.model_validate(
    {"latent_dim": 2, "binarisation": "dynamic", "likelihood": {"kind": "bernoulli"}}
)


@pytest.mark.parametrize(
    "look",
    [
        lambda vae, data: codes(vae, data.test),
        lambda vae, data: evaluate(vae, data.test),
        lambda vae, data: log_evidence(vae, data.test, 2),
        lambda vae, data: rate_and_distortion(vae, data.test),
        all_codes,
    ],
    ids=["codes", "evaluate", "log_evidence", "rate_and_distortion", "all_codes"],
)
def test_the_callers_stream_stays_where_it_was(
    few_digits: Splits, look: Callable[[Any, Any], Any]
) -> None:
    vae = build(BITS, data=few_digits)
    known = KnownFactors(("parity",), torch.arange(len(few_digits.train.x))[:, None] % 2)
    data = Splits(*(replace(split, factors=known) for split in vae.contract.apply(few_digits)))
    before = torch.get_rng_state()
    look(vae, data)
    assert torch.equal(torch.get_rng_state(), before)
