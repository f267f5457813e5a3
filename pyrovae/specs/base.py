"""Base class of all specifications."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pyrovae import notebook
from pyrovae.errors import SpecError, reason

# Bounds within which torch can compute: of the sizes of tensors, of what is made one after the
# other, of what is counted, and of numbers of float32.
Size = Annotated[int, Field(gt=0, le=10**6)]
Latents = Annotated[int, Field(gt=0, le=10**5)]
Few = Annotated[int, Field(gt=0, le=100)]
Count = Annotated[int, Field(gt=0, le=10**9)]
Positive = Annotated[float, Field(gt=0, le=1e30)]
NonNegative = Annotated[float, Field(ge=0, le=1e30)]


def read_toml(file: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        SpecError: It cannot be read as one.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also a number of too many digits
        raise SpecError(f"{file}: not a TOML file: {why_no_toml(error)}") from None


def why_no_toml(error: ValueError | RecursionError) -> str:
    """Reason for which a text cannot be read as TOML."""
    if isinstance(error, RecursionError):
        return "lists or tables within each other without end"
    return "a number has too many digits" if "int_max_str_digits" in str(error) else reason(error)


def by_key(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a tree by dotted key.

    Example:
        >>> by_key({"prior": {"kind": "vamp"}, "latent_dim": 2})
        {'prior.kind': 'vamp', 'latent_dim': 2}
    """
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            values |= by_key(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value
    return values


class Spec(BaseModel):
    """A table of a TOML file: frozen and strict; unknown keys are errors.

    Strict means that "8" and true are not numbers; lists are accepted as tuples.

    Raises:
        SpecError: Keys, kinds or values that are not allowed; a sentence each.
    """

    section: ClassVar[str] = ""  # what its keys start with after --set

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _in_words(error, type(self), values) from None

    # As that of the base class: tables within tables are validated without it, as one.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def to_toml(self) -> str:
        """The specification as TOML, with every default."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def _repr_html_(self) -> str:
        return notebook.card(type(self).__name__, notebook.preformatted(self.to_toml()))

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """A specification from a tree of values."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise _in_words(error, cls, obj) from None


def _in_words(error: ValidationError, spec: type[Spec], values: Any) -> SpecError:
    from pyrovae.specs.error_messages import explain

    sentences = explain(error, spec, values if isinstance(values, dict) else {})
    return SpecError("\n".join(f"{spec.__name__}: {said}" for said in sentences.values()))
