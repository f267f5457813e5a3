"""Does it matter for the result how the arithmetic is carried out?

Trains the same specification as programs, captured, and captured in bfloat16, with several seeds,
and prints the test ELBO of each in nats per datum: routes should differ less than seeds do.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from pyrovae import build, fit, load_data
from pyrovae.evaluation.bound import evaluate
from pyrovae.specs import InferenceSpec
from pyrovae.specs.computation import Computation

ROUTES = {
    "programs": Computation(compile="off"),
    "captured": Computation(compile="on"),
    "captured, bf16": Computation(compile="on", precision="bf16"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bernoulli")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    data = load_data(options.data, root=options.data_root)
    elbos: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        spec = InferenceSpec(epochs=options.epochs, seed=seed)
        for route, computation in ROUTES.items():
            autoencoder = build(options.model, spec, data)
            history = fit(autoencoder, data, spec, computation=computation)
            test = autoencoder.contract.apply(data).test
            elbos.setdefault(route, []).append(evaluate(autoencoder, test).elbo)
            seconds.setdefault(route, []).append(history[-1].seconds)
            print(f"seed {seed}, {route}: {elbos[route][-1]:.4f}", flush=True)
    print(f"\n| {options.model} on {options.data}, {options.epochs} epochs | test ELBO by seed | "
          "difference from programs | seconds, capture included |\n|---|---|---|---|")  # fmt: skip
    for route, found in elbos.items():
        by_seed = ", ".join(f"{elbo:.2f}" for elbo in found)
        apart = [a - b for a, b in zip(found, elbos["programs"], strict=True)]
        differences = ", ".join(f"{difference:+.3f}" for difference in apart)
        print(f"| {route} | {by_seed} | {differences} | {statistics.median(seconds[route]):.0f} |")
    if options.seeds > 1:
        spread = statistics.stdev(elbos["programs"])
        print(f"\nstandard deviation over seeds, as programs: {spread:.3f} nats")


if __name__ == "__main__":
    main()
