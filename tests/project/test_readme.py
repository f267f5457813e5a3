"""README.md tells the truth of today."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from pyrovae.train import parser, request

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    p
    for folder in (".", "benchmarks", "benchmarks/speed", "docs", "models", "inference")
    for p in (ROOT / folder).glob("*.md")
]
COMMANDS = re.findall(r"^\$ python -m pyrovae\.train ?([^#\n]*)", README, flags=re.MULTILINE)
OTHERS = re.findall(
    r"^\$ python -m pyrovae\.(evaluate|diagnose|compare|explore) ([^#\n]*)",
    README,
    flags=re.MULTILINE,
)


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = "".join(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
    names: dict = {}
    exec(example, names)
    assert "posterior" in names["idata"]
    assert names["pixels"].shape == names["again"].shape == names["new"].shape == names["x"].shape


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--resume" not in c])
def test_every_command_is_one_that_the_program_understands(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = vars(parser().parse_args(shlex.split(command)))
    options.pop("dry_run", None)
    assert request(options).inference.epochs > 0


@pytest.mark.parametrize(("command", "arguments"), OTHERS)
def test_so_is_every_command_about_a_run(command, arguments):
    parser = importlib.import_module(f"pyrovae.{command}").parser()
    assert parser.parse_args(shlex.split(arguments))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []
