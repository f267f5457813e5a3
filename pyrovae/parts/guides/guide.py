"""An approximate posterior q(z | x)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.errors import SpecError
from pyrovae.parts.families import Family
from pyrovae.parts.networks import Encoder
from pyrovae.parts.networks.module import ModuleEncoder


class Guide(nn.Module):
    r"""The approximate posterior: a family of distributions, given an encoder's features.

    .. math::
        q(z \mid x) = p(z \mid h = h(x))

    Args:
        encoder: Network from data to features :math:`h(x)`. Any other module, such as a CNN, is
            taken as one by ``build``, which knows the shape of the data.
        family: Conditional distribution of the latent, given features.

    Raises:
        SpecError: The encoder gives another number of features than the family takes.

    Example:
        >>> import torch
        >>> from pyrovae.parts.families import DiagonalNormal
        >>> from pyrovae.parts.networks import MLPEncoder
        >>> encoder = MLPEncoder((16,), widths=[8])
        >>> guide = Guide(encoder, DiagonalNormal(encoder.features, dims=2))
        >>> guide.formula
        'Normal(loc(x), diag scale(x)²)'
        >>> guide(torch.zeros(5, 16)).event_shape
        torch.Size([2])
    """

    encoder: Encoder

    def __init__(self, encoder: nn.Module, family: Family) -> None:
        super().__init__()
        self.add_module("encoder", encoder)
        self.family = family
        if isinstance(encoder, Encoder):
            self._require_features()

    def take_data(self, shape: Sequence[int], levels: float) -> None:
        """Take a module that is no :class:`Encoder` as one.

        Args:
            shape: Shape of one observation.
            levels: The data's largest intensity; data are divided by it.

        Raises:
            SpecError: The module does not take data of this shape, or gives another number of
                features than the family takes.
        """
        if not isinstance(self.encoder, Encoder):
            self.encoder = ModuleEncoder(self.encoder, shape, levels)
            self._require_features()

    def _require_features(self) -> None:
        if self.encoder.features != self.family.features:
            raise SpecError(
                f"the encoder gives {self.encoder.features} features and the guide's family takes "
                f"{self.family.features}: give both the same number"
            )

    @property
    def latent_dim(self) -> int:
        """Length of the latent."""
        return self.family.dims

    @property
    def formula(self) -> str:
        """The family in the notation of a paper, as shown before training."""
        return self.family.formula.replace("(h)", "(x)")

    def forward(self, x: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """q(z | x) for data ``(*batch, *shape)``: batch ``(*batch,)``, event ``(latent_dim,)``."""
        return self.family(self.encoder(x))

    def rename(self, weights: dict[str, Tensor], prefix: str = "") -> None:
        """Rename weights of older versions to their present names, in place.

        Before families were parts, their weights lay beside the encoder: ``loc.weight`` for
        ``family.loc.weight``.

        Args:
            weights: State dict of a module that holds this guide.
            prefix: Prefix of the guide's names in that module.
        """
        for name in self.family.state_dict():
            now, before = f"{prefix}family.{name}", f"{prefix}{name}"
            if before in weights and now not in weights:
                weights[now] = weights.pop(before)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Load weights, also of older versions; torch passes a copy that may be changed."""
        self.rename(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
