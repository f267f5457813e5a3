"""Base class of all specifications."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A table of a TOML file: frozen and strict; unknown keys are errors.

    Strict means that "8" and true are not numbers; lists are accepted as tuples.
    """

    section: ClassVar[str] = ""  # what its keys start with after --set

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
