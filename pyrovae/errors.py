"""Exceptions for wrong inputs, each with a message of one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PyrovaeError(ValueError):
    """Base of errors of the user; the message names the place, the mistake and the remedy.

    Commands print the message, without a traceback, and stop with exit status 2.
    """


class SpecError(PyrovaeError):
    """A specification, or a pair of parts, that cannot be built."""


class ProgramError(SpecError):
    """A handwritten program that fails where it is run.

    Only the first line of the message is kept: Pyro's trace adds shapes below it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.partition("\n")[0])


class DataError(PyrovaeError):
    """Data that cannot be found, read, or explained by the likelihood."""


class CheckpointError(PyrovaeError):
    """A run or a file of weights that cannot be read, or does not belong here."""


class DivergenceError(PyrovaeError):
    """A non-finite value in training; names step, site and parameter."""


class LostProcessError(PyrovaeError):
    """One of several processes that train together has ended, or cannot be reached."""


def reason(error: BaseException) -> str:
    r"""Message of an exception of other software, on one line and cut to 200 characters.

    Example:
        >>> reason(KeyError("a\nb"))
        "'a b'"
    """
    return " ".join(str(error).replace("\\n", " ").split())[:200] or type(error).__name__


def short(text: str, length: int = 300) -> str:
    """A text without its middle, if it is longer than a sentence may be.

    Example:
        >>> short("a very long text", 9)
        'a v...ext'
    """
    side = (length - 3) // 2
    return text if len(text) <= length else f"{text[:side]}...{text[-side:]}"


def shown(value: object) -> str:
    """A value as it is written in Python, in a few words.

    Example:
        >>> shown(10**400)
        '1000000000000000000...0000000000000000000'
    """
    try:
        return short(repr(value), 42)
    except (ValueError, RecursionError):  # a number of 5000 digits, lists within lists
        return f"a very large {type(value).__name__}"


def message(error: PyrovaeError) -> str:
    """Message of an error of ours, without the table of shapes that Pyro's traces add."""
    return str(error).partition("Trace Shapes:")[0].rstrip()


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of a sentence: the choice that was probably meant, or all of them.

    Example:
        >>> nearest("vapm", ["normal", "vamp"])
        "did you mean 'vamp'?"
        >>> nearest("flow", ["normal", "vamp"])
        'choose one of: normal, vamp'
    """
    choices = list(choices)
    close = difflib.get_close_matches(word[:100], choices, n=1)
    return f"did you mean '{close[0]}'?" if close else f"choose one of: {', '.join(choices)}"
