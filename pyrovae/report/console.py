"""Terminal output."""

from __future__ import annotations

import math
import shlex
import shutil
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from pyrovae.diagnosis.comparison import Comparison
from pyrovae.diagnosis.ranks import span
from pyrovae.evaluation.importance import standard_error
from pyrovae.evaluation.metrics import BoundSummary
from pyrovae.evaluation.pointwise import Evaluation
from pyrovae.evaluation.results import Check, NotApplicable
from pyrovae.exploration.result import Result
from pyrovae.objectives.schedules import describe_beta
from pyrovae.parts.distributions.kl import Kind
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.vae import VAE
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.networks import EncoderSpec, MirrorSpec, NetworkSpec
from pyrovae.specs.own import OwnSpec
from pyrovae.training.fit_warnings import FitWarning, nats
from pyrovae.training.loop import Training

if TYPE_CHECKING:
    from pyrovae.diagnosis.agreement import Agreement

KL_KINDS: dict[Kind, str] = {
    "exact": "exact",
    "sampled": "sampled",
    "point": "-log p(z), as the guide is a point (the ELBO is then no bound)",
}


def plan(training: Training, writes_to: str) -> str:
    """Return the plan printed before training, a line for each part."""
    autoencoder, spec = training.autoencoder, training.spec
    formulas = autoencoder.formulas()
    encoder, decoder = _networks(autoencoder)
    stop = spec.early_stopping
    rows = {
        "p(z)": formulas.prior,
        "p(x | z)": formulas.likelihood + decoder,
        **_reason(autoencoder),
        "q(z | x)": formulas.guide + encoder,
        "objective": _objective(training),
        "β": describe_beta(spec.beta),
        "optimiser": f"{spec.optimiser.kind}, learning rate {spec.optimiser.learning_rate:g} "
        f"({spec.learning_rate_schedule.kind})",
        "budget": f"{spec.epochs} epochs of {training.budget.steps_per_epoch} steps, "
        f"{spec.batch_size} data each"
        + (f"; early stopping with patience {stop.patience}" if stop else ""),
        "data": training.splits.description,
        **_draws(spec),
        **_simulated(spec),
        **({"starts at": autoencoder.start} if autoencoder.start else {}),
        "parameters": _parameters(autoencoder),
        "device": _device(training),
        **_processes(training),
        "writes to": writes_to,
    }
    return "\n".join(f"{name:<11} {text}" for name, text in rows.items())


def result(training: Training, summary: BoundSummary, active: int, dims: int, folder: str) -> str:
    """Return the results on the test data, printed after training."""
    note = (
        ""
        if "point" not in summary.kl_kind.values()
        else ("            no bound: the guide is a point, and this is log p(x, z) there\n")
    )
    warnings = "".join(caution(warning) + "\n" for warning in training.warnings)
    kinds = [warning.kind for warning in training.warnings]
    collapsed = ": the posterior has collapsed" if "posterior_collapse" in kinds else ""
    error, over = f" ± {nats(summary.standard_error)}", f"standard error over {summary.count} data"
    if summary.count == 1:
        error, over = "", "a single one, so without a standard error"
    return (
        f"test ELBO   {nats(summary.elbo)}{error} nats per observation ({over})\n"
        f"            reconstruction {nats(summary.reconstruction)}, KL {nats(summary.kl)}\n"
        f"{note}"
        f"active      {active} of {dims} latent dimensions{collapsed}\n"
        f"weights     {_weights(training, folder)}\n"
        f"{warnings}run         {folder}"
    )


def agreement(when: str, found: Agreement) -> str:
    """Return the agreement of a guide with the posterior, on data from the model."""
    from pyrovae.diagnosis.calibration import INTERVAL  # and SciPy, which training does without

    amount, error = found.divergence
    text = f"on data from the model KL(p, q) + KL(q, p) is {amount:.2f} ± {error:.2f} nats"
    if found.coverage:
        covered = span(100 * np.array([*found.coverage.values()]), ".0f")
        text += f", and {INTERVAL} intervals cover {covered} %"
    return f"{when:<11} {text}" + ("" if found.calibrated else "; not calibrated")


def caution(warning: FitWarning) -> str:
    """Return a warning, and below it what to try."""
    return f"{_beside('warning', warning.finding)}\n{_beside('', f'→ {warning.advice}')}"


def how_to_resume(training: Training, folder: str) -> str:
    """The line to type after an interruption."""
    return interrupted(folder, f" after step {training.step} of {training.budget.steps}")


def interrupted(folder: str, when: str = "") -> str:
    """The line to type after an interruption, of the steps or of what comes after them."""
    return (
        f"interrupted{when}; go on with\n  python -m pyrovae.train --resume {shlex.quote(folder)}"
    )


