"""Data that a function of one's own returns, named as ``package.module:function``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyrovae.errors import DataError, PyrovaeError, nearest, reason
from pyrovae.specs.data import path_and_key
from pyrovae.specs.own import NAME, installed_module


def is_function(source: Any) -> bool:
    """True for module and function, and false for a path, also one to an array in a file.

    Example:
        >>> is_function("my_lab.data:cells"), is_function("cells.h5ad:counts")
        (True, False)
    """
    text = str(source)
    has_key = path_and_key(text)[1] is not None
    return not has_key and bool(NAME.fullmatch(text)) and not Path(text).exists()


def returned(source: str) -> Any:
    """What the function returns, which is called without arguments.

    Modules are found as by :func:`pyrovae.specs.own.installed_module`.

    Raises:
        SpecError: There is no such module.
        DataError: There is no such function in it, or it fails.
    """
    asked = f"data '{source}'"
    module, _, name = source.partition(":")
    found = vars(installed_module(module, asked))
    if not callable(found.get(name)):
        functions = [key for key, value in found.items() if callable(value) and key[0] != "_"]
        raise DataError(f"{asked}: {module} has no function '{name}'; {nearest(name, functions)}")
    try:
        return found[name]()
    except PyrovaeError as error:
        raise DataError(f"{asked}: {error}") from None
    except Exception as error:  # a user's function
        raise DataError(f"{asked}: {reason(error)}") from error
