"""Files that people and their tools read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyrovae.weights import write_atomically


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file; numbers that are not finite become null, as JSON has no word for them."""
    text = json.dumps(known(content), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, text.encode())


def known(content: Any) -> Any:
    """The same with None for each number that is not finite.

    Example:
        >>> known({"khat": [0.5, float("inf")]})
        {'khat': [0.5, None]}
    """
    if isinstance(content, Mapping):
        return {key: known(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [known(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def file_name(name: str) -> str:
    """A name as that of a file.

    Example:
        >>> file_name("images.npz:train"), file_name("log p(x)")
        ('images.npz-train', 'log-p-x')
    """
    return re.sub(r"[^\w.-]+", "-", name).strip("-")
