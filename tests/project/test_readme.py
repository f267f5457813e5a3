"""README.md tells the truth of today."""

from __future__ import annotations

import contextlib
import io
import re
from functools import partial
from pathlib import Path

import pytest
import torch

from pyrovae.diagnose import main as diagnose
from pyrovae.diagnosis.bound import Bound
from pyrovae.diagnosis.calibration import check_calibration
from pyrovae.train import main as train

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    p
    for folder in (".", "benchmarks", "benchmarks/speed", "docs", "models", "inference")
    for p in (ROOT / folder).glob("*.md")
]
PYTHON = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", README, flags=re.DOTALL)
PRINTED = re.findall(r"```text\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run of the first command, an epoch long, and all that the commands print of it."""
    folder = tmp_path_factory.mktemp("readme") / "runs/mine"
    said = io.StringIO()
    fewer = partial(check_calibration, simulations=100)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr("pyrovae.diagnosis.diagnosis.check_calibration", fewer)
        assert train(["--output", str(folder), "--set", "inference.epochs=1"]) == 0
        assert diagnose([str(folder), "--num", "60", "--draws", "100"]) == 0
    return said.getvalue()


@pytest.mark.usefixtures("fewer")
def test_the_python_examples_run_and_print_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example, printed in PYTHON:
        quick = re.sub(r"fit\((.*?)\)", r"fit(\1, pyrovae.InferenceSpec(epochs=3))", example)
        exec(quick, names)
        assert questions(capsys.readouterr().out) == questions(printed)
    assert (tmp_path / "manifold.png").stat().st_size > 10_000
    assert names["z"].shape == (360, 8)
    assert names["q"].mean.shape == (10, 8)
    assert "posterior" in names["idata"]


def questions(printed):
    """Verdicts without their grades, which depend on the fit."""
    return [line.rpartition(" ")[0] for line in printed.splitlines()]


def test_the_plan_and_the_results_are_printed_like_this(run):
    (shown,) = (text for text in PRINTED if "p(x | z)" in text)
    plan, results = shown.split("...\n")
    assert plan in run
    unknown = re.compile(r"-?\d+(\.\d+)?|runs/mine|/\S+")
    pattern = ".*?".join(re.escape(words) for words in unknown.sub("#", results).split("#"))
    assert re.search(pattern.replace(re.escape(", "), ".*?"), run, flags=re.DOTALL)


def test_a_verdict_is_printed_like_this(run):
    (shown,) = (" ".join(text.split()) for text in PRINTED if text.startswith("bound"))
    finding, advice = shown.split(" → ")
    pattern = ".*?".join(re.escape(part) for part in re.split(r"WARN|-?[0-9]+[.0-9]*", finding))
    assert re.search(pattern, " ".join(run.split()))
    gap = float(re.findall(r": ([0-9.]+) nats between", finding)[0])
    verdict = Bound(torch.zeros(5), torch.full((5,), gap), "").verdict()
    assert (verdict.grade, verdict.advice) == ("WARN", advice)


def test_a_mistake_is_one_sentence_like_this(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('[prior]\nkind = "vamp"\npseudo_input = 3\n')
    assert train(["mine.toml"]) == 2
    assert capsys.readouterr().err in PRINTED


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []
