"""Facts about the values of a large file, found once and kept beside it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Fact = TypeVar("Fact")


class KeptFacts:
    """Facts about some values in a file, as long as it has the date and size of now.

    They are in a hidden file in its folder, which may be removed; where that cannot be written,
    they are found anew each time.

    Args:
        path: The file.
        which: The values among those of the file.
    """

    def __init__(self, path: Path, which: str) -> None:
        self._which = which
        self._kept = path.with_name(f".{path.name}.facts.json")
        self._state: list[int] | None = None
        with contextlib.suppress(OSError):  # of a file that is removed, but still open
            state = path.stat()
            self._state = [state.st_mtime_ns, state.st_size]

    def get(self, name: str, find: Callable[[], Fact]) -> Fact:
        """A fact, which is found if it is not kept.

        Args:
            name: Its name among the facts about these values.
            find: Finds it, as a value that JSON holds without loss.
        """
        key = f"{name} of {self._which}"
        kept = self._read()
        if key in kept:
            found: Fact = kept[key]
            return found
        found = find()
        self._write({**self._read(), key: found})
        return found

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._kept.read_text(encoding="utf-8"))
            return dict(content["facts"]) if content["state"] == self._state else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write(self, facts: dict[str, Any]) -> None:
        if self._state is None:
            return
        text = json.dumps({"state": self._state, "facts": facts})
        partial = self._kept.with_suffix(f".{os.getpid()}.part")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(self._kept)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
