"""Keys of ``models/*.toml``: the generative model p(z) p(x | z)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pyrovae.specs.base import Latents, Spec
from pyrovae.specs.likelihoods import AutoLikelihoodSpec, LikelihoodSpec
from pyrovae.specs.networks import MLPSpec, NetworkSpec
from pyrovae.specs.priors import NormalPriorSpec, PriorSpec

Binarisation = Literal["none", "threshold", "dynamic", "static"]
OutputBias = Literal["random", "data_mean"]


class ModelSpec(Spec):
    """Specification of the generative model and of its data contract.

    The decoder's last bias starts at random, or where p(x | z) has the mean of the training data.
    """

    section: ClassVar[str] = "model"

    latent_dim: Latents = 8
    binarisation: Binarisation = "none"
    prior: PriorSpec = NormalPriorSpec()
    decoder: NetworkSpec = MLPSpec()
    output_bias: OutputBias = "random"
    likelihood: LikelihoodSpec = AutoLikelihoodSpec()
