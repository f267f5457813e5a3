"""Objectives: bounds and penalties, as subclasses of Pyro's ``ELBO``."""

from pyrovae.objectives.abstract import LatentScale as LatentScale
from pyrovae.objectives.abstract import Objective as Objective
from pyrovae.objectives.building import build_objective as build_objective
from pyrovae.objectives.capacity import CapacityELBO as CapacityELBO
from pyrovae.objectives.elbo import AnalyticELBO as AnalyticELBO
from pyrovae.objectives.elbo import SampledELBO as SampledELBO
from pyrovae.objectives.enumerated import EnumeratedELBO as EnumeratedELBO
from pyrovae.objectives.free_bits import FreeBitsELBO as FreeBitsELBO
from pyrovae.objectives.mmd import MMDObjective as MMDObjective
from pyrovae.objectives.renyi import RenyiBound as RenyiBound
from pyrovae.objectives.total_correlation import TotalCorrelationELBO as TotalCorrelationELBO
