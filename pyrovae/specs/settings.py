"""Settings by dotted key, from a command line or from Python: ``{"model.latent_dim": 2}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyrovae.errors import SpecError, short, shown
from pyrovae.specs.files import keys_named, override, read
from pyrovae.specs.inference import InferenceSpec
from pyrovae.specs.model import ModelSpec
from pyrovae.specs.program import ProgramSpec

SECTIONS = ("model", "inference", "program")

Settings = Mapping[str, Any]


@contextmanager
def in_python() -> Iterator[None]:
    """Name settings by their keys alone, without the option of the command line."""
    try:
        yield
    except SpecError as error:
        raise SpecError(str(error).replace("--set ", "")) from None


def require_settings(settings: Any) -> Settings:
    """Settings given in Python, none as an empty dictionary.

    Raises:
        SpecError: They are no dictionary by dotted key.
    """
    if settings is None:
        return {}
    if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
        raise SpecError(
            f"settings of type {type(settings).__name__}: give a dictionary by key, as in "
            "{'model.latent_dim': 2}"
        )
    return settings


def of_section(settings: Settings, section: str) -> dict[str, Any]:
    """The settings of "model", "inference" or "program", without that word.

    Raises:
        SpecError: A key of none of these.
    """
    for key, value in settings.items():
        if key.partition(".")[0] not in SECTIONS or "." not in key:
            example = next(iter(keys_named(key)), "model.prior.kind")
            raise SpecError(
                f"--set {short(key, 80)}={shown(value)}: the key starts with 'model.', "
                f"'inference.' or 'program.', as in {example}"
            )
    return {
        key.partition(".")[2]: value
        for key, value in settings.items()
        if key.partition(".")[0] == section
    }


def set_model(
    model: Path | ModelSpec | ProgramSpec, settings: Settings
) -> ModelSpec | ProgramSpec:
    """A model's specification, or that of a program, with some keys set.

    Args:
        model: The specification or its file.
        settings: Values by dotted key.

    Raises:
        SpecError: Keys, kinds or values that are not allowed, or keys of the other sort.
    """
    keys, arguments = of_section(settings, "model"), of_section(settings, "program")
    if isinstance(model, Path) and model.suffix != ".toml":
        model = ProgramSpec(model)
    if isinstance(model, ProgramSpec):
        if keys:
            key = next(iter(keys))
            raise SpecError(
                f"--set model.{key}: {model.file} is a program; arguments of its class are set by "
                f"--set program.{key}"
            )
        return ProgramSpec(model.file, model.arguments | arguments)
    if arguments:
        where = model if isinstance(model, Path) else "the model"
        raise SpecError(
            f"--set program.{next(iter(arguments))}: {where} has keys of its own, model.KEY"
        )
    return read(model, ModelSpec, keys) if isinstance(model, Path) else override(model, keys)


def set_inference(inference: Path | InferenceSpec, settings: Settings) -> InferenceSpec:
    """An inference's specification with some keys set; arguments as for :func:`set_model`."""
    keys = of_section(settings, "inference")
    if isinstance(inference, Path):
        return read(inference, InferenceSpec, keys)
    return override(inference, keys)
