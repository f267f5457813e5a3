"""Code that all commands share. Imports no torch."""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, get_args

from pyrovae.errors import PyrovaeError, reason, short
from pyrovae.specs.computation import Compile
from pyrovae.version import __version__

# Threads that spin while they wait start the next operation at once, but compete for the cores as
# soon as anything else runs on the machine.
SPINS, SPINS_WHEN_BUSY = 30_000, 2000
NO_MEMORY = (
    "there is not enough memory: choose smaller widths, inference.batch_size or particles, or "
    "fewer data"
)

NO_GPU_MEMORY = (
    "there is not enough GPU memory: set inference.accumulate = 2, or choose fewer particles, "
    "smaller widths or --device cpu"
)

SAVED = "interrupted; whatever was saved is still there"


def run(program: Callable[[], int], interrupted: str = SAVED, *, several: bool = False) -> int:
    """Run a command; report a user's error in one sentence on stderr.

    Args:
        program: Returns an exit status. It imports torch itself, so that mistakes in the
            arguments are reported before.
        interrupted: The line to show after an interruption that has none of its own.
        several: Whether several processes may run it together.

    Returns:
        The program's exit status, or 2 for an input that cannot work, or 130 if interrupted.
    """
    open_streams()
    # OpenMP reads this when torch loads it.
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS if _is_idle() else SPINS_WHEN_BUSY))
    try:
        with _stoppable():
            _require_working_directory()
            if not several:
                _require_one_process()
            return program()
    except PyrovaeError as error:
        sys.stderr.write("".join(f"{short(line)}\n" for line in str(error).splitlines()))
        return 2
    except BrokenPipeError:  # the reader of the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, a deleted folder
        sys.stderr.write(f"{error.filename or 'the system says'}: {error.strerror or error}\n")
        return 2
    except (MemoryError, RuntimeError) as error:
        if not (sentence := lack_of_memory(error)):
            raise
        sys.stderr.write(f"{sentence}\n")
        return 2
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"{str(stop) or interrupted}\n")
        return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    except SystemExit as stop:  # of a user's program: the command has not done its work
        sys.stderr.write(f"the program called sys.exit({stop.code!r}): take that out\n")
        return 2


def lack_of_memory(error: MemoryError | RuntimeError) -> str:
    """The sentence about an error, if memory ran out; else empty."""
    if not re.search("memory", f"{type(error).__name__} {error}", re.IGNORECASE):
        return ""
    on_gpu = type(error).__name__ == "OutOfMemoryError" or "CUDA" in str(error)
    return f"{NO_GPU_MEMORY if on_gpu else NO_MEMORY} ({short(reason(error), 80)})"


class Terminated(KeyboardInterrupt):
    """The process was asked to end, by SIGTERM."""


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: with a sentence, and what it writes made whole.

    Either kills the process the second time, wherever it is, as in the middle of an import.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except (KeyboardInterrupt, PyrovaeError):
        raise
    except Exception as error:
        if _interruption(error):  # an import gives it another type
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interruption(error: BaseException | None) -> bool:
    """True if an error comes from Ctrl-C."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _require_working_directory() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise PyrovaeError(
            "the working directory has been deleted: change to one that is there, as by cd"
        ) from None


def open_streams() -> None:
    """Make stdout and stderr take any text: β where the encoding has none, closed ones."""
    for number in range(3):  # else the next file that is opened would take what is written there
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _require_one_process() -> None:
    """Refuse to be started several times by torchrun, each to write the same files."""
    if "MASTER_ADDR" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1":
        raise PyrovaeError(
            "only train, evaluate, refine, diagnose --full and explore RUN factors share their "
            "work with other processes: start this command as one process alone, without torchrun"
        )


def _is_idle() -> bool:
    """True if less than half of the machine was in use during the last minute."""
    return os.getloadavg()[0] < (os.cpu_count() or 1) / 2


def spelled(name: str, arguments: Sequence[str] | None) -> str:
    """The command line as typed.

    Args:
        name: Name of the command, such as "train".
        arguments: Arguments of the command; None for those of this process.

    Example:
        >>> spelled("train", ["vae", "--output", "a run"])
        "python -m pyrovae.train vae --output 'a run'"
    """
    words = sys.argv[1:] if arguments is None else arguments
    return f"python -m pyrovae.{name} {shlex.join(words)}".strip()


class CommandParser(argparse.ArgumentParser):
    """Parser whose errors end in a hint, and whose help may be long without costing a start.

    Attributes:
        hint: The end of the error about an argument that is not known, or nothing.
        ending: The end of the help, if it is not to be written in every start.
    """

    hint: Callable[[str], str] = staticmethod(lambda argument: "")
    ending: Callable[[], str] | None = None

    def format_help(self) -> str:
        """The help, with its ending."""
        if self.ending is not None:
            self.epilog = self.ending()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Show usage and message, and stop with status 2."""
        unknown = message.partition("unrecognized arguments: ")[2].split()
        super().error(message + (self.hint(unknown[0]) if unknown else ""))


