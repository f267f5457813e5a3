"""Names of the tools that can track a training. Imports none of them."""

from __future__ import annotations

import importlib.util
import sys
from typing import Literal, get_args

from pyrovae.errors import SpecError, nearest

TrackerName = Literal["tensorboard", "mlflow", "wandb", "trackio"]
"""A tool, its package and its extra all have one name."""

TRACKERS: tuple[TrackerName, ...] = get_args(TrackerName)


def require_tracker(name: str, where: str) -> TrackerName:
    """The tool of a name, which is known and installed.

    Args:
        name: Its name.
        where: Where it is named, such as ``--track mlflow``.

    Raises:
        SpecError: It is not.
    """
    known: dict[str, TrackerName] = {each: each for each in TRACKERS}
    if name not in known:
        raise SpecError(f"{where}: there is no tracker '{name}'; {nearest(name, TRACKERS)}")
    if not _installed(name):
        raise SpecError(f"{where}: {name} is not installed: pip install {name}")
    return known[name]


def _installed(name: str) -> bool:
    """True if there is such a package; a folder of that name, in which a tool logs, is none."""
    if name in sys.modules:
        return sys.modules[name] is not None
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None
