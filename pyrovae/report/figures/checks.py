"""A picture for each check."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.figure import Figure

from pyrovae.diagnosis.aggregate import Aggregate
from pyrovae.diagnosis.calibration import Calibration
from pyrovae.diagnosis.classes import Classes
from pyrovae.diagnosis.collapse import Collapse
from pyrovae.diagnosis.convergence import Convergence
from pyrovae.diagnosis.diagnosis import Diagnosis
from pyrovae.diagnosis.gap import Gap
from pyrovae.diagnosis.mcmc import MCMC
from pyrovae.diagnosis.pareto import Weights
from pyrovae.diagnosis.predictive import Predictive
from pyrovae.diagnosis.sandwich import Sandwich
from pyrovae.evaluation.results import Check
from pyrovae.report.figures import (
    aggregate,
    calibration,
    chains,
    convergence,
    discrete_latents,
    gap,
    latent_dimensions,
    predictive,
    sandwich,
    weights,
)


class CaptionedFigure(NamedTuple):
    """A picture, and how to read it."""

    figure: Figure
    caption: str


def picture(check: Check, diagnosis: Diagnosis) -> CaptionedFigure | None:
    """Return the figure of a check's answer; the bound has none."""
    variables = check.variables()
    match check:
        case Convergence():
            return CaptionedFigure(convergence.convergence(check), convergence.CAPTION)
        case Weights():
            return CaptionedFigure(weights.weights(variables, check.threshold), weights.CAPTION)
        case Calibration():
            active = variables["active"].values if "active" in variables else None
            return CaptionedFigure(calibration.calibration(variables, active), calibration.CAPTION)
        case Collapse():
            return CaptionedFigure(
                latent_dimensions.latent_dimensions(variables), latent_dimensions.CAPTION
            )
        case Classes():
            return CaptionedFigure(
                discrete_latents.discrete_latents(check.latents), discrete_latents.CAPTION
            )
        case Aggregate():
            return CaptionedFigure(aggregate.aggregate(variables), aggregate.CAPTION)
        case Predictive():
            return CaptionedFigure(
                predictive.predictive(variables, check.names), predictive.CAPTION
            )
        case Sandwich():
            return CaptionedFigure(sandwich.sandwich(variables), sandwich.CAPTION)
        case Gap():
            return CaptionedFigure(gap.gap(variables), gap.CAPTION)
        case MCMC():
            guide = diagnosis.draws.z[:, : check.z.shape[2]].numpy()
            return CaptionedFigure(
                chains.chains(variables, check.z, guide, check.starts), chains.CAPTION
            )
        case _:
            return None
