"""Commands that pages show: all are understood, and those of the guides run on small data."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from matplotlib.figure import Figure

from pyrovae import Splits, refine, train
from pyrovae.__main__ import main
from pyrovae.data.arrays import from_arrays
from pyrovae.report.figures.checks import CaptionedFigure
from pyrovae.runs import options

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").replace("\\\n", " ")
    for folder in (".", "docs", "docs/decisions", "models", "inference")
    for path in sorted((ROOT / folder).glob("*.md"))
}
BLOCK = re.compile(r"^ *```(?:console|text)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINE = re.compile(r"^(?:\$ )?(?:python -m pyrovae\.|pyrovae )(\w+) ?([^#\n]*)", re.MULTILINE)
PROSE = re.compile(r"`(?:python -m pyrovae\.|pyrovae )(\w+) ([^`]+)`")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OPTIONS = {
    "evaluate": options.EvaluateOptions,
    "compare": options.CompareOptions,
    "diagnose": options.DiagnoseOptions,
    "explore": options.ExploreOptions,
    "encode": options.EncodeOptions,
    "reconstruct": options.ResultsOptions,
    "sample": options.SampleOptions,
    "sweep": options.SweepOptions,
}
# Words that stand for others; those of commands that take long, even on small data; and what is
# added to a command with some word, to save time.
STAND_INS = {"MODEL": "vae", "INFERENCE": "svi", "cuda": "cpu"}
NOT_RUN = {"RUN", "runs/...", "--full", "--ais", "ablation", "sweep", "debias", "outliers"}
SHORT = {
    "train": ["--set", "inference.epochs=1"],
    "refine": ["--set", "inference.epochs=1"],
    "compare": ["--num", "20", "--samples", "20"],
    "conv": ["--dry-run"],
    "--refine-steps": ["--refine-steps", "2"],
}
# Pages whose commands run, and whether their example in Python does.
GUIDES = {
    "docs/diagnostics.md": False,  # reads what --full has written
    "docs/explore.md": True,
    "docs/notebooks.md": True,
    "docs/programs.md": False,  # writes a file
    "docs/refine.md": True,
    "docs/scikit-learn.md": True,
}


class Shown(NamedTuple):
    """A command of a page: its name, its words, and whether it is in a block of commands."""

    name: str
    words: list[str]
    in_block: bool


def shown(page: str) -> Iterator[Shown]:
    """The commands of a page, with what stands for a model, an inference or a device."""
    text = PAGES[page]
    found = [(*each, True) for each in LINE.findall("".join(BLOCK.findall(text)))]
    found += [(*each, False) for each in PROSE.findall(BLOCK.sub("", text))]
    for name, words, in_block in found:
        yield Shown(name, [STAND_INS.get(w, w) for w in shlex.split(words)], in_block)


def named_runs(words: list[str]) -> list[str]:
    """The words with a run of its own for each that stands for one."""
    named = [f"runs/{i}" if w.strip("[") == "RUN" else w for i, w in enumerate(words)]
    return [word for word in named if word not in ("...]", "[...]")]


WITH_COMMANDS = [page for page in PAGES if list(shown(page))]


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_command_is_one_that_the_program_understands(page: str, shelf: Path) -> None:
    for name, words, _ in shown(page):
        if "model.prior.kind=logistic" in words:  # the prior that add-a-prior.md adds
            continue
        parser = importlib.import_module(f"pyrovae.{name}").parser()
        given = vars(parser.parse_args(named_runs(words)))
        if name == "refine":
            assert refine.request(given).minutes > 0
        elif name != "train":
            assert OPTIONS[name](**given)
        elif "resume" not in given:
            given.pop("dry_run", None)
            given.pop("output", None)
            assert train.request(given).inference.epochs > 0


@pytest.mark.usefixtures("fewer")
@pytest.mark.parametrize("page", GUIDES)
def test_the_commands_of_a_guide_run(page: str, shelf: Path, capsys: Any) -> None:
    for name, words, in_block in shown(page):
        if not in_block or NOT_RUN & {*words}:
            continue
        short = [each for word in (name, *words) for each in SHORT.get(word, ())]
        assert main([name, *words, *short]) == 0, (name, words, capsys.readouterr().err)
    if GUIDES[page]:
        (example,) = PYTHON.findall(PAGES[page])
        exec(re.sub(r"epochs(\W+)\d+", r"epochs\g<1>1", example), {})


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the files that pages name, and named data sets that are small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyrovae.specs.tracking._installed", lambda name: True)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for folder in ("code", "loaders"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 10
    grey = (rng.integers(0, 256, (600, 28, 28)) * (rng.random((600, 1, 1)) + 1) / 2).astype("u1")
    np.savez("digits.npz", x=grey, y=labels, y_known=labels < 5)
    np.savez("m2.npz", x=grey, y=labels, y_known=labels < 5)
    np.save("counts.npy", rng.integers(0, 17, (60, 8, 8)))
    np.savez("cancer.npz", x=rng.random((99, 30)), x_known=rng.random((99, 30)) > 0.5)
    Path("wells.toml").write_text('source = "counts.npy"')
    np.save("bits.npy", rng.integers(0, 2, (200, 20)).astype("u1"))
    (program,) = re.findall(
        r"^# cls\.py[^\n]*\n(.*?)^python", PAGES["docs/programs.md"], re.DOTALL | re.MULTILINE
    )
    for name in ("cls.py", "my_program.py"):
        Path(name).write_text(program, encoding="utf-8")
    (tmp_path / "models").symlink_to(ROOT / "models")
    here = "pyrovae.data.named"
    set_of_images = from_arrays(grey, labels, maximum=255.0)
    monkeypatch.setattr(f"{here}.read_image_set", lambda *_, **__: set_of_images)
    monkeypatch.setattr(f"{here}.read_dsprites", lambda *_, **__: sprites())
    quick(monkeypatch)
    return tmp_path


def sprites() -> Splits:
    """Bars of two lengths at two places, in place of dSprites."""
    factors = np.stack([np.arange(400) % 2, np.arange(400) // 2 % 2], 1)
    x = np.zeros((400, 64, 64), "u1")
    for image, (long, place) in zip(x, factors, strict=True):
        image[20 + 20 * place, : 10 + 40 * long] = 1
    return from_arrays(x, factors=factors, factor_names=("length", "place"), maximum=1.0)


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are one empty figure; comparisons and refinements take fewer simulations."""
    figure = Figure(figsize=(1, 1))
    figures = "pyrovae.report.figures"
    monkeypatch.setattr(f"{figures}.draw_figures", lambda *_: [])
    monkeypatch.setattr(f"{figures}.checks.picture", lambda *_: CaptionedFigure(figure, "One."))
    usual = ("traversals.traversals", "interpolations.interpolations", "completeness.samples")
    for name in ("extremes.extremes", *usual, "manifold.manifold"):
        monkeypatch.setattr(f"{figures}.{name}", lambda *_: figure)
    monkeypatch.setattr(f"{figures}.animation.write_gif", lambda *_: None)
    monkeypatch.setattr("pyrovae.runs.explore.PAGE_DPI", 20)
    monkeypatch.setattr("pyrovae.diagnosis.comparison.SIMULATIONS", 20)
    monkeypatch.setattr("pyrovae.diagnosis.agreement.SIMULATIONS", 100)