def lost(error: str, folder: str) -> str:
    """The error about a lost process, and how the run goes on."""
    return f"{error}; go on from the last epoch with --resume {shlex.quote(folder)}"


def shapes(autoencoder: Autoencoder) -> str:
    """Every parameter with its shape."""
    rows = autoencoder.named_parameters()
    return "\n".join(f"{name:<40} {tuple(parameter.shape)}" for name, parameter in rows)


def kl_kinds(training: Training) -> dict[str, Kind]:
    """Return, for each latent site, whether its reported KL is exact or sampled."""
    return training.tally.layout.kl_kind


def _processes(training: Training) -> dict[str, str]:
    """The line of the plan about several processes."""
    processes = training.processes
    if processes.alone:
        return {}
    compares = (
        "; the objective compares the observations of a share, not those of the whole batch"
        if training.objective.compares
        else ""
    )
    return {"processes": f"{processes.size}, each with its share of every batch{compares}"}


def _device(training: Training) -> str:
    precision = training.computation.precision
    return f"{training.device}" + ("" if precision == "float32" else f", networks in {precision}")


def _objective(training: Training) -> str:
    particles = training.spec.objective.particles
    reported = ", ".join(
        f"{KL_KINDS[kind]} at {site}" for site, kind in kl_kinds(training).items()
    )
    return (
        f"{training.objective.title}, {particles} particle{'s' if particles > 1 else ''}; "
        f"reported KL {reported}"
    )


def _draws(spec: InferenceSpec) -> dict[str, str]:
    resampling = spec.resampling
    if resampling is None:
        return {}
    what = "each latent dimension" if resampling.kind == "histogram" else "the whole latent"
    loss = ", losses weighted by 1 / (n p)" if resampling.importance_weights else ""
    return {
        "draws": f"with replacement, p as 1 / (density + {resampling.alpha:g}), the density that "
        f"of {what} among all data, anew in each epoch{loss}; the reported training ELBO is "
        "weighted back to the data"
    }


def _simulated(spec: InferenceSpec) -> dict[str, str]:
    """Data of the model on which the guide is fitted, and whether the model is."""
    drawn = spec.simulated
    rows = {"model": "stays as it is"} if spec.frozen == "model" else {}
    if drawn is None:
        return rows
    loss = "-log q(z | x)" if drawn.loss == "forward_kl" else "the objective"
    share = f"{100 * drawn.share:g} % of the guide's gradient from data of the model"
    return {**rows, "simulated": f"{share}, whose loss is {loss}"}


def _reason(autoencoder: Autoencoder) -> dict[str, str]:
    """Reason for the likelihood, where the data have chosen it."""
    reason = autoencoder.likelihood_reason if isinstance(autoencoder, VAE) else ""
    return {"": f"chosen since {reason}: model.likelihood.kind"} if reason else {}


def _weights(training: Training, folder: str) -> str:
    """Name the weights that are kept, and the others, where the two differ."""
    best, kept = training.best, training.kept
    if kept.which == "best":
        later = "" if kept.epoch == training.epoch else f"; epoch {training.epoch} had "
        return f"best, of epoch {kept.epoch}, validation ELBO {nats(kept.elbo)}" + (
            later and f"{later}{nats(training.elbo)}"
        )
    if best.epoch in (0, training.epoch):
        return f"last, of epoch {kept.epoch}, validation ELBO {nats(kept.elbo)}"
    return (
        f"last, of epoch {kept.epoch}, validation ELBO {nats(kept.elbo)}; epoch {best.epoch} had "
        f"{nats(best.elbo)}, in {folder}/best.safetensors"
    )


def _networks(autoencoder: Autoencoder) -> tuple[str, str]:
    declaration = autoencoder.declaration
    if declaration is None:
        return "", ""
    model: ModelSpec = declaration.model
    return (
        f"; encoder {_network(declaration.inference.guide.encoder)}",
        f"; decoder {_network(model.decoder)}, {model.latent_dim} latent dimensions",
    )


def _network(spec: EncoderSpec | NetworkSpec) -> str:
    if isinstance(spec, MirrorSpec | OwnSpec):
        return spec.kind
    if not spec.widths:
        return "linear"
    return f"{spec.kind} {'-'.join(map(str, spec.widths))} ({spec.activation})"


def _parameters(module: nn.Module) -> str:
    counts: dict[str, int] = {}
    for name, parameter in module.named_parameters():
        part = name.partition(".")[0]
        counts[part] = counts.get(part, 0) + parameter.numel()
    parts = ", ".join(f"{part} {count:,}" for part, count in counts.items())
    return f"{sum(counts.values()):,} ({parts})"


