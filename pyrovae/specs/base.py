"""What every specification shares."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A table of a TOML file: frozen, and without room for a key that nobody reads."""

    section: ClassVar[str] = ""  # what its keys start with after --set

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
