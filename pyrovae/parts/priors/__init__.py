"""Priors p(z)."""

from pyrovae.parts.priors.abstract import Prior as Prior
from pyrovae.parts.priors.flow import FlowPrior as FlowPrior
from pyrovae.parts.priors.hyperspherical import HypersphericalPrior as HypersphericalPrior
from pyrovae.parts.priors.laplace import LaplacePrior as LaplacePrior
from pyrovae.parts.priors.location_scale import LocationScalePrior as LocationScalePrior
from pyrovae.parts.priors.mixture import MixturePrior as MixturePrior
from pyrovae.parts.priors.normal import NormalPrior as NormalPrior
from pyrovae.parts.priors.student_t import StudentTPrior as StudentTPrior
from pyrovae.parts.priors.vamp import VampPrior as VampPrior
