"""``pyrovae COMMAND`` and ``python -m pyrovae COMMAND``. Imports no torch by itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from pyrovae.errors import nearest
from pyrovae.version import __version__

COMMANDS = {
    "train": "fit a model, or resume its training",
    "sweep": "many runs, with values of some keys from ranges; which is best",
    "evaluate": "bound and log p(x) of held-out data",
    "compare": "paired differences of log p(x) between runs",
    "diagnose": "checks of the posterior, with a page",
    "refine": "a better guide for a fitted model, which stays as it is",
    "explore": "analyses of the latent space, with a page",
    "encode": "latents of data, as a table",
    "sample": "draws from p(x)",
    "reconstruct": "means of p(x | z) at the latents of data",
}

USAGE = """\
usage: pyrovae COMMAND ...

{commands}

Arguments of a command: pyrovae COMMAND --help, or python -m pyrovae.COMMAND --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        Exit status of the command; 2 if there is none of the name.
    """
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in COMMANDS:
        status: int = importlib.import_module(f"pyrovae.{name}").main(rest)
        return status
    if name == "--version":
        sys.stdout.write(f"pyrovae {__version__}\n")
        return 0
    if name in ("-h", "--help"):
        listed = "\n".join(f"  {command:<13}{what}" for command, what in COMMANDS.items())
        sys.stdout.write(USAGE.format(commands=listed))
        return 0
    sys.stderr.write(f"there is no command '{name}'; {nearest(name, COMMANDS)}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
