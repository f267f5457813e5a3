"""The layers of the package, its imports, and the picture of both in design.md.

``python docs/layers.py`` draws the picture anew.
"""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pyrovae"
PAGE = ROOT / "docs/design.md"
PICTURE = re.compile(r"```mermaid\n.*?```", re.DOTALL)

# Each imports from itself and from those above it in this table; two on a line, not one another.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "notebook", "version"),
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
    ("figures", "sklearn"),
    (
        "__init__",
        "__main__",
        "train",
        "sweep",
        "evaluate",
        "compare",
        "diagnose",
        "refine",
        "explore",
        "encode",
        "sample",
        "reconstruct",
    ),
)
FLOORS = {name: floor for floor, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    """Every module's file, by its name within the package."""
    return {
        ".".join(file.relative_to(PACKAGE).with_suffix("").parts): file
        for file in sorted(PACKAGE.rglob("*.py"))
    }


def imports() -> dict[str, set[str]]:
    """The modules that each module imports: at once, later, or for a type checker."""
    files = modules()
    trees = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in files.items()}
    return {
        name: {target for node in ast.walk(tree) for target in _targets(node, set(files))}
        for name, tree in trees.items()
    }


def layer(module: str) -> str:
    """The folder that a module is in, or its own name at the top of the package."""
    return module.split(".")[0]


def against(graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Imports that the table of layers forbids."""
    return {
        (importer, imported)
        for importer, all_imported in graph.items()
        for imported in all_imported
        if layer(importer) != layer(imported)
        and FLOORS[layer(importer)] <= FLOORS[layer(imported)]
    }


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first again at the end; or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def picture(graph: dict[str, set[str]]) -> str:
    """The layers as a Mermaid graph: an arrow says "uses".

    What a layer also uses by way of another has no arrow, and the commands are one box.
    """
    uses: dict[str, set[str]] = {}
    for importer, all_imported in graph.items():
        here = _box(importer)
        uses.setdefault(here, set()).update(map(_box, all_imported))
    boxes = sorted(uses, key=lambda box: -FLOORS.get(box, len(LAYERS)))
    below = {box: _below(box, uses) for box in boxes}
    arrows = [
        f"    {box} --> {used}"
        for box in boxes
        for used in sorted(uses[box] - {box})
        if not any(used in below[other] for other in uses[box] - {box, used})
    ]
    return "\n".join(["```mermaid", "graph TD", *arrows, "```"])


def _box(module: str) -> str:
    folder = layer(module)
    return "commands" if folder in LAYERS[-1] else folder


def _below(box: str, uses: dict[str, set[str]]) -> set[str]:
    """All that a layer uses, also by way of others."""
    direct = uses[box] - {box}
    return direct.union(*(_below(other, uses) for other in direct))


def _targets(node: ast.AST, known: set[str]) -> set[str]:
    """The modules of the package that a statement imports."""
    if isinstance(node, ast.Import):
        named = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        named = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return set()
    own = [name for name in named if name.split(".")[0] == PACKAGE.name]
    return {_resolved(name.partition(".")[2], known) for name in own}


def _resolved(name: str, known: set[str]) -> str:
    """The module that holds a name, which may be a module or a folder itself."""
    while name and name not in known:
        if f"{name}.__init__" in known:
            return f"{name}.__init__"
        name = name.rpartition(".")[0]
    return name or "__init__"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(PICTURE.sub(lambda _: picture(imports()), text), encoding="utf-8")
