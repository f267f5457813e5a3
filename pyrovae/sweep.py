"""``python -m pyrovae.sweep``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pyrovae.runs.command_line import add_device, command_parser, run, spelled
from pyrovae.specs.computation import Compile

DESCRIPTION = """\
Train many runs of one model and inference, with values of some keys from given ranges, and say
which is best. Every process that is started with the same line takes part."""

EPILOG = """\
A study file:
  model = "vae"                 # as of train: inference, data, split, precision too
  inference = "svi"
  data = "mnist"
  trials = 50                   # of all processes together
  prune = true                  # end trials that are worse than the median
  [settings]
  inference.epochs = 30
  [search]
  inference.optimiser.learning_rate = {low = 1e-4, high = 1e-2, log = true}
  model.latent_dim = {low = 4, high = 64}
  model.prior.kind = {choices = ["normal", "vamp"]}"""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser("sweep", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("study", type=Path, metavar="STUDY", help="a TOML file: what to train, in which ranges")
    add("--output", type=Path, metavar="DIR",
        help="folder of the sweep, which its processes share (runs/STUDY)")  # fmt: skip
    add("--data-root", type=Path, metavar="DIR", help="where named data sets lie (data)")
    add_device(parser)
    add("--compile", choices=get_args(Compile),
        help="the programs as one compiled graph: where it pays (auto), on, off")  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work, or 128 + signal if interrupted.
    """
    options = vars(parser().parse_args(arguments))
    command = spelled("sweep", arguments)

    def program() -> int:
        from pyrovae.runs.options import SweepOptions
        from pyrovae.runs.study import Study

        asked = SweepOptions(**options)
        study = Study.read(asked)
        from pyrovae.report.display import Terminal
        from pyrovae.runs.sweep import sweep

        sweep(study, command, Terminal())
        return 0

    return run(program, f"interrupted; go on with the same line\n  {command}")


if __name__ == "__main__":
    sys.exit(main())
