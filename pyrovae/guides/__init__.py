"""Approximate posteriors q(z | x)."""

from pyrovae.guides.abstract import Guide as Guide
from pyrovae.guides.diagonal import DiagonalGuide as DiagonalGuide
from pyrovae.guides.full_rank import FullRankGuide as FullRankGuide
from pyrovae.guides.von_mises_fisher import VonMisesFisherGuide as VonMisesFisherGuide
