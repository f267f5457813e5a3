"""Interface of an objective: a Pyro ELBO that also returns its terms."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from pyro.infer.util import is_validation_enabled
from pyro.poutine.messenger import Messenger
from pyro.poutine.scale_messenger import ScaleMessenger
from pyro.util import check_if_enumerated, check_model_guide_match, check_site_shape
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.objectives.requirements import Requirement, find_obstacle, pairs_of
from pyrovae.objectives.schedules import Budget
from pyrovae.objectives.terms import ELBOTerms
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.densities import Densities, densities, has_own_scale
from pyrovae.programs.enumeration import PLATES, is_summed
from pyrovae.programs.log_density import filled
from pyrovae.programs.traces import Traces, density_sites, missing_values


class LatentScale(ScaleMessenger):
    """``poutine.scale`` for the latent sites alone: β, for Pyro's own objectives.

    Wrapped around model *and* guide: ``TraceMeanField_ELBO`` reads the guide's scale,
    ``Trace_ELBO`` both. ``poutine.scale`` refuses zero; here β = 0 is the plain autoencoder. Our
    objectives take β as an argument, and agree with Pyro's under this handler.

    Args:
        beta: Weight of the KL; a tensor may change between runs of the program.
    """

    def __init__(self, beta: float | Tensor) -> None:
        Messenger.__init__(self)
        self.scale = beta

    def _process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and not msg["is_observed"]:
            super()._process_message(msg)


class Objective(Trace_ELBO):
    """A loss over log-densities per observation, usable in Pyro's ``SVI`` as it is.

    It differs from Pyro's own in two ways: it returns the terms of the bound beside the loss, and
    it leaves every number on its device (Pyro's call ``.item()`` in each step, which synchronises
    with the GPU).

    Under ``SVI`` β is 1, the loss is summed over the data as Pyro's is, and the programs' own
    ``poutine.scale`` multiplies log-densities. Where not all sites are in one plate, a whole draw
    counts as one observation.

    Attributes:
        needs: Requirements on guide and prior, beyond those of every objective.
        title: Description in a line, as shown before training.
        setting: Value that the objective changes in the course of training (:meth:`setting_at`).
        sampled: True if it needs log p and log q even of latents whose KL has a closed form.
        compares: True if it is no mean over observations, but compares those of a batch; several
            processes then compare, each, those of their share.
    """

    needs: tuple[Requirement, ...] = ()
    title: str
    setting: float | Tensor = 0.0
    sampled: bool = False
    compares: bool = True

    def loss_and_terms(
        self,
        autoencoder: Autoencoder,
        batch: Batch | Tensor,
        beta: float | Tensor = 1.0,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, ELBOTerms]:
        """Return the loss in nats per observation, for ``backward()``, and the terms of the ELBO.

        Args:
            autoencoder: Model and guide.
            batch: The data; a tensor stands for observations alone.
            beta: Weight of the KL, or of the term in its place, in the loss.
            weights: Weight of each observation in the loss, ``(batch,)``, for objectives whose
                loss is a sum over observations; the terms are unweighted.

        Raises:
            SpecError: A site is in no plate of the data.
        """
        batch = Batch.of(batch)
        traces = self._all_traces(autoencoder.model, autoencoder.guide, (), batch.variables)
        found = charged = densities(traces, len(batch), sampled=self.sampled)
        if has_own_scale(traces[0]):
            charged = densities(traces, len(batch), sampled=self.sampled, scaled=True)
        return self._loss(charged, beta, weights), ELBOTerms.of(found)

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return the loss summed over the data, in nats, without synchronising with the device.

        Raises:
            SpecError: The objective cannot be computed for these programs; says why.
        """
        traces = self._all_traces(model, guide, args, kwargs)
        if obstacle := find_obstacle(self.needs, pairs_of(traces[0])):
            raise SpecError(f"{type(self).__name__} cannot work for these programs: {obstacle}")
        found = densities(traces, sampled=self.sampled, scaled=True)
        plates = found.reduced.plates
        return self._loss(found, 1.0, None) * (plates.size * plates.subsampling)

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Return the loss summed over the data and accumulate gradients, for ``SVI.step``."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward()
        return loss.item()

    @torch.no_grad()
    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Return the loss summed over the data, for ``SVI.evaluate_loss``."""
        return self.differentiable_loss(model, guide, *args, **kwargs).item()

    def setting_at(self, step: int, budget: Budget) -> float:
        """Value of :attr:`setting` after ``step`` finished steps; unused by default."""
        return 0.0

    @abstractmethod
    def _loss(self, found: Densities, beta: float | Tensor, weights: Tensor | None) -> Tensor:
        """The loss in nats per observation, with its value and its gradient.

        Args:
            found: Log-densities and KLs of all sites.
            beta: Weight of the KL, or of the term in its place.
            weights: Weight of each observation, ``(data,)``; see :meth:`loss_and_terms`.
        """

    def _all_traces(self, model: Any, guide: Any, args: Any, kwargs: Any) -> list[Traces]:
        return list(self._get_traces(model, guide, args, kwargs))

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        """Run both programs, for each particle or once for all, as Pyro's ``ELBO`` asks."""
        traces = Traces.run(model, guide, *args, **kwargs)
        if is_validation_enabled():
            check_traces(traces, self.max_plate_nesting)
        return traces


def check_traces(traces: Traces, max_plate_nesting: Any) -> None:
    """Pyro's own checks of a run of both programs.

    Raises:
        ValueError: Sites of model and guide do not match, or their shapes do not fit their plates.
    """
    model = traces.model.copy()
    for name in set(missing_values(model)) - set(traces.guide.nodes):
        model.remove_node(name)  # the guide may leave them to the prior
    for name, site in density_sites(model).items():
        if site["is_observed"]:  # what a mask hides may be anything
            value = filled(site["value"], site["mask"], site["fn"].event_dim)
            model.nodes[name] = site | {"value": value}
    if any(is_summed(site) for t in (model, traces.guide) for site in t.nodes.values()):
        max_plate_nesting = min(max_plate_nesting, PLATES)  # enumerated dimensions are left of it
    else:
        check_if_enumerated(traces.guide)
    check_model_guide_match(model, traces.guide, max_plate_nesting)
    for trace in model, traces.guide:
        trace.compute_log_prob()
        for site in density_sites(trace).values():
            check_site_shape(site, max_plate_nesting)
