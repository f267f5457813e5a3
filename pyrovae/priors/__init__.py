"""Priors p(z)."""

from pyrovae.priors.abstract import Prior as Prior
from pyrovae.priors.hyperspherical import HypersphericalPrior as HypersphericalPrior
from pyrovae.priors.mixture import MixturePrior as MixturePrior
from pyrovae.priors.normal import NormalPrior as NormalPrior
from pyrovae.priors.vamp import VampPrior as VampPrior