def evaluation(folder: str, data: str, found: Evaluation, bits: Tensor | None) -> str:
    """Return the evaluation of a run, a line for each quantity."""
    count = len(found.elbo)
    parts = f"reconstruction {found.reconstruction.mean():.2f}"
    if found.point:
        rows = [("log p(x, z)", found.elbo, f"{parts}, log p(z) {-found.kl.mean():.2f}; at the "
                 "guide's point, no bound on log p(x)")]  # fmt: skip
    else:
        kl = f"KL {found.kl.mean():.2f} ({found.kl_kind})"
        mean = found.effective_samples.mean()
        worth = f"effective sample size {mean:.0f} of {found.samples} on average"
        rows = [
            ("ELBO", found.elbo, f"{parts}, {kl}"),
            ("log p(x)", found.log_prob, f"by importance sampling, {worth}"),
        ]
    if found.annealed is not None and found.annealed_error is not None:
        noise = f"each ± {found.annealed_error.mean():.2f}"
        rows.append(("log p(x)", found.annealed, f"by annealing, {noise}"))
    if bits is not None:
        rows.append(("bits/dim", bits, "of log p(x), in bits per dimension"))
    lines = [f"{name:<11} {_mean(values):<18} {text}" for name, values, text in rows]
    if found.gain is not None:
        lines.append(_beside("refined", str(found.gain)))
    if found.point and found.annealed is None:
        lines.append("log p(x)    not known: the guide is a point, with nothing to sample from; "
                     "--ais anneals from the prior")  # fmt: skip
    title = f"{folder} on {count:,} test data of {data}, in nats per observation ± standard error"
    return "\n".join([title, *lines])


def comparison(found: Comparison, data: str) -> str:
    """Return the comparison of runs on the same data, best first, and its conclusions."""
    count = found.log_prob.shape[-1]
    width = max(len("run"), *map(len, found.names))
    samples = found.evaluations[0].samples
    how = "annealing" if found.ais else f"importance sampling, {samples} latents"
    header = ("log p(x)", 18), ("to the best", 16), ("stacking weight", 15), ("bound gap", 15)
    titles = "".join(f"  {title:>{size}}" for title, size in header)
    lines = [
        f"log p(x) of {count:,} test data of {data} by {how}; nats per observation ± standard "
        "error",
        f"{'run':<{width}}{titles}" + ("" if found.ais else "  last rise"),
    ]
    for model, name in enumerate(found.names):
        difference = _plus_minus(found.difference[model], found.difference_error[model])
        gap = _plus_minus(found.mean_gap[model], found.gap_error[model])
        lines.append(
            f"{name:<{width}}  {_plus_minus(found.mean[model], found.error[model]):>18}"
            f"  {difference if model else '':>16}  {found.weights[model]:>15.2f}"
            f"  {'not known' if found.mean_gap[model].isnan() else gap:>15}"
            + ("" if found.ais else f"  {found.rise[model]:>9.2f}")
        )
    lines += [
        "stacking weight: share of the run in the mixture of all runs that predicts the data best",
        "bound gap: the most by which log p(x) is too low, on data simulated from the run",
    ]
    if not found.ais:
        lines.append("last rise: of log p(x), from half as many latents to all")
    return "\n".join([*lines, "", *found.verdicts()])


def written(notes: Sequence[str], files: str) -> str:
    """Return the last lines of a command's output: remarks, and the path of the results."""
    return "\n".join([*(f"note        {note}" for note in notes), f"written to  {files}"])


def duration(seconds: float) -> str:
    """A duration; empty if it is not known.

    Example:
        >>> [duration(seconds) for seconds in (0.4, 42.0, 400.0, 9000.0)]
        ['0.4 s', '42 s', '7 min', '2.5 h']
    """
    if math.isnan(seconds):
        return ""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _mean(values: Tensor) -> str:
    return _plus_minus(values.mean(), standard_error(values))


def _plus_minus(value: Tensor, error: Tensor) -> str:
    # Bits per dimension are small numbers.
    digits = 2 if value.abs() >= 10 or error > 0.01 else 4
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def outcome(found: Check | NotApplicable, reworded: Callable[[str], str] = str) -> str:
    """Return a question with its grade and finding, and below it the advice, reworded."""
    if isinstance(found, NotApplicable):
        return _wrapped(found.question, "-", f"does not apply: {found.why}")
    grade, finding, advice = found.verdict()
    lines = _wrapped(found.question, grade, finding)
    return f"{lines}\n{_wrapped('', '', f'→ {reworded(advice)}')}" if advice else lines


def analysis(found: Result) -> str:
    """Return the title of an analysis and its summary."""
    return _wrapped(found.name, "", found.summary())


def _wrapped(question: str, grade: str, text: str) -> str:
    """Text beside its heading, in lines that fit the terminal."""
    return _beside(f"{question:<22}{grade:<6}", text)


def _beside(head: str, text: str) -> str:
    head = f"{head:<12}"
    width = max(60, shutil.get_terminal_size().columns)
    return textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head))
