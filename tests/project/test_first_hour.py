"""The notebook for a first hour: it runs, and its outputs are small and whole."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "docs/first-hour.ipynb"
LARGEST = 300_000  # bytes


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FILE.read_text("utf-8"))["cells"]
    return found


def displayed(source: str, names: dict[str, Any]) -> Any:
    """Run a cell, and return the value of its last line if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, FILE.name, "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), FILE.name, "eval"), names)


def shown(value: Any) -> str | bytes:
    """What a notebook shows of a value: the first of its displays that is not None."""
    displays = (getattr(value, name, lambda: None) for name in ("_repr_html_", "_repr_png_"))
    found = [display() for display in displays]
    return next(each for each in found if each is not None)


def test_all_cells_run_in_order_and_show_something(cells: list[dict[str, Any]]) -> None:
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).replace('epochs": 60', 'epochs": 2')  # to be quick
            value = displayed(source, names)
            assert len(shown(value)) > 100, source
    assert names["history"][-1].epoch == 2


def test_the_outputs_are_of_one_run_without_errors_and_small(cells: list[dict[str, Any]]) -> None:
    assert FILE.stat().st_size < LARGEST
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert [output["output_type"] for output in cell["outputs"]] == ["execute_result"]


def test_links_lead_to_pages(cells: list[dict[str, Any]]) -> None:
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    pages = re.findall(r"\]\(([^)]+)\)", text)
    assert pages
    assert [page for page in pages if not (FILE.parent / page).is_file()] == []
