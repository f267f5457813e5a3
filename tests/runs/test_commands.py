"""``pyrovae COMMAND``: all commands under one name."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

import pyrovae
from pyrovae.__main__ import COMMANDS, main

ROOT = Path(pyrovae.__file__).parents[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_the_module_of_its_name(command_of: Any, name: str) -> None:
    module = importlib.import_module(f"pyrovae.{name}")
    for words in (["--help"], ["--no-such-option"]):
        assert command_of(main)(name, *words) == command_of(module.main)(*words)


def test_every_command_is_listed(command_of: Any) -> None:
    """A module at the top that can be run is a command."""
    modules = Path(pyrovae.__file__).parent.glob("*.py")
    runnable = {m.stem for m in modules if "def parser()" in m.read_text("utf-8")}
    assert runnable == set(COMMANDS)
    alone, asked = command_of(main)(), command_of(main)("--help")
    assert alone == asked
    assert alone.status == 0
    listed = [line.split()[0] for line in alone.out.splitlines() if line.startswith("  ")]
    assert listed == list(COMMANDS)


def test_a_misspelt_command_is_answered_with_the_one_meant(
    refused_by: Any, command_of: Any
) -> None:
    refused_by(command_of(main))("trian", words=("'trian'", "did you mean 'train'"))


def test_the_version_is_that_of_the_package(command_of: Any) -> None:
    assert command_of(main)("--version").out == f"pyrovae {pyrovae.__version__}\n"


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs the checkout")
def test_it_is_installed_as_a_script() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["pyrovae"].partition(":")
    assert getattr(importlib.import_module(module), function) is main
