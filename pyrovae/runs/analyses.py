"""Analyses of a run's latent space: each calls its module and draws the result."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.data import Splits
from pyrovae.data.class_imbalance import thin
from pyrovae.data.examples import evenly, pairs_of_data
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.semi_amortised import require_possible
from pyrovae.exploration import ablation, debiasing, sweep
from pyrovae.exploration.completeness import sample_both
from pyrovae.exploration.debiasing import require_classes
from pyrovae.exploration.disentanglement.all_latents import all_codes, known_factors
from pyrovae.exploration.disentanglement.mig import mig
from pyrovae.exploration.factors import disentangle
from pyrovae.exploration.interpolation import interpolate
from pyrovae.exploration.manifold import manifold
from pyrovae.exploration.outliers import score_outliers
from pyrovae.exploration.result import Result
from pyrovae.exploration.traversal import traverse
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.report.display import Display
from pyrovae.report.figures.checks import CaptionedFigure
from pyrovae.runs.atomic_files import file_name
from pyrovae.runs.loading import Observations, Run, other_data
from pyrovae.runs.options import ExploreOptions
from pyrovae.runs.refits import refit, require_same_guide
from pyrovae.specs import InferenceSpec
from pyrovae.specs.local_inference import LocalInference

Key = TypeVar("Key", bound=Hashable)

FEW = 500
"""Test data that are looked at, unless another number is asked for."""


@dataclass(frozen=True)
class AnalysisContext:
    """Input and options of an analysis.

    Attributes:
        run: The run.
        observed: Test data.
        options: Options of the exploration.
        folder: Output folder.
        display: Display of the refits' training.
        processes: The processes that share it, if they can.
    """

    run: Run
    observed: Observations
    options: ExploreOptions
    folder: Path
    display: Display
    processes: Processes = ALONE

    @property
    def inference(self) -> InferenceSpec:
        """The inference that refits share, before their differences."""
        epochs = self.options.epochs or self.run.inference.epochs
        return self.run.inference.model_copy(update={"epochs": epochs})

    @property
    def progress(self) -> bool:
        """True if a progress bar is to be shown."""
        return self.display.bars

    def refits(
        self, name: str, variants: Mapping[Key, InferenceSpec], data: Splits | None = None
    ) -> dict[Key, Autoencoder]:
        """Fit the run's model under each inference, in ``FOLDER/NAME/``."""
        return {
            key: refit(self.run, spec, self.folder / name / _folder_name(key), self.display, data)
            for key, spec in variants.items()
        }


class Animation(NamedTuple):
    """An animation, as a file in the folder."""

    file: str
    caption: str
    alt: str


class Analysis(NamedTuple):
    """Result of an analysis, and its figures; the first is the principal one."""

    finding: Result
    drawn: Sequence[CaptionedFigure]
    animations: Sequence[Animation] = ()


def _traversals(asked: AnalysisContext) -> Analysis:
    from pyrovae.report.figures import traversals as figure
    from pyrovae.report.figures.animation import write_gif

    test = asked.run.data.test
    found = traverse(asked.run.autoencoder, asked.observed.batch, datum=asked.options.datum)
    file = write_gif(found, test, asked.folder / "traversals.gif")
    moving = [] if file is None else [Animation(file.name, "The same, in motion.", found.title)]
    return Analysis(
        found, [CaptionedFigure(figure.traversals(found, test), figure.caption(test))], moving
    )


def _interpolations(asked: AnalysisContext) -> Analysis:
    from pyrovae.report.figures import interpolations as figure

    test = asked.run.data.test
    ends = pairs_of_data(test, 6).flatten()
    found = interpolate(asked.run.autoencoder, observations(test, ends).to(asked.run.device))
    return Analysis(found, [CaptionedFigure(figure.interpolations(found, test), figure.CAPTION)])


def _samples(asked: AnalysisContext) -> Analysis:
    from pyrovae.report.figures import completeness as figure

    train = asked.run.data.train
    batch = observations(train, evenly(train, min(len(train), ablation.MOST_DATA))).to(
        asked.run.device
    )
    found = sample_both(asked.run.autoencoder, batch)
    return Analysis(
        found, [CaptionedFigure(figure.samples(found, asked.run.data.test), figure.CAPTION)]
    )


def _manifold(asked: AnalysisContext) -> Analysis:
    from pyrovae.report.figures import manifold as figure

    test = asked.run.data.test
    found = manifold(asked.run.autoencoder, asked.observed.batch)
    return Analysis(found, [CaptionedFigure(figure.manifold(found, test), figure.caption(test))])


