"""Data that are kept on the device of the programs."""

from __future__ import annotations

import torch

from pyrovae.data import Splits

# Data up to this size (4 GiB) are kept on the device, larger ones go there batch by batch.
RESIDENT = 2**32


def resident(splits: Splits, device: torch.device) -> Splits:
    """The data on the device, if they fit."""
    return splits.to(device) if splits.train.x.nbytes <= RESIDENT else splits
