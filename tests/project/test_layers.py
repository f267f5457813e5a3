"""The layers of the package, held against its imports."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "docs/layers.py"


@pytest.fixture(scope="module")
def layers() -> ModuleType:
    """The script that has the table and draws it."""
    spec: Any = importlib.util.spec_from_file_location("layers", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_module_has_a_layer(layers: Any) -> None:
    assert {layers.layer(name) for name in layers.modules()} <= set(layers.FLOORS)


def test_each_layer_imports_only_from_those_above_it_in_the_table(layers: Any) -> None:
    assert layers.against(layers.imports()) == set()


def test_no_modules_import_each_other_in_a_circle(layers: Any) -> None:
    assert layers.circle(layers.imports()) == []


def test_what_is_against_the_table_is_found(layers: Any) -> None:
    graph = {"data.npz": {"parts.flows"}, "parts.flows": {"errors", "data.npz"}}
    assert layers.against(graph) == {("data.npz", "parts.flows")}
    assert set(layers.circle(graph)) == {"data.npz", "parts.flows"}
    aside = {"diagnosis.gap": {"exploration.sweep"}, "exploration.sweep": set()}
    assert layers.against(aside) == {("diagnosis.gap", "exploration.sweep")}


def test_the_picture_in_the_design_is_that_of_the_imports(layers: Any) -> None:
    page = layers.PAGE.read_text(encoding="utf-8")
    assert layers.PICTURE.findall(page) == [layers.picture(layers.imports())]
