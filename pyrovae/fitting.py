"""Stochastic variational inference: the loop, and all that changes while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyro
import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from pyrovae.autoencoder import Autoencoder
from pyrovae.data import Splits
from pyrovae.divergence import find_divergence
from pyrovae.errors import DivergenceError
from pyrovae.evaluation import evaluate
from pyrovae.objectives import build_objective
from pyrovae.optimisers import build_optimiser
from pyrovae.randomness import seeded
from pyrovae.schedules import Budget, beta_at, rate_at
from pyrovae.specs import InferenceSpec
from pyrovae.support import check_support
from pyrovae.tally import Summary, Tally

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Record:
    """One line of ``metrics.jsonl``: a split at the end of an epoch, in nats per datum.

    Attributes:
        epoch: Finished epochs.
        step: Finished optimiser steps.
        split: "train" (mean over the epoch, the weights moving), "validation" or "test".
        elbo: At β = 1; ``reconstruction - kl``.
        reconstruction: Mean of log p(x | z).
        kl: Over all latent sites.
        kl_per_site: For each latent site.
        kl_per_dim: For each latent dimension, where the KL is a sum over them.
        loss: What was optimised.
        beta: Applied in the last step.
        seconds: Since training began, interruptions left out.
    """

    epoch: int
    step: int
    split: Split
    elbo: float
    reconstruction: float
    kl: float
    kl_per_site: dict[str, float]
    kl_per_dim: list[float] | None
    loss: float
    beta: float
    seconds: float

    @classmethod
    def of(cls, summary: Summary, **where: Any) -> Record:
        """A summary with its place in training."""
        numbers = asdict(summary)
        del numbers["count"], numbers["standard_error"]
        return cls(**where, **numbers)


class Observer:
    """Somebody who is told how training goes. Each method does nothing unless overridden."""

    def begun(self, training: Training) -> None:
        """Before the first step, also after resuming."""

    def stepped(self, training: Training) -> None:
        """After each optimiser step."""

    def epoch_ended(self, training: Training, records: Sequence[Record]) -> None:
        """After an epoch: the training and the validation record."""

    def ended(self, training: Training) -> None:
        """After the last step, or the one in which training was interrupted."""


class Training:
    """An autoencoder in training.

    The state is the weights, the optimiser's moments, one number of finished steps (epoch, β
    and learning rate are functions of it), the random stream, and what early stopping
    remembers.

    Args:
        autoencoder: What is fitted, on its device.
        splits: Data; the autoencoder's contract is applied to them.
        spec: How to fit.
    """

    def __init__(self, autoencoder: Autoencoder, splits: Splits, spec: InferenceSpec) -> None:
        self.autoencoder = autoencoder
        self.spec = spec
        self.device = next(autoencoder.parameters()).device
        self.splits = autoencoder.contract.apply(splits).to(self.device)
        for split in self.splits:
            check_support(autoencoder, split)
        few = self.splits.train.batch(torch.arange(2)).to(self.device)
        self.objective = build_objective(spec.objective, autoencoder, few)
        with torch.no_grad(), seeded(0, self.device), pyro.validation_enabled(True):
            # Once under Pyro's own checks, which the loop then does without.
            self.objective.loss_and_terms(autoencoder, few)
        self.parameters = [p for p in autoencoder.parameters() if p.requires_grad]
        self.optimiser = build_optimiser(spec.optimiser, self.parameters)
        steps_per_epoch = -(-len(self.splits.train) // spec.batch_size)
        self.budget = Budget(spec.epochs, steps_per_epoch)
        self.step = 0
        self.seconds = 0.0
        self.tally = Tally()
        self.best_elbo = -float("inf")
        self.best_epoch = 0
        self.best_weights = self._weights()
        self.interrupted = False
        self.beta = torch.zeros((), device=self.device)
        # Looking at each loss makes a GPU wait for it; there, only the epoch's sum is looked
        # at, and when it is not finite the epoch is repeated from its start with open eyes.
        self.watchful = self.device.type != "cuda"

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.step // self.budget.steps_per_epoch

    @property
    def finished(self) -> bool:
        """Whether the budget is spent, or early stopping has had enough."""
        return self.step >= self.budget.steps or self._out_of_patience()

    def run(self, observers: Sequence[Observer] = ()) -> list[Record]:
        """Train to the end, or until :attr:`interrupted` is set.

        Returns:
            The training and validation records of the epochs that ended in this call.

        Raises:
            DivergenceError: The loss or a gradient is not finite.
        """
        history: list[Record] = []
        self._started = time.monotonic() - self.seconds
        with _quiet():
            for observer in observers:
                observer.begun(self)
            good = None if self.watchful else self.state_dict()
            while not (self.finished or self.interrupted):
                self._train_epoch(observers)
                if self.interrupted and self.step % self.budget.steps_per_epoch:
                    break
                if good is not None and not torch.isfinite(self.tally.sums["loss"]):
                    self.load_state_dict(good)
                    self.watchful = True
                    continue
                records = self._end_epoch()
                history += records
                for observer in observers:
                    observer.epoch_ended(self, records)
                good = None if self.watchful else self.state_dict()
            for observer in observers:
                observer.ended(self)
        return history

    def use_best(self) -> None:
        """Give the autoencoder the weights with the best validation ELBO."""
        self.autoencoder.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """Copies of all that :meth:`load_state_dict` needs to go on as if never interrupted."""
        cuda = self.device.type == "cuda"
        return {
            "step": self.step,
            "seconds": self.seconds,
            "weights": self._weights(),
            "optimiser": _copy(self.optimiser.state_dict()),
            "tally": self.tally.state_dict(),
            "best": {
                "elbo": self.best_elbo,
                "epoch": self.best_epoch,
                "weights": self.best_weights,
            },
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state(self.device) if cuda else None,
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; the random stream of the process is set to the state's."""
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.autoencoder.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(_copy(state["optimiser"]))
        self.tally.load_state_dict(state["tally"], self.device)
        self.best_elbo = state["best"]["elbo"]
        self.best_epoch = state["best"]["epoch"]
        self.best_weights = state["best"]["weights"]
        torch.set_rng_state(state["random"]["cpu"])
        if self.device.type == "cuda" and state["random"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)

    def _train_epoch(self, observers: Sequence[Observer]) -> None:
        """The steps of the current epoch that are left."""
        self.autoencoder.train()
        order = epoch_order(self.spec.seed, self.epoch, len(self.splits.train))
        order = order.to(self.splits.train.rows.device)
        done = self.step % self.budget.steps_per_epoch
        for index in order.split(self.spec.batch_size)[done:]:
            self._train_step(index)
            for observer in observers:
                observer.stepped(self)
            if self.interrupted:
                return

    def _train_step(self, index: Tensor) -> None:
        random_state = torch.get_rng_state() if self.watchful else None
        x = self.splits.train.batch(index).to(self.device, non_blocking=True)
        self.beta.fill_(beta_at(self.spec.beta, self.step, self.budget))
        rate = self.spec.optimiser.learning_rate
        for group in self.optimiser.param_groups:
            group["lr"] = rate * rate_at(self.spec.learning_rate_schedule, self.step, self.budget)
        self.optimiser.zero_grad()
        loss, terms = self.objective.loss_and_terms(self.autoencoder, x, self.beta)
        loss.backward()
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        if self.watchful and not torch.isfinite(loss + norm):
            raise self._divergence(x, loss, random_state)
        if self.spec.clip_norm is not None:
            clip_grads_with_norm_(self.parameters, self.spec.clip_norm, norm)
        self.optimiser.step()
        self.tally.add(loss, terms)
        self.step += 1
        self.seconds = time.monotonic() - self._started

    def _end_epoch(self) -> list[Record]:
        where = {"epoch": self.epoch, "step": self.step, "beta": self.beta.item()}
        train = self.tally.summary()
        validation = evaluate(
            self.autoencoder, self.objective, self.splits.validation, beta=where["beta"]
        )
        self.tally = Tally()
        self.seconds = time.monotonic() - self._started
        patient = self.spec.early_stopping
        if validation.elbo > self.best_elbo + (patient.min_delta if patient else 0.0):
            self.best_elbo, self.best_epoch = validation.elbo, self.epoch
            self.best_weights = self._weights()
        return [
            Record.of(train, split="train", seconds=self.seconds, **where),
            Record.of(validation, split="validation", seconds=self.seconds, **where),
        ]

    def _out_of_patience(self) -> bool:
        patient = self.spec.early_stopping
        return patient is not None and self.epoch - self.best_epoch >= patient.patience

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.autoencoder.state_dict().items()}

    def _divergence(self, x: Tensor, loss: Tensor, random_state: Tensor | None) -> DivergenceError:
        if random_state is not None:
            torch.set_rng_state(random_state)
        where = f"epoch {self.epoch + 1}, step {self.step + 1}"
        what = "loss" if not torch.isfinite(loss) else "gradient"
        culprit = find_divergence(self.autoencoder, x)
        return DivergenceError(f"{where}: the {what} is not finite; {culprit}")


