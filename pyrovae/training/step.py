"""One optimiser step, as a function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from pyrovae.compute.capture import Captured, capture, tensors_of
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.precision import networks_in
from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch, Dataset
from pyrovae.evaluation.metrics import Layout, RunningSums, sums
from pyrovae.objectives import Objective
from pyrovae.objectives.schedules import Budget, beta_at, rate_at
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs import InferenceSpec
from pyrovae.specs.computation import Precision
from pyrovae.training.exchange import Exchange
from pyrovae.training.micro_batches import micro_batches
from pyrovae.training.optimisers import MakeOptimiser, TorchOptimiser, build_optimiser
from pyrovae.training.parameters import trained_parameters
from pyrovae.training.simulated import SimulatedLoss
from pyrovae.training.weight_average import WeightAverage


class Step:
    """Optimiser step: batch, loss, gradients, clipping, update, and running sums for reports.

    Everything that changes from step to step is in tensors that are written in place, so that a
    step can be captured once and repeated.

    Args:
        autoencoder: Model and guide, on their device.
        objective: The loss.
        data: The training data, as the model sees them.
        spec: Specification of the inference.
        layout: Layout of the reported sums.
        precision: Precision of the networks.
        optimiser: Makes another optimiser than the specification's.
        processes: The processes that share each batch.

    Attributes:
        settings: β, learning rate, and the setting of the objective, ``(3,)``.
        written: Current values of ``settings``, as numbers; None if unknown.
        importance: Weight of each observation in reports, ``(data,)``; None if all are equal.
        captured: Loss and gradients as graphs, by size of the batch.
        average: Moving average of the weights, if it is wanted.
        exchange: The sum over the processes.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        objective: Objective,
        data: Dataset,
        spec: InferenceSpec,
        layout: Layout,
        precision: Precision = "float32",
        optimiser: MakeOptimiser | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.autoencoder = autoencoder
        self.objective = objective
        self.data = data
        self.spec = spec
        self.precision: Precision = precision
        self.networks = autoencoder.networks()
        self.device = autoencoder.device
        self.parameters = [p for p in autoencoder.parameters() if p.requires_grad]
        self.simulated: SimulatedLoss | None = None
        if spec.frozen == "model" or spec.simulated is not None:
            with seeded(0, data.x.device):  # bits may be drawn
                few = data.batch(torch.arange(2)).to(self.device)
            self.parameters = trained_parameters(autoencoder, few, spec)
            if spec.simulated is not None:
                self.simulated = SimulatedLoss(autoencoder, objective, few, spec.simulated)
        rate = spec.optimiser.learning_rate
        self.optimiser = (
            build_optimiser(spec.optimiser, self._named())
            if optimiser is None
            else TorchOptimiser(optimiser, self.parameters, rate)
        )
        self.average = (
            None
            if spec.ema_decay is None
            else WeightAverage([*tensors_of(autoencoder).values()], spec.ema_decay)
        )
        self.tally = RunningSums(layout, self.device)
        self.settings = torch.zeros(3, device=self.device)
        self.beta, self.rate, objective.setting = self.settings.unbind()
        self.written: tuple[float, float, float] | None = None
        self.importance: Tensor | None = None
        self.captured: dict[int, Captured] = {}
        self.processes = processes
        self.exchange = Exchange(processes)

    @property
    def is_resident(self) -> bool:
        """True if the data are on the device of the programs."""
        return self.data.x.device.type == self.device.type

    def settings_at(self, step: int, budget: Budget) -> tuple[float, float, float]:
        """Settings of the step after ``step`` finished ones."""
        spec = self.spec
        rate = spec.optimiser.learning_rate * rate_at(spec.learning_rate_schedule, step, budget)
        return beta_at(spec.beta, step, budget), rate, self.objective.setting_at(step, budget)

    def set(self, settings: tuple[float, float, float]) -> None:
        """Write the settings into the tensors that the step reads."""
        if settings != self.written:
            self.settings.copy_(torch.tensor(settings), non_blocking=True)
            self.written = settings

    @contextmanager
    def set_to(self, step: int, budget: Budget) -> Iterator[None]:
        """The settings of another step, for a while."""
        now = self.written
        self.set(self.settings_at(step, budget))
        yield
        if now is not None:
            self.set(now)

    def __call__(self, index: Tensor) -> None:
        """Take the step with the observations ``index`` of the training data, ``(batch,)``.

        Each of several processes has its share of them.
        """
        own = self.processes.share(index)
        total, *gradients = self.accumulated(own, self._differentiated)
        self.finish(total, gradients, len(own), len(index))

    def accumulated(
        self, index: Tensor, found: Callable[[Tensor], Sequence[Tensor]]
    ) -> Sequence[Tensor]:
        """Sums and gradients of the own observations, micro-batch by micro-batch.

        Args:
            index: The observations, ``(batch,)``; perhaps none.
            found: Sums and gradients of a micro-batch.
        """
        sizes = micro_batches(len(index), self.spec, self.processes)
        if len(sizes) == 1:
            return found(index)
        added = self.zeros()
        for part in index.split(sizes):
            total, *gradients = found(part)
            added[0] += total
            for sum_, gradient in zip(added[1:], gradients, strict=True):
                sum_.add_(gradient, alpha=len(part) / len(index))
        return added

    def _differentiated(self, index: Tensor) -> Sequence[Tensor]:
        captured = self.captured.get(len(index), self.differentiate)
        return captured(*self.inputs(*self.batch(index)))

    def finish(self, total: Tensor, gradients: Sequence[Tensor], own: int, count: int) -> None:
        """Sum over the processes, and update.

        Args:
            total: Sums of the own observations.
            gradients: Gradients of their mean loss.
            own: Number of the own observations.
            count: Number of all.
        """
        self.update(*self.exchange(total, gradients, own / count), count)

    def batch(self, index: Tensor) -> tuple[Batch, Tensor | None]:
        """The observations and their weights, on the programs' device."""
        batch = self.data.batch(index).to(self.device, non_blocking=True)
        return batch, None if self.importance is None else self.importance[index].to(batch.x)

    @staticmethod
    def inputs(batch: Batch, weights: Tensor | None = None) -> tuple[Tensor, ...]:
        """The tensors that :meth:`differentiate` takes."""
        return batch.tensors if weights is None else (*batch.tensors, weights)

    def differentiate(self, *inputs: Tensor) -> list[Tensor]:
        """The batch's :func:`sums`, and the gradient of the loss for each parameter."""
        count = 1 + len(self.data.asked)
        batch = Batch(inputs[0], dict(zip(self.data.asked, inputs[1:count], strict=True)))
        weights = inputs[count] if len(inputs) > count else None
        # Reports are weighted back to the data; the loss only if the specification says so.
        resampling = self.spec.resampling
        charged = weights if resampling and resampling.importance_weights else None
        with networks_in(self.precision, self.networks):
            loss, terms = self.objective.loss_and_terms(
                self.autoencoder, batch, self.beta, charged
            )
        gradients: Sequence[Tensor] = torch.autograd.grad(
            loss, self.parameters, allow_unused=True, materialize_grads=True
        )
        if self.simulated is not None:
            with networks_in(self.precision, self.networks):
                simulated = self.simulated(batch, self.beta)
            gradients = self.simulated.mixed(self.parameters, gradients, simulated)
        with torch.no_grad():
            return [sums(loss, terms, weights), *gradients]

    def zeros(self) -> list[Tensor]:
        """Sums and gradients of no observations, as of :meth:`differentiate`."""
        return [torch.zeros_like(each) for each in (self.tally.sums, *self.parameters)]

    def update(self, total: Tensor, gradients: Sequence[Tensor], count: int) -> None:
        """Clip the gradients, update the parameters and the running sums."""
        if self.spec.clip_norm is not None:
            gradients = clipped(gradients, self.spec.clip_norm)
        # A number on the CPU needs no tensor.
        rate = self.rate.item() if self.rate.is_cpu else self.rate
        self.optimiser.update(gradients, rate)
        if self.average is not None:
            self.average.update()
        self.tally.add(total, count)

    def averaged(self, wanted: bool = True) -> AbstractContextManager[None]:
        """The averaged weights for a while, or those of the last step; the same without one."""
        return nullcontext() if self.average is None else self.average.used(wanted)

    def tensors(self) -> list[Tensor]:
        """Every tensor that a step writes."""
        weights = [*tensors_of(self.autoencoder).values()]
        average = [] if self.average is None else self.average.tensors()
        return [*weights, *self.optimiser.tensors(), *average, self.tally.sums, self.settings]

    def _named(self) -> dict[str, Tensor]:
        """The parameters that are trained, by name."""
        trained = {id(parameter) for parameter in self.parameters}
        named = self.autoencoder.named_parameters()
        return {name: parameter for name, parameter in named if id(parameter) in trained}

    def capture(self, size: int, *, compiled: bool = False) -> Captured:
        """Capture loss and gradients for batches of a size; compile them if requested.

        Raises:
            CaptureError: They cannot be captured.
        """
        examples = []
        with seeded(0, self.device):  # bits are drawn
            for start in (0, size):
                index = (torch.arange(size) + start) % len(self.data)
                examples.append(self.inputs(*self.batch(index.to(self.data.rows.device))))
        found = capture(self.differentiate, self.autoencoder, *examples)
        self.captured[size] = found.compiled(examples[0]) if compiled else found
        return self.captured[size]


def clipped(gradients: Sequence[Tensor], limit: float) -> list[Tensor]:
    """Gradients scaled down by a common factor, to a norm of at most ``limit``.

    ``torch.nn.utils.clip_grad_norm_`` does the same in place.

    References:
        Pascanu, Mikolov and Bengio (2013), *On the difficulty of training recurrent neural
        networks*, arXiv:1211.5063.
    """
    factor = (limit / (get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
    return [gradient * factor for gradient in gradients]
