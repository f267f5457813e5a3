"""What every specification shares."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A table of a TOML file: frozen, without room for a key that nobody reads, and strict.

    Strict means that "8" and true are not numbers; a list is a tuple all the same.
    """

    section: ClassVar[str] = ""  # what its keys start with after --set

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