def fit(
    autoencoder: Autoencoder,
    data: Splits,
    inference: InferenceSpec | None = None,
    observers: Sequence[Observer] = (),
) -> list[Record]:
    """Fit an autoencoder; see ``pyrovae.Training`` for the state and for resuming.

    Random numbers come from the specification's seed; the caller's stream is left as it was.
    With early stopping the autoencoder ends up with its best weights, else with its last.

    Args:
        autoencoder: What to fit, in place, on its own device.
        data: The data as loaded.
        inference: How to fit; by default what the autoencoder was declared with.
        observers: Who is to be told how it goes.

    Returns:
        Training and validation records, epoch by epoch.

    Raises:
        DivergenceError: The loss or a gradient is not finite.
        SpecError: The objective asked for cannot be had for these programs.

    Example:
        >>> from pyrovae import InferenceSpec, build, load_data
        >>> data = load_data("digits")
        >>> vae = build("vae", "svi", data)
        >>> history = fit(vae, data, InferenceSpec(epochs=2))
        >>> [(record.epoch, record.split) for record in history]
        [(1, 'train'), (1, 'validation'), (2, 'train'), (2, 'validation')]
    """
    if inference is None:
        declaration = getattr(autoencoder, "declaration", None)
        inference = declaration.inference if declaration else InferenceSpec()
    device = next(autoencoder.parameters()).device
    with seeded(inference.seed, device):
        training = Training(autoencoder, data, inference)
        history = training.run(observers)
    if inference.early_stopping is not None:
        training.use_best()
    return history


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """The order of the data in an epoch, ``(count,)``: a function of seed and epoch alone.

    So that an epoch can be entered in the middle, and is the same on every device.
    """
    generator = torch.Generator().manual_seed((seed << 24) + epoch)
    return torch.randperm(count, generator=generator)


@contextmanager
def _quiet() -> Iterator[None]:
    """Pyro's own checks off: both programs have run under them once, before training."""
    with pyro.validation_enabled(False):
        yield


def _copy(tree: Any) -> Any:
    """A deep copy of containers and tensors."""
    if isinstance(tree, Tensor):
        return tree.clone()
    if isinstance(tree, dict):
        return {key: _copy(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_copy(value) for value in tree)
    return tree
