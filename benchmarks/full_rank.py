"""A full-rank guide from scratch, and continued from a fitted diagonal one (docs/measured.md)."""

import copy

import torch

from pyrovae import VAE, InferenceSpec, Splits, build, fit, load_data
from pyrovae.evaluation.bound import evaluate

EPOCHS = 150
BEFORE = {"model.likelihood.kind": "binomial", "model.decoder.activation": "relu"}
"""The shipped model when the question arose."""


def fitting(learning_rate: float, seed: int) -> InferenceSpec:
    optimiser = {"kind": "adam", "learning_rate": learning_rate}
    return InferenceSpec.model_validate({"epochs": EPOCHS, "seed": seed, "optimiser": optimiser})


def report(name: str, vae: VAE, data: Splits) -> None:
    train, test = evaluate(vae, data.train), evaluate(vae, data.test)
    print(f"{name:<32} training {train.elbo:8.2f}  test {test.elbo:8.2f}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    data = load_data("digits")
    diagonal = build("vae", "svi", data, BEFORE)
    full_rank = build("vae", "full_rank", data, BEFORE)
    scratch = copy.deepcopy(full_rank)
    fit(diagonal, data, fitting(2e-3, seed=0))
    fit(scratch, data, fitting(2e-3, seed=0))
    report("diagonal, from scratch", diagonal, data)
    report("full rank, from scratch", scratch, data)
    full_rank.load_state_dict({**full_rank.state_dict(), **diagonal.state_dict()})
    for seed in (1, 2):
        for name, fitted in (("diagonal", diagonal), ("full rank", full_rank)):
            continued = copy.deepcopy(fitted)
            fit(continued, data, fitting(1e-3, seed))
            report(f"{name}, continued, seed {seed}", continued, data)


if __name__ == "__main__":
    main()
