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
    "experiment.py",
    "randomness.py",
    "training.py",
    "fitting.py",
    "precision.py",
}


@pytest.fixture(params=MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def module(request: pytest.FixtureRequest) -> Path:
    """Every module of the package."""
    return request.param


def called(tree: ast.AST) -> list[ast.expr]:
    return [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_no_module_moves_anything_to_a_device_of_its_own_choice(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    moves = [f for f in called(tree) if isinstance(f, ast.Attribute) and f.attr == "cuda"]
    assert moves == []
    if module.name not in MAY_NAME_A_DEVICE:
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        assert [t for t in texts if isinstance(t, str) and t.startswith("cuda")] == [] or (
            module.name
            in {
                "train.py",
                "run.py",
                "evaluate.py",
                "diagnose.py",
                "explore.py",
            }  # the option --device
        )


def test_only_the_console_prints(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    printing = [f for f in called(tree) if isinstance(f, ast.Name) and f.id == "print"]
    assert printing == [] or module.name == "console.py"


def test_no_module_is_longer_than_a_person_reads_at_once(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 400


def test_library_code_never_clears_the_global_parameter_store(module: Path) -> None:
    assert "clear_param_store" not in module.read_text(encoding="utf-8")


def test_nothing_is_unpickled_without_restraint(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    loads = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "pickle.load"}
    ]
    trusted = {"weights_only=True"}
    for node in loads:
        assert trusted & {ast.unparse(keyword) for keyword in node.keywords}
