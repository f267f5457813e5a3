"""Stochastic variational inference: the loop, and all that changes while it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from pyrovae.autoencoder import Autoencoder
from pyrovae.data import Splits
from pyrovae.divergence import find_divergence, find_parameter
from pyrovae.errors import DivergenceError, ProgramError, PyrovaeError, SpecError, reason
from pyrovae.evaluation import codes, evaluate
from pyrovae.objectives import Objective, build_objective
from pyrovae.observers import Observer
from pyrovae.optimisers import build_optimiser
from pyrovae.randomness import seeded, set_stream_state, stream_state
from pyrovae.records import Record
from pyrovae.resampling import drawing_probabilities, drawn_order, importance
from pyrovae.schedules import Budget, beta_at, rate_at
from pyrovae.specs import InferenceSpec
from pyrovae.specs.objectives import ObjectiveSpec
from pyrovae.specs.resampling import ResamplingSpec
from pyrovae.support import check_support
from pyrovae.tally import Tally

# Data up to this size (4 GiB) live on the device, and no worker process brings them there.
RESIDENT = 2**32


class Best(NamedTuple):
    """The epoch with the highest validation ELBO so far."""

    elbo: float
    epoch: int
    weights: dict[str, Tensor]


class Training:
    """An autoencoder in training.

    The state is the weights, the optimiser's moments, one number of finished steps (epoch, β
    and learning rate are functions of it), the random stream, what early stopping remembers,
    and, if the data are resampled, their chances in the current epoch: those were computed with
    the weights as they were when it began.

    Args:
        autoencoder: What is fitted, on its device.
        splits: Data; the autoencoder's contract is applied to them.
        spec: How to fit.
    """

    def __init__(self, autoencoder: Autoencoder, splits: Splits, spec: InferenceSpec) -> None:
        self.autoencoder = autoencoder
        self.spec = spec
        self.device = next(autoencoder.parameters()).device
        self.splits = resident(autoencoder.contract.apply(splits), self.device)
        self.objective = rehearse(autoencoder, self.splits, spec.objective)
        self.parameters = [p for p in autoencoder.parameters() if p.requires_grad]
        self.optimiser = build_optimiser(spec.optimiser, self.parameters)
        steps_per_epoch = -(-len(self.splits.train) // spec.batch_size)
        self.budget = Budget(spec.epochs, steps_per_epoch)
        self.step = 0
        self.seconds = 0.0
        self.tally = Tally()
        self.best = Best(-float("inf"), 0, self._weights())
        resampling = spec.resampling
        self.importance_weights = resampling is not None and resampling.importance_weights
        self.probabilities: Tensor | None = None
        self.importance: Tensor | None = None
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
        with pyro.validation_enabled(False):
            for observer in observers:
                observer.begun(self)
            good = None if self.watchful else self.state_dict()
            while not (self.finished or self.interrupted):
                self._train_epoch(observers)
                if not self._is_finite():
                    if good is None:
                        culprit = find_parameter(self.autoencoder)
                        raise self._divergence(self.step, "update", culprit)
                    self.load_state_dict(good)
                    self.watchful, good = True, None
                elif self.step % self.budget.steps_per_epoch == 0:
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
        self.autoencoder.load_state_dict(self.best.weights)

    def state_dict(self) -> dict[str, Any]:
        """Copies of all that :meth:`load_state_dict` needs to go on as if never interrupted."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "weights": self._weights(),
            "optimiser": _copy(self.optimiser.state_dict()),
            "tally": self.tally.state_dict(),
            "best": self.best._asdict(),
            "random": stream_state(self.device),
            **({} if self.probabilities is None else {"probabilities": self.probabilities}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; the random stream of the process is set to the state's."""
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.autoencoder.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(_copy(state["optimiser"]))
        self.tally.load_state_dict(state["tally"], self.device)
        self.best = Best(**state["best"])
        self.probabilities = state.get("probabilities")
        set_stream_state(state["random"], self.device)

    def _train_epoch(self, observers: Sequence[Observer]) -> None:
        """The steps of the current epoch that are left."""
        self.autoencoder.train()
        done = self.step % self.budget.steps_per_epoch
        if self.spec.resampling is not None and done == 0:
            self.probabilities = self._drawing_probabilities(self.spec.resampling)
        place = self.splits.train.rows.device
        if self.probabilities is not None:
            self.importance = importance(self.probabilities).to(place)
        for index in self._order().to(place).split(self.spec.batch_size)[done:]:
            self._train_step(index)
            for observer in observers:
                observer.stepped(self)
            if self.interrupted:
                return

    def _order(self) -> Tensor:
        """Which data the current epoch sees, one after the other, ``(data,)``."""
        if self.probabilities is None:
            return epoch_order(self.spec.seed, self.epoch, len(self.splits.train))
        return drawn_order(self.spec.seed, self.epoch, self.probabilities)

    def _drawing_probabilities(self, spec: ResamplingSpec) -> Tensor:
        z = codes(self.autoencoder, self.splits.train)
        if not z.isfinite().all():
            x = self.splits.train.batch((~z.isfinite().all(1)).nonzero()[:1, 0]).to(self.device)
            culprit = find_divergence(self.autoencoder, x)
            raise self._divergence(self.step + 1, "code of a datum", culprit)
        return drawing_probabilities(z, spec)

    def _train_step(self, index: Tensor) -> None:
        random = stream_state(self.device) if self.watchful else None
        x = self.splits.train.batch(index).to(self.device, non_blocking=True)
        self.beta.fill_(beta_at(self.spec.beta, self.step, self.budget))
        rate = self.spec.optimiser.learning_rate
        for group in self.optimiser.param_groups:
            group["lr"] = rate * rate_at(self.spec.learning_rate_schedule, self.step, self.budget)
        self.objective.advance(self.step, self.budget)
        self.optimiser.zero_grad()
        # Reports are of the data, whatever was drawn; the loss is so only if that was asked for.
        weights = None if self.importance is None else self.importance[index].to(x)
        charged = weights if self.importance_weights else None
        loss, terms = self.objective.loss_and_terms(self.autoencoder, x, self.beta, charged)
        loss.backward()
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        if random is not None and not torch.isfinite(loss + norm):
            set_stream_state(random, self.device)
            what = "gradient" if torch.isfinite(loss) else "loss"
            raise self._divergence(self.step + 1, what, find_divergence(self.autoencoder, x))
        if self.spec.clip_norm is not None:
            clip_grads_with_norm_(self.parameters, self.spec.clip_norm, norm)
        self.optimiser.step()
        self.tally.add(loss, terms, weights)
        self.step += 1
        self.seconds = time.monotonic() - self._started

    def _end_epoch(self) -> list[Record]:
        where = {"epoch": self.epoch, "step": self.step, "beta": self.beta.item()}
        train = self.tally.summary()
        validation = evaluate(
            self.autoencoder, self.splits.validation, self.objective, beta=where["beta"]
        )
        self.tally = Tally()
        self.seconds = time.monotonic() - self._started
        patient = self.spec.early_stopping
        if validation.elbo > self.best.elbo + (patient.min_delta if patient else 0.0):
            self.best = Best(validation.elbo, self.epoch, self._weights())
        return [
            Record.of(train, split="train", seconds=self.seconds, **where),
            Record.of(validation, split="validation", seconds=self.seconds, **where),
        ]

    def _out_of_patience(self) -> bool:
        patient = self.spec.early_stopping
        return patient is not None and self.epoch - self.best.epoch >= patient.patience

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.autoencoder.state_dict().items()}

    def _is_finite(self) -> bool:
        """Whether the epoch's losses and the weights after it are."""
        numbers = [self.tally.sums["loss"], *self.parameters]
        return bool(torch.stack([number.isfinite().all() for number in numbers]).all())

    def _divergence(self, step: int, what: str, culprit: str) -> DivergenceError:
        epoch = 1 + (step - 1) // self.budget.steps_per_epoch
        return DivergenceError(f"epoch {epoch}, step {step}: the {what} is not finite; {culprit}")


