"""The variational autoencoder: two Pyro programs and the parts they are made of."""

from __future__ import annotations

import itertools
import warnings
from typing import Any
from weakref import WeakKeyDictionary

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import Independent

from pyrovae.compute.modes import evaluation_mode
from pyrovae.data.batch import X_KNOWN
from pyrovae.data.contract import Contract
from pyrovae.errors import SpecError
from pyrovae.parts.guides import Guide
from pyrovae.parts.likelihoods import Likelihood
from pyrovae.parts.networks import Decoder, Encoder
from pyrovae.parts.priors import Prior
from pyrovae.programs.autoencoder import Autoencoder, Formulas, center
from pyrovae.programs.given_values import as_count, as_known, as_latents, as_observations

_counter = itertools.count()
_names: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


def _name(module: nn.Module) -> str:
    """Unique name in Pyro's global parameter store, also among copies of a module."""
    return _names.setdefault(module, f"pyrovae{next(_counter)}")


def _register(part: nn.Module) -> None:
    """Let Pyro know the parameters of a part, but for frozen ones."""
    if all(parameter.requires_grad for parameter in part.parameters()):
        pyro.module(_name(part), part)
        return
    with warnings.catch_warnings():  # Pyro warns of frozen ones, in every step
        warnings.filterwarnings("ignore", ".* was not registered in the param store")
        pyro.module(_name(part), part)


