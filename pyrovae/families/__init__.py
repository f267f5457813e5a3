"""Conditional distributions of a latent: q(z | x), p(z₁ | z₂), p(z | y), p(z_t | z_{t-1})."""

from pyrovae.families.abstract import Family as Family
from pyrovae.families.abstract import Head as Head
from pyrovae.families.delta import DeltaFamily as DeltaFamily
from pyrovae.families.diagonal import DiagonalNormal as DiagonalNormal
from pyrovae.families.flow import FlowFamily as FlowFamily
from pyrovae.families.full_rank import FullRankNormal as FullRankNormal
from pyrovae.families.iaf import InverseAutoregressiveFlow as InverseAutoregressiveFlow
from pyrovae.families.laplace import LaplaceFamily as LaplaceFamily
from pyrovae.families.low_rank import LowRankNormal as LowRankNormal
from pyrovae.families.mixture import MixtureFamily as MixtureFamily
from pyrovae.families.spline import SplineFlow as SplineFlow
from pyrovae.families.von_mises_fisher import VonMisesFisherFamily as VonMisesFisherFamily
