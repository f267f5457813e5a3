"""Decomposition of the KL: mutual information, total correlation, dimension-wise KL."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.objectives.abstract import Objective
from pyrovae.objectives.requirements import (
    DENSITY,
    MARGINALS,
    ONE_SITE,
    REPARAMETERISED,
    Requirement,
)
from pyrovae.parts.distributions.kl import marginals
from pyrovae.programs.densities import Densities
from pyrovae.programs.log_density import masked, present
from pyrovae.programs.plates import Plates
from pyrovae.programs.traces import Site, Traces


class Decomposition(NamedTuple):
    r"""The sampled KL of each observation in three parts, ``(data,)``, which sum to it.

    Attributes:
        mutual_information: :math:`\log q(z \mid x) - \log q(z)`, of observation and latent.
        total_correlation: :math:`\log q(z) - \sum_d \log q(z_d)`, of the dimensions.
        dimension_wise: :math:`\sum_d \log q(z_d) - \log p(z)`, from the prior.
    """

    mutual_information: Tensor
    total_correlation: Tensor
    dimension_wise: Tensor


class TotalCorrelationELBO(Objective):
    r"""β-TCVAE: β on the dependence between latent dimensions alone.

    .. math::
        \mathbb{E} \log p(x \mid z) - \alpha\, I_q(z; x)
        - \beta \operatorname{KL}\Big(q(z), \prod_d q(z_d)\Big)
        - \gamma \operatorname{KL}\Big(\prod_d q(z_d), p(z)\Big)

    The aggregated posterior q(z) is estimated from the minibatch, as if each of its M data
    stood for N M of them,

    .. math::
        \log q(z_i) \approx \log \frac{1}{N M} \sum_j q(z_i \mid x_j)

    which is biased, for each part alone; their sum at α = β = γ = 1 is the ELBO. For a prior
    that factorises, the last part is the paper's sum over dimensions.

    Args:
        num_particles: Draws of the latent.
        data_size: :math:`N`; shifts the parts by constants, without effect on the gradient.
        mutual_information: :math:`\alpha`.
        dimension_wise: :math:`\gamma`.
        options: Options of Pyro's ``ELBO``.

    References:
        Chen et al. (2018), *Isolating Sources of Disentanglement in VAEs*, arXiv:1802.04942.
    """

    needs: tuple[Requirement, ...] = (DENSITY, REPARAMETERISED, ONE_SITE, MARGINALS)

    def __init__(
        self,
        num_particles: int = 1,
        data_size: int = 1,
        mutual_information: float = 1.0,
        dimension_wise: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(num_particles, **options)
        self.data_size = data_size
        self.mutual_information = mutual_information
        self.dimension_wise = dimension_wise
        self.title = "ELBO with β on the total correlation (minibatch-weighted)"

    def decompose(self, traces: Traces) -> Decomposition:
        """Decompose the KL of one run into three parts, with the latents' batch shape, without β.

        Masked observations have zeros, and are not among the minibatch's data.

        Raises:
            SpecError: The marginals of a guide's distribution are not known, or the latents are
                not in the plate of the data and in no other.
        """
        (name,) = traces.latent
        q: Site = traces.guide.nodes[name]
        p: Site = traces.model.nodes[name]
        per_dim = marginals(q["fn"])
        if per_dim is None:
            raise SpecError("total correlation: the marginals of q(z | x) are not known")
        plates = Plates.of(traces.model, traces.guide)
        data, batch = plates.data, q["fn"].batch_shape
        if data is None or batch[data:].numel() != plates.size:
            raise SpecError(
                f"total correlation: site '{name}' has to be in the plate of the data, with all "
                "other sites, and in no plate inside it"
            )
        z, mask = q["value"], present(q["mask"], plates)
        shown = z.new_ones(plates.size) if mask is None else mask[0]
        total = math.log(self.data_size) + shown.double().sum().log()

        def aggregated(log_q: Tensor, dim: int) -> Tensor:
            hidden = shown.reshape((-1,) + (1,) * (-dim - 1)) == 0
            log_sum = log_q.double().masked_fill(hidden, -math.inf).logsumexp(dim)
            return log_sum.movedim(0, dim) - total

        # Each latent (to the very left, where any number may be) under every observation's guide.
        each = z.movedim(data - 1, 0).unsqueeze(data - 1)
        joint = aggregated(q["fn"].log_prob(each), data)
        product = aggregated(per_dim.log_prob(each), data - 1).sum(-1)
        log_q, log_p = q["fn"].log_prob(z).double(), p["fn"].log_prob(z).double()
        parts = (log_q - joint, joint - product, product - log_p)
        return Decomposition(*(masked(part, q["mask"]) for part in parts))

    def _loss(self, found: Densities, beta: float | Tensor, weights: Tensor | None) -> Tensor:
        loss = -found.reconstruction.mean()
        for traces in found.traces:
            q: Site = traces.guide.nodes[traces.latent[0]]
            information, correlation, rest = (
                found.reduced(part, q).mean() / len(found.traces)
                for part in self.decompose(traces)
            )
            loss = loss + self.mutual_information * information
            loss = loss + beta * correlation + self.dimension_wise * rest
        return loss
