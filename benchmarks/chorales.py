"""The deep Markov model of Bach's chorales, with and without its recurrent guide.

    python benchmarks/chorales.py jsb_chorales_quarter.json.gz [EPOCHS]

The file is that of czhuang/JSB-Chorales-dataset: a list of pitches for each quarter note, and the
usual split. Published: 6.87 nats per time step after 5000 epochs (Pyro's example).
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import torch

from pyrovae import InferenceSpec, Splits, build, fit
from pyrovae.data.splitting import Rows, split
from pyrovae.evaluation.bound import evaluate
from pyrovae.specs.program import ProgramSpec

LOWEST, KEYS, REPORTS = 21, 88, 10
MODEL = Path(__file__).parent.parent / "models" / "dmm.py"


def read(path: str) -> Splits:
    with gzip.open(path) as file:
        parts = json.load(file)
    sequences = [sequence for part in ("train", "valid", "test") for sequence in parts[part]]
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    x = np.zeros((len(sequences), 1, int(lengths.max()), KEYS), np.uint8)
    for row, sequence in enumerate(sequences):
        for step, chord in enumerate(sequence):
            x[row, 0, step, [int(pitch) - LOWEST for pitch in chord]] = 1
    sizes = [len(parts[part]) for part in ("train", "valid", "test")]
    rows = Rows(*torch.arange(len(x)).split(sizes))
    x, variables = torch.from_numpy(x), {"lengths": lengths}
    return split("chorales", x, None, rows=rows, maximum=1, variables=variables)


def per_step(elbo: float, lengths: torch.Tensor) -> float:
    """Minus the bound of all sequences over the number of their steps."""
    return -elbo / lengths.double().mean().item()


def main() -> None:
    torch.set_num_threads(1)
    data, epochs = read(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 120
    validation, test = (part.variables["lengths"][part.rows] for part in data[1:])
    inference = InferenceSpec.model_validate({
        "epochs": epochs,
        "batch_size": 20,
        "clip_norm": 10.0,
        "beta": {"kind": "linear", "start": 0.2, "warmup_epochs": epochs / 5},
        "optimiser": {"kind": "adam", "learning_rate": 1e-3, "betas": [0.95, 0.999]},
        "learning_rate_schedule": {"kind": "cosine", "final": 0.1},
        "early_stopping": {"patience": epochs},
    })  # fmt: skip
    for recurrent in (True, False):
        program = ProgramSpec(file=MODEL, arguments={"recurrent": recurrent})
        model = build(program, "svi", data)
        history = fit(model, data, inference)
        name = "recurrent guide" if recurrent else "guide of z before and x now"
        for record in history:
            if record.split == "validation" and record.epoch % max(epochs // REPORTS, 1) == 0:
                bound = per_step(record.elbo, validation)
                print(f"{name}: epoch {record.epoch}, validation {bound:.3f}", flush=True)
        bound = per_step(evaluate(model, model.contract.apply(data).test).elbo, test)
        print(f"{name}: best epoch, test {bound:.3f} nats per step", flush=True)


if __name__ == "__main__":
    main()
