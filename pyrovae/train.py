"""``python -m pyrovae.train``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pyrovae.errors import SpecError
from pyrovae.runs.command_line import add_device, command_parser, run, spelled
from pyrovae.runs.request import NONE, RunSpec
from pyrovae.specs.computation import Compile, Precision
from pyrovae.specs.files import described, keys_named, parse_override
from pyrovae.specs.split import parse_split
from pyrovae.specs.tracking import TRACKERS

DESCRIPTION = """\
Train a variational autoencoder: a model (what: prior, decoder, likelihood) under an inference
(how: guide, objective, β, optimiser)."""

EPILOG = """\
models:
{models}

inference:
{inference}

Keys and their defaults: --dry-run, models/README.md, inference/README.md. Examples:
  python -m pyrovae.train bernoulli svi --data mnist --set inference.epochs=20
  python -m pyrovae.train vae beta --data table.csv --set model.likelihood.kind=laplace
  python -m pyrovae.train my_program.py svi --data data.npz --output runs/mine"""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser("train", DESCRIPTION)
    parser.hint, parser.ending = _key, _ending
    add = parser.add_argument
    add("model", nargs="?", help="name in models/, a TOML file, or a Python file (vae)")
    add("inference", nargs="?",
        help="name in inference/, or a TOML file (svi; small_data for the digits)")  # fmt: skip
    add(
        "--data",
        metavar="NAME|PATH|MODULE:FUNCTION",
        help="a named data set, an array, a table, a folder, a function that returns data, or a "
        "TOML file that says what the columns of one of these are (digits)",
    )
    add("--split", action="append", metavar="KEY=VALUE",
        help="a split of your own, as in group=patient, column=fold, fractions=0.7,0.1,0.2, "
        "rows=FILE.npz, or validation=PATH and test=PATH; may be repeated")  # fmt: skip
    add("--data-root", type=Path, metavar="DIR", help="where named data sets lie (data)")
    add("--set", action="append", metavar="KEY=VALUE", dest="overrides",
        help="override a key, as in model.prior.kind=vamp; may be repeated")  # fmt: skip
    add("--track", choices=[*TRACKERS, NONE], action="append", dest="tracked",
        help="log to this tool as well; may be repeated")  # fmt: skip
    add("--callback", action="append", metavar="MODULE:CLASS", dest="callbacks",
        help="a callback of yours; may be repeated, or none")  # fmt: skip
    add("--output", type=Path, metavar="DIR", help="folder of the run (runs/<time>-...)")
    add("--resume", type=Path, metavar="DIR",
        help="go on with a run, to more epochs with --set inference.epochs=N")  # fmt: skip
    add("--start", type=Path, metavar="RUN",
        help="start at a run's weights, where names and shapes agree")  # fmt: skip
    add_device(parser)
    add("--compile", choices=get_args(Compile),
        help="the programs as one compiled graph: where it pays (auto), on, off")  # fmt: skip
    add("--precision", choices=get_args(Precision), help="of the networks (float32)")
    add("--seed", metavar="N", help="short for --set inference.seed=N")
    add("--dry-run", action="store_true", help="build, print what would be done, and stop")
    return parser


def _ending() -> str:
    return EPILOG.format(models=_listed("models"), inference=_listed("inference"))


def _listed(folder: str) -> str:
    """The shipped files of a folder, with a sentence each."""
    return "\n".join(f"  {name:<18}{said}" for name, said in described(folder).items())


def _key(argument: str) -> str:
    """The key that was meant by an option that is none."""
    keys = keys_named(argument.lstrip("-").partition("=")[0])
    if keys:
        return f"; a key of the specifications is set by --set {keys[0]}=VALUE"
    is_value = argument[:1].isdigit()
    return "; KEY=VALUE is one word, as in --set inference.epochs=20" if is_value else ""


def request(options: Mapping[str, Any]) -> RunSpec:
    """The run that is asked for, its specifications read and validated.

    Raises:
        SpecError: A specification cannot be read, or an option has no use.
    """
    asked = dict(options)
    texts = list(asked.pop("overrides", []))
    if "seed" in asked:
        texts.append(f"inference.seed={asked.pop('seed')}")
    if "split" in asked:
        if "resume" in asked:
            raise SpecError("--split has no use with --resume: a run goes on with its own data")
        asked["split"] = parse_split(asked["split"])
    if "resume" in asked and "output" in asked:
        raise SpecError("--output has no use with --resume: a run goes on in its own folder")
    if "resume" in asked and "start" in asked:
        raise SpecError("--start has no use with --resume: a run goes on where it was")
    return RunSpec.read(**asked, overrides=dict(parse_override(text) for text in texts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work, or 128 + signal if interrupted.
    """
    options = vars(parser().parse_args(arguments))
    is_dry = options.pop("dry_run", False)
    command = spelled("train", arguments)

    def program() -> int:
        asked = request(options)
        from pyrovae.compute.distributed import joined
        from pyrovae.report.display import Display, Terminal
        from pyrovae.runs.train import dry_run, train

        with joined() as processes:
            display = Terminal() if processes.is_first else Display()
            if is_dry:
                dry_run(asked, display, processes)
                return 0
            result = train(asked, command, display, processes=processes)
        return 0 if result.signal is None else 128 + result.signal

    unsaved = "interrupted before anything was saved: give the same command again"
    return run(program, unsaved, several=True)


if __name__ == "__main__":
    sys.exit(main())
