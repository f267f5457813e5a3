"""Check sums of the files of a run's folder, in ``manifest.json``. Imports no torch.

Before a file is replaced, the manifest lists the new check sum beside the old one. So a run that
is killed at any moment leaves files that are listed, and any other content is damage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pyrovae.errors import CheckpointError
from pyrovae.runs.atomic_files import write_atomically
from pyrovae.runs.facts import (
    ARGUMENTS,
    BEST,
    CHECKPOINT,
    FACTS,
    INFERENCE,
    LAST,
    MANIFEST,
    METRICS,
    MODEL,
    PROGRAM,
    WEIGHTS,
)

FILES = (
    FACTS, MODEL, PROGRAM, ARGUMENTS, INFERENCE, METRICS, CHECKPOINT, WEIGHTS, LAST, BEST
)  # fmt: skip
REMEDY = "restore it from a copy, or delete manifest.json if the change is yours"


class Content(BaseModel):
    """Size in bytes and SHA-256 of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Content:
        """That of these bytes."""
        return cls(size=len(content), sha256=hashlib.sha256(content).hexdigest())


class Manifest(BaseModel):
    """The contents that each file of a run may have; None stands for no file.

    Attributes:
        files: Contents by the name of the file: one, or two while it is being replaced.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    files: dict[str, list[Content | None]]

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest of a run; None for a run of a version that wrote none.

        Raises:
            CheckpointError: It is damaged.
        """
        path = folder / MANIFEST
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError):
            raise CheckpointError(
                f"{path} is damaged: delete it to open the run without its check sums"
            ) from None

    @classmethod
    def of(cls, folder: Path) -> Manifest:
        """The manifest of a run that is to be written, made from its files if there is none.

        Raises:
            CheckpointError: It is damaged, or something else is in the place of a file.
        """
        for path in (folder / name for name in FILES):
            if (path.exists() or path.is_symlink()) and not path.is_file():
                raise CheckpointError(f"{path} is no file, and the run needs its place")
        there = {name: folder / name for name in FILES if (folder / name).is_file()}
        return cls.read(folder) or cls(
            files={name: [Content.of(file.read_bytes())] for name, file in there.items()}
        )

    def replace(self, folder: Path, contents: Mapping[str, bytes]) -> None:
        """Replace files of the run, one after the other, each atomically."""
        new = {name: Content.of(content) for name, content in contents.items()}
        for name, content in new.items():
            self.files[name] = [*self.files.get(name, [None]), content]
        self.write(folder)
        for name in new:
            write_atomically(folder / name, contents[name])
            self.files[name] = [new[name]]

    def remove(self, folder: Path, name: str) -> None:
        """Remove a file of the run; noted before, like any change."""
        self.files[name] = [*self.files.get(name, []), None]
        self.write(folder)
        (folder / name).unlink(missing_ok=True)

    def note(self, folder: Path, name: str) -> None:
        """Note the content of a file that grew; it is written with the next replaced file."""
        self.files[name] = [Content.of((folder / name).read_bytes())]

    def write(self, folder: Path) -> None:
        """Write the manifest."""
        write_atomically(folder / MANIFEST, json.dumps(self.model_dump(), indent=1).encode())

    def fault(self, folder: Path, name: str) -> str:
        """The fault of a file; empty if it has none, or is not listed.

        The lines of the metrics that were added since are not looked at.
        """
        path, known = folder / name, self.files.get(name)
        if known is None:
            stray = name == PROGRAM and path.is_file()
            return f"{path} is not of this run: {MANIFEST} does not list it" if stray else ""
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            return "" if None in known else f"{path} is missing, and {MANIFEST} lists it: {REMEDY}"
        for content in filter(None, known):
            if Content.of(found[: content.size] if name == METRICS else found) == content:
                return ""
        sizes = [content.size for content in known if content is not None]
        if len(found) < min(sizes, default=0):
            return f"{path} is cut off, to {len(found)} of {min(sizes)} bytes: {REMEDY}"
        return f"{path} is not as the run wrote it: its SHA-256 is not in {MANIFEST}; {REMEDY}"


def fault_in(folder: Path, name: str) -> str:
    """The fault of a file of a run, by its manifest; empty if it has none.

    Raises:
        CheckpointError: The manifest is damaged.
    """
    known = Manifest.read(folder)
    while known is not None and (fault := known.fault(folder, name)):
        if known == (known := Manifest.read(folder)):
            return fault  # and no training that has gone on meanwhile
    return ""


def verify(folder: Path, *names: str) -> None:
    """Refuse files of a run that are not as the run wrote them.

    Raises:
        CheckpointError: A file is damaged or missing, or of another run.
    """
    for name in names:
        if fault := fault_in(folder, name):
            raise CheckpointError(fault)
