"""Loss of the guide on observations drawn from the model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.simulation import simulate
from pyrovae.objectives import Objective
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs.simulated import SimulatedSpec
from pyrovae.training.parameters import guide_parameters


class SimulatedLoss:
    r"""Loss of the guide on draws from the model.

    .. math::
        \mathbb{E}_{p(x, z)}[-\log q(z \mid x)] =
        \mathbb{E}_{p(x)} \operatorname{KL}(p(z \mid x), q(z \mid x)) + \text{const}

    The forward KL: given x, the latent from which it was drawn is an exact draw from the
    posterior. Of these pairs there are as many as one likes, so the encoder does not learn them by
    heart. Or the objective itself, on the drawn observations.

    Args:
        autoencoder: Model and guide.
        objective: Objective of the data.
        few: A few observations, on the programs' device.
        spec: Share of the gradient, and kind of the loss.

    Attributes:
        parameters: Parameters of the guide, which alone have this gradient.

    Raises:
        SpecError: The guide has no density at latents that it did not draw.

    References:
        Hinton et al. (1995), *The Wake-Sleep Algorithm for Unsupervised Neural Networks*;
        Bornschein and Bengio (2015), *Reweighted Wake-Sleep*, arXiv:1406.2751.
    """

    def __init__(
        self, autoencoder: Autoencoder, objective: Objective, few: Batch, spec: SimulatedSpec
    ) -> None:
        self.autoencoder = autoencoder
        self.objective = objective
        self.spec = spec
        with evaluating(autoencoder, few.device):
            self.local = LocalPosterior(autoencoder, few)
        self.parameters = guide_parameters(autoencoder, few)

    def __call__(self, batch: Batch, beta: float | Tensor) -> Tensor:
        """Loss of as many draws as there are data in the batch, in nats per observation.

        Args:
            batch: Data, from which all is taken that the model does not draw.
            beta: Weight of the KL, for the objective.
        """
        drawn = simulate(self.autoencoder, batch)
        if self.spec.loss == "objective":
            return self.objective.loss_and_terms(self.autoencoder, drawn.batch, beta)[0]
        return -self.local.of(drawn.batch).log_guide(drawn.z[None]).mean()

    def mixed(
        self, parameters: Sequence[Parameter], gradients: Sequence[Tensor], loss: Tensor
    ) -> list[Tensor]:
        """Gradients of the data, of which a share is replaced by that of a loss of draws.

        Args:
            parameters: Parameters that are trained.
            gradients: Gradient of each, on the data.
            loss: Loss of draws.
        """
        own = {id(parameter) for parameter in self.parameters}
        fitted = [parameter for parameter in parameters if id(parameter) in own]
        others = iter(torch.autograd.grad(loss, fitted))
        share = self.spec.share
        return [
            torch.lerp(gradient, next(others), share) if id(parameter) in own else gradient
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ]
