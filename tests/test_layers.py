"""The layers of the package, held against its imports."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pyrovae

PACKAGE = Path(pyrovae.__file__).parent

# Each imports from itself and from those above it in this table; two on a line, not one another.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "version"),
    ("specs",),
    ("compute",),
    ("data",),
    ("parts",),
    ("programs",),
    ("objectives",),
    ("evaluation",),
    ("training",),
    ("diagnosis", "exploration"),
    ("report",),
    ("runs",),
    ("__init__", "train", "evaluate", "compare", "diagnose", "explore"),
)
FLOORS = {name: floor for floor, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    """Every module's file by its name within the package."""
    return {
        ".".join(file.relative_to(PACKAGE).with_suffix("").parts): file
        for file in sorted(PACKAGE.rglob("*.py"))
    }


def imports() -> dict[str, set[str]]:
    """The modules that each module imports: at once, later, or for a type checker."""
    files = modules()
    found = {}
    for name, file in files.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found[name] = {target for node in ast.walk(tree) for target in targets(node, set(files))}
    return found


def targets(node: ast.AST, known: set[str]) -> set[str]:
    """The modules of the package that a statement imports."""
    if isinstance(node, ast.Import):
        named = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        named = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return set()
    own = [f"{name}.".removeprefix("pyrovae.").rstrip(".") for name in named if is_own(name)]
    return {resolved(name, known) for name in own}


def is_own(name: str) -> bool:
    return name.split(".")[0] == "pyrovae"


def resolved(name: str, known: set[str]) -> str:
    """The module that holds a name, which may be a module itself."""
    while name and name not in known:
        face = f"{name}.__init__"
        if face in known:
            return face
        name = name.rpartition(".")[0]
    return name or "__init__"


def layer(module: str) -> str:
    return module.split(".")[0]


def test_every_module_has_a_layer() -> None:
    assert {layer(name) for name in modules()} <= set(FLOORS)


def test_each_layer_imports_only_from_those_above_it_in_the_table() -> None:
    against = {
        (importer, imported)
        for importer, all_imported in imports().items()
        for imported in all_imported
        if layer(importer) != layer(imported)
        and FLOORS[layer(importer)] <= FLOORS[layer(imported)]
    }
    assert against == set()


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first again at the end; or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(imports()) == []
