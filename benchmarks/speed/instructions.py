"""Steps of the classic VAE, as programs and in one thread, to count their instructions.

A clock is too noisy for a few per cent. The instructions of a step are a tenth of the difference
between ``valgrind --tool=cachegrind --cache-sim=no python benchmarks/speed/instructions.py 12``
and the same with 2.
"""

from __future__ import annotations

import sys

import numpy as np
import pyro
import torch

from pyrovae import InferenceSpec, ModelSpec, Training, build
from pyrovae.data import from_arrays

if __name__ == "__main__":
    torch.set_num_threads(1)
    images = np.random.default_rng(0).random((2000, 28, 28)) < 0.3
    data = from_arrays(images.astype(np.uint8))
    model = ModelSpec.model_validate(
        {
            "latent_dim": 20,
            "decoder": {"kind": "mlp", "widths": [400]},
            "likelihood": {"kind": "bernoulli"},
        }
    )
    inference = InferenceSpec(batch_size=128, epochs=100)
    vae = build(model, inference, data)
    step = Training(vae, data, inference).take_step
    vae.train()
    step.set((1.0, 1e-3, 0.0))
    with pyro.validation_enabled(False):
        for _ in range(int(sys.argv[1])):
            step(torch.arange(128))
