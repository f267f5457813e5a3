"""Approximate posteriors q(z | x)."""

from pyrovae.guides.abstract import Guide as Guide
from pyrovae.guides.delta import DeltaGuide as DeltaGuide
from pyrovae.guides.diagonal import DiagonalGuide as DiagonalGuide
from pyrovae.guides.flow import FlowGuide as FlowGuide
from pyrovae.guides.full_rank import FullRankGuide as FullRankGuide
from pyrovae.guides.iaf import IAFGuide as IAFGuide
from pyrovae.guides.laplace import LaplaceGuide as LaplaceGuide
from pyrovae.guides.low_rank import LowRankGuide as LowRankGuide
from pyrovae.guides.mixture import MixtureGuide as MixtureGuide
from pyrovae.guides.spline import SplineGuide as SplineGuide
from pyrovae.guides.von_mises_fisher import VonMisesFisherGuide as VonMisesFisherGuide
