"""What holds of every module's text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pyrovae

PACKAGE = Path(pyrovae.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# Where a device is chosen, where its random stream is kept, and what only one kind can do.
MAY_NAME_A_DEVICE = {
    "devices.py",
    "randomness.py",
    "loop.py",
    "fit.py",
    "precision.py",
}


MAY_BE_ASKED_FOR_ONE = {"train.py", "run.py", "command_line.py", "diagnose.py", "explore.py"}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The text of every module of the package, by its path."""
    return {str(path.relative_to(PACKAGE)): path.read_text("utf-8") for path in MODULES}


@pytest.fixture(scope="module")
def trees(texts: dict[str, str]) -> dict[str, ast.Module]:
    """The same, parsed."""
    return {path: ast.parse(text) for path, text in texts.items()}


def called(tree: ast.AST) -> list[ast.expr]:
    return [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_no_module_moves_anything_to_a_device_of_its_own_choice(
    trees: dict[str, ast.Module],
) -> None:
    moves = [
        path
        for path, tree in trees.items()
        for function in called(tree)
        if isinstance(function, ast.Attribute) and function.attr == "cuda"
    ]
    assert moves == []
    named = [
        f"{path}: {node.value}"
        for path, tree in trees.items()
        if Path(path).name not in MAY_NAME_A_DEVICE | MAY_BE_ASKED_FOR_ONE
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        if isinstance(node.value, str) and node.value.startswith("cuda")
    ]
    assert named == []


def test_only_the_display_prints(trees: dict[str, ast.Module]) -> None:
    printing = {
        path
        for path, tree in trees.items()
        for function in called(tree)
        if isinstance(function, ast.Name) and function.id == "print"
    }
    assert {Path(path).name for path in printing} == {"display.py"}, printing


def test_no_module_is_longer_than_a_person_reads_at_once(texts: dict[str, str]) -> None:
    lines = {path: len(text.splitlines()) for path, text in texts.items()}
    assert [f"{path}: {count} lines" for path, count in lines.items() if count > 400] == []


def test_library_code_never_clears_the_global_parameter_store(texts: dict[str, str]) -> None:
    assert [path for path, text in texts.items() if "clear_param_store" in text] == []


def test_nothing_is_unpickled_without_restraint(trees: dict[str, ast.Module]) -> None:
    loads = {
        f"{path}: {ast.unparse(node)}": {ast.unparse(keyword) for keyword in node.keywords}
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "pickle.load"}
    }
    assert [load for load, words in loads.items() if "weights_only=True" not in words] == []


def test_shapes_are_checked_wherever_they_are_written(
    texts: dict[str, str], pytestconfig: pytest.Config
) -> None:
    checked = pytestconfig.getini("addopts")
    (modules,) = (word.partition("=")[2] for word in checked if "jaxtyping" in word)
    written = [
        "pyrovae." + path.removesuffix(".py").replace("/", ".")
        for path, text in texts.items()
        if "jaxtyping" in text
    ]
    prefixes = tuple(modules.split(","))
    assert [name for name in written if not name.startswith(prefixes)] == []