def _factors(asked: AnalysisContext) -> Analysis:
    from pyrovae.report.figures import factors as figure

    found = disentangle(
        asked.run.autoencoder,
        asked.run.data,
        progress=asked.progress,
        processes=asked.processes,
    )
    return Analysis(
        found, [CaptionedFigure(figure.factors(found, asked.run.data.test), figure.CAPTION)]
    )


def _outliers(asked: AnalysisContext) -> Analysis:
    from pyrovae.report.figures import outliers as figure

    run, options = asked.run, asked.options
    other = other_data(run, str(options.against), options.data_root)
    index = torch.arange(len(other.test))[: options.num or FEW]
    found = score_outliers(
        run.autoencoder,
        run.data.train,
        asked.observed.batch,
        observations(other.test, index).to(run.device),
        names=(run.data.name, other.name),
        samples=options.samples,
        refine_steps=options.refine_steps,
        progress=asked.progress,
    )
    return Analysis(found, figure.outliers(found, run.data.test))


def _require_refinable(asked: AnalysisContext) -> None:
    wanted = LocalInference(refine_steps=asked.options.refine_steps)
    require_possible(asked.run.autoencoder, asked.observed.batch, wanted)


def _ablation(asked: AnalysisContext) -> Analysis:
    from pyrovae.report.figures import ablation as figure

    variants = _variants_of_ablation(asked)
    found = ablation.ablate(asked.refits("ablation", variants), asked.run.data)
    return Analysis(
        found, [CaptionedFigure(figure.ablation(found, asked.run.data.test), figure.CAPTION)]
    )


def _variants_of_ablation(asked: AnalysisContext) -> dict[str, InferenceSpec]:
    variants = ablation.variants(asked.inference, asked.options.betas or ablation.BETAS)
    for spec in variants.values():
        require_same_guide(asked.run, spec)
    return variants


def _sweep(asked: AnalysisContext) -> Analysis:
    from pyrovae.report.figures import sweep as figure

    data = asked.run.data
    models = asked.refits("sweep", _variants_of_sweep(asked))
    gaps = None
    if data.train.factors is not None:
        gaps = {beta: _mig(model, asked) for beta, model in models.items()}
    found = sweep.sweep(models, data, gaps)
    return Analysis(found, [CaptionedFigure(figure.sweep(found, data.test), figure.CAPTION)])


def _variants_of_sweep(asked: AnalysisContext) -> dict[float, InferenceSpec]:
    return sweep.variants(asked.inference, asked.options.betas or sweep.BETAS)


def _mig(autoencoder: Autoencoder, asked: AnalysisContext) -> float:
    found = all_codes(autoencoder, asked.run.data, progress=asked.progress)
    return mig(found.codes, found.factors).score


def _debias(asked: AnalysisContext) -> Analysis:
    from pyrovae.report.figures import debiasing as figure

    options, data = asked.options, _debiased_data(asked)
    variants = debiasing.variants(asked.inference)
    models = asked.refits("debias", variants, None if data is asked.run.data else data)
    off, on = models["off"], models["on"]
    found = debiasing.debias(
        off,
        on,
        data,
        options.rare,
        resampling=variants["on"].resampling,
        samples=options.samples,
    )
    return Analysis(found, [CaptionedFigure(figure.debiasing(found, data.train), figure.CAPTION)])


def _debiased_data(asked: AnalysisContext) -> Splits:
    """The run's data, of which rare classes are thinned if that is asked for."""
    data, options = asked.run.data, asked.options
    require_classes(data, options.rare)
    return data if options.keep is None else thin(data, options.rare, options.keep)


def _folder_name(key: Hashable) -> str:
    """Folder name of a refit: its name, or its β."""
    name = f"β = {key:g}" if isinstance(key, float) else str(key)
    return file_name(name.replace("β = ", "beta-"))


ANALYSES: dict[str, Callable[[AnalysisContext], Analysis]] = {
    "traversals": _traversals,
    "interpolations": _interpolations,
    "samples": _samples,
    "manifold": _manifold,
    "factors": _factors,
    "outliers": _outliers,
    "ablation": _ablation,
    "sweep": _sweep,
    "debias": _debias,
}
"""By the word on the command line, in the order of the page."""

CHECKS: dict[str, Callable[[AnalysisContext], object]] = {
    "outliers": _require_refinable,
    "factors": lambda asked: known_factors(asked.run.data.train),
    "ablation": _variants_of_ablation,
    "sweep": _variants_of_sweep,
    "debias": _debiased_data,
}
"""Refusals that cost nothing, before any analysis begins, of those that take long."""
