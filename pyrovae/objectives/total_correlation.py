"""The KL taken apart into information, total correlation and the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from pyrovae.autoencoder import Site, Traces, latent_sites
from pyrovae.compatibility import DENSITY, MARGINALS, ONE_SITE, REPARAMETERISED, Need
from pyrovae.errors import SpecError
from pyrovae.kl import marginals
from pyrovae.objectives.abstract import Objective
from pyrovae.objectives.scaling import beta_of, data_scale, particle_mean, reconstruction


class Decomposition(NamedTuple):
    r"""The sampled KL of each datum in three parts, ``(data,)``, which add up to it.

    Attributes:
        mutual_information: :math:`\log q(z \mid x) - \log q(z)`, of data and code.
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
        num_particles: Draws of the code.
        data_size: :math:`N`; moves the parts by constants, the gradient not at all.
        mutual_information: :math:`\alpha`.
        dimension_wise: :math:`\gamma`.
        options: Of Pyro's ``ELBO``.

    References:
        Chen et al. (2018), *Isolating Sources of Disentanglement in VAEs*, arXiv:1802.04942.
    """

    needs: tuple[Need, ...] = (DENSITY, REPARAMETERISED, MARGINALS, ONE_SITE)

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

    def decompose(self, trace: Traces) -> Decomposition:
        """The KL of one trace in its three parts; β is not in them.

        Raises:
            SpecError: The marginals of a guide's distribution are not known.
        """
        name = latent_sites(trace.model)[0]
        q: Site = trace.guide.nodes[name]
        log_q, log_p = q["unscaled_log_prob"], trace.model.nodes[name]["unscaled_log_prob"]
        per_dim = marginals(q["fn"])
        if per_dim is None:
            raise SpecError("total correlation: the marginals of q(z | x) are not known")
        # Each code (to the very left, where any number may be) under every datum's guide.
        codes = q["value"].movedim(-2, 0).unsqueeze(-2)
        total = math.log(log_q.shape[-1] * self.data_size)
        joint = q["fn"].log_prob(codes).logsumexp(-1).movedim(0, -1) - total
        each_dim = per_dim.log_prob(codes).logsumexp(-2).movedim(0, -2) - total
        product = each_dim.sum(-1)
        return Decomposition(log_q - joint, joint - product, product - log_p)

    def _loss(self, traces: Sequence[Traces]) -> Tensor:
        each = [self.decompose(trace) for trace in traces]
        parts = Decomposition(*(particle_mean(part) for part in zip(*each, strict=True)))
        penalty = (
            self.mutual_information * parts.mutual_information
            + beta_of(traces[0]) * parts.total_correlation
            + self.dimension_wise * parts.dimension_wise
        )
        return (penalty - reconstruction(traces)).sum() * data_scale(traces[0])