class VAE(Autoencoder):
    r"""Variational autoencoder.

    .. math::
        \text{model}\quad p(z)\, p(x \mid z) \qquad\qquad \text{guide}\quad q(z \mid x)

    :meth:`model` and :meth:`guide` are ordinary Pyro programs and go as they are into ``SVI``,
    ``Predictive``, ``Trace_ELBO``, ``TraceMeanField_ELBO``, ``RenyiELBO``, ``poutine.trace`` and
    ``NUTS``. One plate encloses everything, so bounds with several particles are per observation.
    Sites are named "z" and "x".

    Args:
        prior: p(z).
        decoder: Network from latents to the likelihood's parameters.
        likelihood: p(x | z).
        guide: q(z | x), an encoder and a family.

    Attributes:
        likelihood_reason: Reason why p(x | z) was chosen for the data, if it was left to them.
        own_parts: Names of the modules that are a user's own.

    Raises:
        SpecError: Prior and guide have latents of different lengths.

    Example:
        >>> from pyrovae.parts.families import DiagonalNormal
        >>> from pyrovae.parts.guides import Guide
        >>> from pyrovae.parts.likelihoods import BernoulliLikelihood
        >>> from pyrovae.parts.networks import MLPDecoder, MLPEncoder
        >>> from pyrovae.parts.priors import MixturePrior
        >>> encoder = MLPEncoder((1, 8, 8))
        >>> vae = VAE(
        ...     prior=MixturePrior(latent_dim=2, components=3),
        ...     decoder=MLPDecoder(2, shape=(1, 8, 8)),
        ...     likelihood=BernoulliLikelihood(shape=(1, 8, 8)),
        ...     guide=Guide(encoder, DiagonalNormal(encoder.features, dims=2)),
        ... )
        >>> vae.sample(5).shape
        torch.Size([5, 1, 8, 8])

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114.
    """

    # Particles may be drawn at once, in a dimension to the left of the data.
    vectorisable = True
    contract = Contract(optional=(X_KNOWN,))
    likelihood_reason: str = ""
    own_parts: tuple[str, ...] = ()

    def __init__(
        self, *, prior: Prior, decoder: Decoder, likelihood: Likelihood, guide: Guide
    ) -> None:
        super().__init__()
        if prior.latent_dim != guide.latent_dim:
            raise SpecError(
                f"the prior's code has length {prior.latent_dim} and the guide's "
                f"{guide.latent_dim}: give both the same latent_dim"
            )
        self.prior = prior
        self.decoder = decoder
        self.likelihood = likelihood
        self.posterior = guide
        self.advice = likelihood.advice

    def model(
        self,
        x: Tensor | None = None,
        size: int | None = None,
        x_known: Tensor | None = None,
        **others: Any,
    ) -> Tensor:
        """The generative program: z ~ p(z), x ~ p(x | z).

        Args:
            x: Observed data ``(batch, *shape)``; None draws them.
            size: Number of data that the batch stands for, by which log-densities are scaled;
                the batch's own by default. Without ``x``: how many to draw.
            x_known: False for values that are not known and do not count, ``(batch, *shape)``, or
                for whole observations, ``(batch,)``; None if all are known.
            others: Further variables of a batch; not used.

        Raises:
            SpecError: Single values are not known, and p(x | z) is not a product over them.

        Returns:
            The data, observed or drawn.
        """
        for part in (self.prior, self.decoder, self.likelihood):
            _register(part)
        with _data_plate(x, size):
            z = pyro.sample("z", self.prior(self.posterior))
            data = self._decoded(z)
            return pyro.sample("x", data if x_known is None else _masked(data, x_known), obs=x)

    def guide(
        self, x: Tensor, size: int | None = None, x_known: Tensor | None = None, **others: Any
    ) -> Tensor:
        """The inference program: z ~ q(z | x). Arguments as for :meth:`model`."""
        _register(self.posterior)
        with _data_plate(x, size):
            return pyro.sample("z", self._encoded(x, x_known))

    def encode(self, x: Any, x_known: Any = None) -> TorchDistributionMixin:
        """q(z | x) for data ``(*batch, *shape)``, a tensor, an array or a list of numbers.

        Values that are not known are zero to the encoder, after standardisation if there is one.

        Args:
            x: The data.
            x_known: As for :meth:`model`.

        Raises:
            DataError: The data are not as the model sees them, such as grey values for bits, or
                have another shape.

        References:
            Mattei and Frellsen (2019), *MIWAE: Deep Generative Modelling and Imputation of
            Incomplete Data Sets*, arXiv:1812.02633, who impute zeros as well.
        """
        return self._encode("encode", x, x_known)

    def _encode(self, where: str, x: Any, x_known: Any) -> TorchDistributionMixin:
        x = as_observations(where, x, self.shape, self._parameter)
        self.require_prepared(x)
        return self._encoded(x, as_known(x_known, x))

    def _encoded(self, x: Tensor, x_known: Tensor | None) -> TorchDistributionMixin:
        return self.posterior(self.encoder_input(x, x_known))

    def encoder_input(self, x: Tensor, x_known: Tensor | None = None) -> Tensor:
        """The data as the encoder sees them: see :meth:`encode` for values that are not known."""
        if x_known is None:
            return x
        units = self.posterior.encoder.standardisation
        known = x_known.reshape(x_known.shape + (1,) * (x.ndim - x_known.ndim))
        return torch.where(known, x, x.new_zeros(()) if units is None else units.loc)

    def decode(self, z: Any) -> TorchDistributionMixin:
        """p(x | z) for latents ``(*batch, latent_dim)``, a tensor, an array or a list.

        Raises:
            DataError: The latents have another length.
        """
        return self._decoded(as_latents("decode", z, self.prior.latent_dim, self._parameter))

    def _decoded(self, z: Tensor) -> TorchDistributionMixin:
        return self.likelihood(self.decoder(z))

    @torch.no_grad()
    def support(self) -> Any:
        """Support of p(x | z), a constraint of torch."""
        with evaluation_mode(self):
            return self._decoded(self._parameter.new_zeros(1, self.prior.latent_dim)).support

    @torch.no_grad()
    def sample(self, count: int) -> Tensor:
        """Draw data ``(count, *shape)`` from p(x): latents from the prior, data given latents.

        Raises:
            SpecError: The count is not a whole number from 1 on.
        """
        count = as_count("sample", count)
        return self._decoded(self.prior(self.posterior).sample((count,))).sample()

    @torch.no_grad()
    def reconstruct(self, x: Any, x_known: Any = None) -> Tensor:
        """Mean of p(x | z) at the mean of q(z | x), or at a draw where q has no known mean.

        Shape ``(*batch, *shape)``, values that are not known included. Arguments as for
        :meth:`encode`.
        """
        return self._decoded(center(self._encode("reconstruct", x, x_known))).mean

    def networks(self) -> list[nn.Module]:
        """Encoder and decoder."""
        return [part for part in self.modules() if isinstance(part, (Encoder, Decoder))]

    def formulas(self) -> Formulas:
        """Formulas of prior, likelihood and guide."""
        return Formulas(self.prior.formula, self.likelihood.formula, self.posterior.formula)


def _masked(data: Any, known: Tensor) -> Any:
    """p(x | z) of which single values, or whole observations, do not count."""
    if known.ndim == 1:
        return data.mask(known)
    event = data.event_dim
    if not isinstance(data, Independent) or data.reinterpreted_batch_ndims != event:
        raise SpecError(
            f"{X_KNOWN} has shape {tuple(known.shape)}, and the values of {type(data).__name__} "
            "depend on each other: give one true or false for each row, or choose another "
            "model.likelihood.kind"
        )
    return data.base_dist.mask(known).to_event(event)


def _data_plate(x: Tensor | None, size: int | None) -> pyro.plate:
    """Plate over the data, in which a batch stands for ``size`` observations."""
    if x is None:
        return pyro.plate("data", size or 1, dim=-1)
    return pyro.plate("data", size or len(x), subsample=x, dim=-1)