def rehearse(autoencoder: Autoencoder, splits: Splits, spec: ObjectiveSpec) -> Objective:
    """The objective, after the data and both programs have passed every check once.

    The loop then does without Pyro's own checks.

    Raises:
        DataError: Data outside the support of p(x | z).
        SpecError: An objective that cannot be had, or a program whose sites do not fit.
    """
    for split in splits:
        check_support(autoencoder, split)
    device = next(autoencoder.parameters()).device
    few = splits.train.batch(torch.arange(2)).to(device)
    try:
        objective = build_objective(spec, autoencoder, few, len(splits.train))
        for checked in (False, True):  # our sentences, then whatever Pyro has to say
            with torch.no_grad(), seeded(0, device), pyro.validation_enabled(checked):
                objective.loss_and_terms(autoencoder, few)
    except ProgramError:
        raise
    except PyrovaeError as error:
        raise SpecError(f"{autoencoder.source}{error}") from None
    except Exception as error:  # Pyro raises whatever a program does wrong
        raise SpecError(f"{autoencoder.source}{reason(error)}") from error
    return objective


def resident(splits: Splits, device: torch.device) -> Splits:
    """The data on the device, if they are not too large for that."""
    return splits.to(device) if splits.train.x.nbytes <= RESIDENT else splits


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """The order of the data in an epoch, ``(count,)``: a function of seed and epoch alone.

    So that an epoch can be entered in the middle, and is the same on every device.
    """
    generator = torch.Generator().manual_seed((seed << 24) + epoch)
    return torch.randperm(count, generator=generator)


def _copy(tree: Any) -> Any:
    """A deep copy of containers and tensors."""
    if isinstance(tree, Tensor):
        return tree.clone()
    if isinstance(tree, dict):
        return {key: _copy(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_copy(value) for value in tree)
    return tree
