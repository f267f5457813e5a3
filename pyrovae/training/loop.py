"""Stochastic variational inference: the training loop and its state."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyrovae.compute.capture import tensors_of
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.precision import check_precision
from pyrovae.compute.randomness import reseed, set_stream_state, stream_state
from pyrovae.data import Splits
from pyrovae.evaluation.bound import evaluate
from pyrovae.objectives import Objective
from pyrovae.objectives.schedules import Budget
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs import InferenceSpec
from pyrovae.specs.computation import Computation
from pyrovae.specs.resampling import ResamplingSpec
from pyrovae.training.before_training import (
    check_once,
    require_batches_that_train,
    require_same_sites,
)
from pyrovae.training.collapse_watch import settled_from
from pyrovae.training.divergence import find_parameter
from pyrovae.training.early_stopping import Best, Kept, choose, is_better, out_of_patience
from pyrovae.training.execution import Execution, computing, prepare
from pyrovae.training.fit_warnings import FitWarning
from pyrovae.training.fit_watch import FitWatch
from pyrovae.training.micro_batches import micro_batches
from pyrovae.training.optimisers import MakeOptimiser
from pyrovae.training.order import drawn_order, epoch_order
from pyrovae.training.records import History, Record
from pyrovae.training.resampling import drawing_probabilities, importance
from pyrovae.training.resident import resident
from pyrovae.training.step import Step
from pyrovae.training.watched_step import divergence_at, finite_codes, take_watched
from pyrovae.training.weight_comparison import Judgement, judged

# Number of steps between checks for non-finite values.
CHECK_EVERY = 100

logger = logging.getLogger("pyrovae")


class Callback:
    """Hooks that training calls. Each does nothing unless overridden."""

    def on_start(self, training: Training) -> None:
        """Before the first step, also after resuming."""

    def on_step(self, training: Training) -> None:
        """After each optimiser step."""

    def on_epoch_end(self, training: Training, records: Sequence[Record]) -> None:
        """After an epoch: the training and the validation record."""

    def on_warning(self, training: Training, warning: FitWarning) -> None:
        """After an epoch that shows that the fit goes badly."""

    def on_end(self, training: Training) -> None:
        """After the last step, or the one in which training was interrupted."""


class Training:
    """An autoencoder in training.

    The state consists of the weights, the optimiser's moments, the number of finished steps
    (epoch, β and learning rate are functions of it), the random stream, the state of early
    stopping and warnings, and, if the data are resampled, their drawing probabilities in the
    current epoch, which were computed with the weights at its beginning.

    Args:
        autoencoder: Autoencoder to fit, on its device.
        splits: Data; the autoencoder's contract is applied to them.
        spec: Specification of the inference.
        computation: Options of compilation and precision.
        objective: Another objective than the specification's.
        optimiser: Makes another optimiser than the specification's, of the parameters that it is
            given; its learning rates follow the specification's schedule.
        processes: The processes that train together, each with its share of every batch and of
            the validation data. All have the same weights after each step; the first has the
            state, the warnings, and usually the callbacks. Its random stream is that of a process
            alone; those of the others are functions of seed, rank and step. So a state does not
            depend on the number of processes, and training may go on with another.

    Attributes:
        kept: The weights that are kept, once :meth:`conclude` has chosen them.
        satisfied: Set by a callback to end the training before its budget.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        splits: Splits,
        spec: InferenceSpec,
        computation: Computation | None = None,
        objective: Objective | None = None,
        optimiser: MakeOptimiser | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.autoencoder = autoencoder
        self.spec = spec
        self.processes = processes
        self.computation = computation or Computation()
        self.device = autoencoder.device
        check_precision(self.computation.precision, self.device)
        self.splits = resident(autoencoder.contract.apply(splits), self.device)
        wanted = objective or spec.objective
        self.objective, layout = check_once(autoencoder, self.splits, wanted)
        if autoencoder.declaration is None:
            require_same_sites(autoencoder, self.splits.train, spec.batch_size)
        train, precision = self.splits.train, self.computation.precision
        require_batches_that_train(autoencoder, self.objective, train, spec, processes)
        self.take_step = Step(
            autoencoder, self.objective, train, spec, layout, precision, optimiser, processes
        )
        self.tally = self.take_step.tally
        steps_per_epoch = -(-len(self.splits.train) // spec.batch_size)
        self.budget = Budget(spec.epochs, steps_per_epoch)
        self.step = 0
        self.seconds = 0.0
        self.best = Best(-float("inf"), 0, self._weights())
        self.elbo = -float("inf")  # on the validation data, after the last epoch
        last_steps = range(steps_per_epoch - 1, self.budget.steps, steps_per_epoch)
        self.watch = FitWatch(
            autoencoder,
            self.splits.validation,
            self.objective,
            spec,
            self.budget,
            settled_from([self._settings(step) for step in last_steps]),
        )
        self.kept = Kept("last", 0, -float("inf"))
        self.probabilities: Tensor | None = None
        self.interrupted = False
        self.satisfied = False
        # A check of each loss would make a GPU wait, and cannot be part of a graph. So the sums
        # are checked now and then. If they are not finite, the epoch is repeated from its start
        # step by step with checks, to locate the first non-finite value.
        self.anomaly_mode = False
        self.execution = Execution("none left to take")

    @property
    def warnings(self) -> list[FitWarning]:
        """Warnings that the fit goes badly; once concluded, those about the kept weights."""
        return self.watch.warnings

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self.step // self.budget.steps_per_epoch

    @property
    def finished(self) -> bool:
        """True if the budget is spent, or early stopping or a callback ends the training."""
        waited = out_of_patience(self.epoch, self.best.epoch, self.spec)
        return waited or self.satisfied or self.step >= self.budget.steps

    def run(self, callbacks: Sequence[Callback] = ()) -> History:
        """Train to the end, or until :attr:`interrupted` is set.

        Returns:
            The training and validation records of the epochs that ended in this call.

        Raises:
            DivergenceError: The loss or a gradient is not finite.
        """
        history = History()
        self.take_step.exchange.agreed = False
        self._started = time.monotonic() - self.seconds
        with computing(self.take_step, self.spec, self.computation):
            self._copy_first()
            if self.step == 0 and self.processes.is_first:
                self.watch.untrained = self._judge()
            if not self.finished:
                self._prepare()
            for callback in callbacks:
                callback.on_start(self)
            good = None if self.anomaly_mode else self.state_dict()
            while not self._is_over():
                self._train_epoch(callbacks)
                if not self._is_finite():
                    if good is None:
                        where = divergence_at(self.step, self.budget)
                        raise where("update", find_parameter(self.autoencoder))
                    logger.warning("epoch %d is not finite, and is repeated", self.epoch + 1)
                    self.load_state_dict(good)
                    self.anomaly_mode, good = True, None
                elif self.step % self.budget.steps_per_epoch == 0:
                    with self.take_step.averaged():
                        history += self._end_epoch(callbacks)
                    self._copy_first()
                    good = None if self.anomaly_mode else self.state_dict()
            for callback in callbacks:
                callback.on_end(self)
        return history

    def conclude(self) -> None:
        """Load the weights that are kept into the autoencoder; :attr:`warnings` concern these.

        These are the best by validation ELBO, with early stopping always, and without unless the
        last have a lower loss: not every objective maximises the ELBO at β = 1.
        """
        if self.take_step.average is not None:
            self.take_step.average.use()
        last = Kept("last", self.epoch, self.elbo)
        self.kept, judgement = choose(self.autoencoder, self.best, last, self.spec, self._judge)
        self.watch.conclude(self.kept, judgement)

    def state_dict(self) -> dict[str, Any]:
        """Copy of the complete state, for :meth:`load_state_dict`."""
        average = self.take_step.average
        with self.take_step.averaged(False):
            weights = self._weights()
            averaged = {} if average is None else {"average": average.state_dict()}
        return {
            "step": self.step,
            "seconds": self.seconds,
            "weights": weights,
            **averaged,
            "optimiser": self.take_step.optimiser.state_dict(),
            "tally": self.tally.state_dict(),
            "best": self.best._asdict(),
            "random": stream_state(self.device),
            "elbo": self.elbo,
            "satisfied": self.satisfied,
            **self.watch.state_dict(),
            **({} if self.probabilities is None else {"probabilities": self.probabilities}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state; the random stream of the process is set to the state's."""
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.autoencoder.load_state_dict(state["weights"])
        if self.take_step.average is not None:
            self.take_step.average.load_state_dict(state["average"])
        self.take_step.optimiser.load_state_dict(state["optimiser"])
        self.tally.load_state_dict(state["tally"])
        self.best = Best(**state["best"])
        self.elbo = state["elbo"]
        self.satisfied = state.get("satisfied", False)
        self.watch.load_state_dict(state)
        self.probabilities = state.get("probabilities")
        set_stream_state(state["random"], self.device)

    def _prepare(self) -> None:
        """Decide how steps are taken, and capture them."""
        self.autoencoder.train()
        if self.spec.resampling is not None and self.take_step.importance is None:
            self.take_step.importance = torch.ones(
                len(self.splits.train), device=self.splits.train.rows.device
            )
        size, data = self.spec.batch_size, len(self.splits.train)
        sizes: Counter[int] = Counter()  # of what goes through the programs, and how often
        for batch, count in ((size, data // size), (data % size, 1)):
            share = self.processes.share_of(batch)
            for part in micro_batches(share, self.spec, self.processes):
                sizes[part] += count * self.spec.epochs
        if found := {share: count for share, count in sizes.items() if count}:
            self.execution = prepare(self.take_step, self.computation, found)

    def _train_epoch(self, callbacks: Sequence[Callback]) -> None:
        """Take the remaining steps of the current epoch, unless a value is not finite."""
        self.autoencoder.train()
        done = self.step % self.budget.steps_per_epoch
        if self.spec.resampling is not None and done == 0:
            self.probabilities = self._draw_from(self.spec.resampling)
        if self.probabilities is not None and self.take_step.importance is not None:
            self.take_step.importance.copy_(importance(self.probabilities))
        order = self._order().to(self.splits.train.rows.device)[done * self.spec.batch_size :]
        while len(order) and not self._stops():
            before = self.step
            order = order[self._take_steps(order) :]
            self.seconds = time.monotonic() - self._started
            for callback in callbacks:
                callback.on_step(self)
            if self.step // CHECK_EVERY > before // CHECK_EVERY and not self.tally.loss.isfinite():
                return

    def _stops(self) -> bool:
        """True if training was interrupted; several processes stop after the same step."""
        if self.processes.alone:
            return self.interrupted
        exchange = self.take_step.exchange
        exchange.wanted = self.interrupted
        if exchange.agreed:
            self.interrupted = True
        return exchange.agreed

    def _is_over(self) -> bool:
        """True if training ends here, as the first process finds, or is interrupted anywhere."""
        found = self.processes.gather((self.interrupted, self.finished))
        if interrupted := any(each for each, _ in found):
            self.interrupted = True  # never false: a signal may have come meanwhile
        return interrupted or found[0][1]

    def _copy_first(self) -> None:
        """Have the first process's weights, whatever a callback has made of them."""
        self.processes.copy_first([*tensors_of(self.autoencoder).values()])

    def _take_steps(self, order: Tensor) -> int:
        """Take the next step, or several at once; return the number of observations used.

        Args:
            order: Indices of the remaining observations of the epoch, in order.
        """
        replay = self.execution.replay
        if replay is not None and len(order) >= replay.data and not self.anomaly_mode:
            steps = range(self.step, self.step + replay.count)
            settings = [self.take_step.settings_at(step, self.budget) for step in steps]
            replay(order[: replay.data], settings)
            self.step += replay.count
            return replay.data
        self.take_step.set(self.take_step.settings_at(self.step, self.budget))
        if not self.processes.is_first:
            reseed(self.device, self.spec.seed, self.processes.rank, self.step)
        index, rest = order.tensor_split([self.spec.batch_size])
        self.splits.train.read_ahead(self.processes.share(rest[: self.spec.batch_size]))
        if self.anomaly_mode:
            take_watched(self.take_step, index, divergence_at(self.step + 1, self.budget))
        else:
            self.take_step(index)
        self.step += 1
        return len(index)

    def _order(self) -> Tensor:
        """Order of the observations in the current epoch, ``(data,)``."""
        if self.probabilities is None:
            return epoch_order(self.spec.seed, self.epoch, len(self.splits.train))
        return drawn_order(self.spec.seed, self.epoch, self.probabilities)

    def _draw_from(self, spec: ResamplingSpec) -> Tensor:
        where = divergence_at(self.step + 1, self.budget)
        z = self.processes.together(lambda: finite_codes(self.take_step, where))
        probabilities = drawing_probabilities(z, spec)
        self.processes.copy_first([probabilities])
        return probabilities

    def _end_epoch(self, callbacks: Sequence[Callback]) -> list[Record]:
        """Evaluate, and tell the callbacks."""
        known = len(self.warnings)
        records = self._records()
        for callback in callbacks:
            callback.on_epoch_end(self, records)
            for warning in self.warnings[known:]:
                callback.on_warning(self, warning)
        return records

    def _records(self) -> list[Record]:
        beta = self.take_step.beta.item()
        where = {"epoch": self.epoch, "step": self.step, "beta": beta}
        train = self.tally.summary()
        validation = evaluate(
            self.autoencoder,
            self.splits.validation,
            self.objective,
            beta=beta,
            processes=self.processes,
        )
        self.tally.reset()
        self.seconds = time.monotonic() - self._started
        self.elbo = validation.elbo
        if is_better(self.elbo, self.best.elbo, self.spec):
            self.best = Best(self.elbo, self.epoch, self._weights())
        if self.processes.is_first:
            self.watch.see(self.epoch, train, validation)
        return [
            Record.of(train, split="train", seconds=self.seconds, **where),
            Record.of(validation, split="validation", seconds=self.seconds, **where),
        ]

    def _judge(self) -> Judgement:
        """Judge the current weights, at the settings of the last step of the budget."""
        with self.take_step.set_to(self.budget.steps - 1, self.budget):
            beta = self.take_step.beta.item()
            return judged(self.autoencoder, self.splits.validation, self.objective, beta)

    def _settings(self, step: int) -> tuple[float, float]:
        """β and the setting of the objective."""
        beta, _, setting = self.take_step.settings_at(step, self.budget)
        return beta, setting

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.autoencoder.state_dict().items()}

    def _is_finite(self) -> bool:
        """True if the epoch's losses and the weights after it are finite."""
        numbers = [self.tally.loss, *self.take_step.parameters]
        return bool(torch.stack([number.isfinite().all() for number in numbers]).all())
