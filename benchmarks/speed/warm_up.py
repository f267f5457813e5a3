"""How long does a compiled run wait before its first step: the first time, and again?

    python benchmarks/speed/warm_up.py [--again N]

Seconds in which the step of `vae svi` on 28 x 28 grey levels is captured and compiled, each in a
process of its own: the first with an empty TORCHINDUCTOR_CACHE_DIR, the others with what it left
there. Beside them the processor seconds of the process, and of the C++ compilers that it starts,
which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--again", type=int, default=3, metavar="N", help="processes; 3")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside()
        return
    with tempfile.TemporaryDirectory() as folder:
        around = {
            "GOMP_SPINCOUNT": "2000",
            **os.environ,
            "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)),
            "TORCHINDUCTOR_CACHE_DIR": folder,
        }
        for when in ["first", *["again"] * options.again]:
            print(f"{when}: ", end="", flush=True)
            subprocess.run([sys.executable, __file__, "--inside"], env=around, check=True)


def inside() -> None:
    """Capture and compile in this process, which has what every training imports."""
    import numpy as np
    import pyro

    import pyrovae.runs.train  # noqa: F401
    from pyrovae import Computation, InferenceSpec, ModelSpec, Training, build
    from pyrovae.data import from_arrays

    images = np.random.default_rng(0).integers(0, 256, (1000, 28, 28), dtype=np.uint8)
    data, inference = from_arrays(images), InferenceSpec()
    vae = build(ModelSpec(), inference, data)
    step = Training(vae, data, inference, Computation("on")).take_step
    vae.train()
    begun, before = time.perf_counter(), os.times()
    with pyro.validation_enabled(False):
        captured = step.capture(inference.batch_size, compiled=True)
    seconds, after = time.perf_counter() - begun, os.times()
    if captured.obstacle is not None:
        sys.exit(captured.obstacle)
    own = after.user + after.system - before.user - before.system
    others = after.children_user + after.children_system
    print(f"{seconds:.1f} s; processor {own:.1f} s, and compilers {others:.1f} s", flush=True)


if __name__ == "__main__":
    main()
