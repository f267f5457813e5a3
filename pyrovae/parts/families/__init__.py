"""Conditional distributions of a latent: q(z | x), p(z₁ | z₂), p(z | y), p(z_t | z_{t-1})."""

from pyrovae.parts.families.abstract import Family as Family
from pyrovae.parts.families.abstract import Head as Head
from pyrovae.parts.families.delta import DeltaFamily as DeltaFamily
from pyrovae.parts.families.diagonal import DiagonalNormal as DiagonalNormal
from pyrovae.parts.families.flow import FlowFamily as FlowFamily
from pyrovae.parts.families.full_rank import FullRankNormal as FullRankNormal
from pyrovae.parts.families.iaf import InverseAutoregressiveFlow as InverseAutoregressiveFlow
from pyrovae.parts.families.laplace import LaplaceFamily as LaplaceFamily
from pyrovae.parts.families.low_rank import LowRankNormal as LowRankNormal
from pyrovae.parts.families.mixture import MixtureFamily as MixtureFamily
from pyrovae.parts.families.spline import SplineFlow as SplineFlow
from pyrovae.parts.families.von_mises_fisher import VonMisesFisherFamily as VonMisesFisherFamily