class ImportPath(argparse.Action):
    """Let classes be imported from a folder as well; leaves no option behind."""

    def __call__(self, parser: argparse.ArgumentParser, *arguments: Any) -> None:
        """Take the folder, or stop with status 2."""
        from pyrovae.specs.own import import_from

        try:
            import_from(arguments[1])
        except PyrovaeError as error:
            parser.error(str(error))


def command_parser(name: str, description: str, epilog: str = "") -> CommandParser:
    """Parser that leaves out options that are not given; their defaults are in the dataclasses."""
    open_streams()  # for the help
    parser = CommandParser(
        prog=f"python -m pyrovae.{name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--import-path",
        action=ImportPath,
        type=Path,
        metavar="DIR",
        help="a folder with classes of yours, for kind = 'module:Class'; may be repeated",
    )
    parser.add_argument("--version", action="version", version=f"pyrovae {__version__}")
    return parser


def count(text: str) -> int:
    """A count, as an option's ``type``.

    Raises:
        ArgumentTypeError: Not a whole number, or less than one.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, not '{text}'")
    return int(text)


def add_compile(parser: argparse.ArgumentParser) -> None:
    """Add ``--compile``, for commands that repeat the same arithmetic."""
    parser.add_argument(
        "--compile",
        choices=get_args(Compile),
        help="compile what is done many times: auto where that pays, on at once, off never",
    )


def add_refine_steps(parser: argparse.ArgumentParser, where: str = "") -> None:
    """Add ``--refine-steps``.

    Args:
        parser: The parser.
        where: Part of the command that has the option; begins the help.
    """
    parser.add_argument(
        "--refine-steps",
        type=count,
        metavar="N",
        help=f"{where}first fit the guide to each observation by itself, in N gradient steps (0; "
        "50 are often enough)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, whose form alone is checked here: torch knows the devices."""
    parser.add_argument(
        "--device",
        type=device,
        metavar="NAME",
        help="auto, cpu, cuda, or one of several GPUs as in cuda:1 (auto)",
    )


def add_results(parser: argparse.ArgumentParser, usual: str) -> None:
    """Add the options about the data that are encoded, and about the file that is written.

    Args:
        parser: The parser.
        usual: Ending of the file in ``RUN/results`` that is written by default.
    """
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a run")
    add("--data", metavar="NAME|PATH", help="other data (the run's own)")
    add("--data-root", type=Path, metavar="DIR", help="where named data sets lie")
    add("--split", choices=["test", "train", "validation", "all"],
        help="which of the data (test); all are in the order of the file")  # fmt: skip
    add("--num", type=count, metavar="N", help="the first N of them only (all)")
    add_output(parser, usual)
    add_device(parser)


def add_output(parser: argparse.ArgumentParser, usual: str) -> None:
    """Add ``--output`` of a file."""
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"a new file: .csv, .parquet, .npy or .npz (RUN/results/{usual}, replaced if there)",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options about data, and about how log p(x) is estimated."""
    add = parser.add_argument
    add("--data", metavar="NAME|PATH",
        help="a named data set, an array or a folder, of which the test split is used "
        "(the run's own)")  # fmt: skip
    add("--data-root", type=Path, metavar="DIR",
        help="where named data sets lie (where they lay for the run)")  # fmt: skip
    add("--samples", type=count, metavar="K", help="latents for each observation (1000)")
    add("--num", type=count, metavar="N", help="use the first N test observations only (all)")
    add("--ais", action="store_true",
        help="log p(x) by annealing as well: better, and slower")  # fmt: skip
    add_device(parser)
    add_compile(parser)


def device(text: str) -> str:
    """The name of a device, as an option's ``type``.

    Raises:
        ArgumentTypeError: No device has such a name.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"expected auto, cpu, cuda or cuda:1, not '{text}'")
    return text


def seed(text: str) -> int:
    """A seed, as an option's ``type``.

    Raises:
        ArgumentTypeError: Not a whole number, or negative.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, not '{text}'")
    return int(text)


def weight(text: str) -> float:
    """A weight that may be zero, as an option's ``type``.

    Raises:
        ArgumentTypeError: Not a finite number, or negative.
    """
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, not '{text}'")
    return value


def fraction(text: str) -> float:
    """A fraction, as an option's ``type``.

    Raises:
        ArgumentTypeError: Not a number above 0 and at most 1.
    """
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and up to 1, not '{text}'")
    return value


def _number(text: str) -> float:
    """The number, or NaN."""
    try:
        return float(text)
    except ValueError:
        return math.nan
