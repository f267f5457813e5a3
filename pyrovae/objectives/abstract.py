"""What every objective is: a Pyro ELBO that also returns what it is made of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.scale_messenger import ScaleMessenger
from torch import Tensor

from pyrovae.autoencoder import Autoencoder, Traces
from pyrovae.compatibility import Need
from pyrovae.schedules import Budget
from pyrovae.terms import Terms, average, terms


class LatentScale(ScaleMessenger):
    """``poutine.scale`` for the latent sites alone, which is what β is.

    Wrapped around model *and* guide: ``TraceMeanField_ELBO`` reads the guide's scale,
    ``Trace_ELBO`` both. ``poutine.scale`` refuses zero; here β = 0 is the plain autoencoder.

    Args:
        beta: Weight of the KL; a tensor may change between runs of the program.
    """

    def __init__(self, beta: float | Tensor) -> None:
        Messenger.__init__(self)
        self.scale = beta

    def _process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and not msg["is_observed"]:
            super()._process_message(msg)


class DataWeights(ScaleMessenger):
    """``poutine.scale`` by a weight for each datum of a batch, wrapped around model and guide.

    Objectives that are no sum of log-densities find it again by
    :func:`pyrovae.objectives.scaling.plate_scale`.

    Args:
        weights: Positive numbers, ``(batch,)``.
    """

    def _process_message(self, msg: Any) -> None:
        if msg["type"] == "sample":
            super()._process_message(msg)
            msg["infer"]["data_weights"] = self.scale


class Objective(Trace_ELBO):
    """A loss over the traces of model and guide, which Pyro's ``SVI`` takes as it is.

    It differs from Pyro's own in two ways: it returns the terms of the bound beside the loss,
    and it leaves every number on its device (Pyro's call ``.item()`` in each step, for which a
    GPU has to wait).

    Attributes:
        needs: What it asks of guide and prior, beyond what every objective does.
        title: What it is, in a line, as shown before training.
        setting: What it changes by itself in the course of training (:meth:`setting_at`).
    """

    needs: tuple[Need, ...] = ()
    title: str
    setting: float | Tensor = 0.0

    def loss_and_terms(
        self,
        autoencoder: Autoencoder,
        x: Tensor,
        beta: float | Tensor = 1.0,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, Terms]:
        """The loss in nats per datum, for ``backward()``, and the terms of the ELBO at β = 1.

        Args:
            autoencoder: Model and guide.
            x: A batch of data, ``(batch, *shape)``.
            beta: Weight of the KL, or of what stands for it, in the loss.
            weights: Of each datum in the loss, ``(batch,)``, for objectives whose loss is a sum
                over data; the terms are without it.
        """
        scaled = LatentScale(beta)
        model, guide = scaled(autoencoder.model), scaled(autoencoder.guide)
        if weights is not None:
            weighted = DataWeights(weights)
            model, guide = weighted(model), weighted(guide)
        traces = self._all_traces(model, guide, (x,), {})
        with torch.no_grad():
            reported = average([terms(trace.model, trace.guide, len(x)) for trace in traces])
        return self._loss(traces) / len(x), reported

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The loss summed over the data, in nats; as Pyro's, but without waiting for it."""
        return self._loss(self._all_traces(model, guide, args, kwargs))

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """What ``SVI.step`` calls: the loss summed over the data; adds up gradients."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward()
        return loss.item()

    @torch.no_grad()
    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """What ``SVI.evaluate_loss`` calls: the loss summed over the data."""
        return self.differentiable_loss(model, guide, *args, **kwargs).item()

    def setting_at(self, step: int, budget: Budget) -> float:
        """:attr:`setting` in the step that follows ``step`` finished ones; here of no use."""
        return 0.0

    @abstractmethod
    def _loss(self, traces: Sequence[Traces]) -> Tensor:
        """The loss summed over the data, with its value and its gradient.

        Args:
            traces: One for each particle, or one for all where they are drawn at once.
        """

    def _all_traces(self, model: Any, guide: Any, args: Any, kwargs: Any) -> list[Traces]:
        return [Traces(*pair) for pair in self._get_traces(model, guide, args, kwargs)]
