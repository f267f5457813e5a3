"""Priors p(z)."""

from pyrovae.priors.abstract import Prior as Prior
from pyrovae.priors.flow import FlowPrior as FlowPrior
from pyrovae.priors.hyperspherical import HypersphericalPrior as HypersphericalPrior
from pyrovae.priors.laplace import LaplacePrior as LaplacePrior
from pyrovae.priors.location_scale import LocationScalePrior as LocationScalePrior
from pyrovae.priors.mixture import MixturePrior as MixturePrior
from pyrovae.priors.normal import NormalPrior as NormalPrior
from pyrovae.priors.student_t import StudentTPrior as StudentTPrior
from pyrovae.priors.vamp import VampPrior as VampPrior
