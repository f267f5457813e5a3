"""Peers as processes on the same cores, one of them at work at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class WorkerError(Exception):
    """A peer's process has ended; the message is the last line that it wrote."""


class Worker:
    """One peer in a process of its own (worker.py), which waits whenever it was not asked.

    Args:
        options: As worker.py reads them.
        environment: Of the process.
        log: Where what it writes to stderr goes.
    """

    def __init__(self, options: dict[str, Any], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "worker.py"), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                text=True,
            )

    def hear(self) -> dict[str, float]:
        """What it says next.

        Raises:
            WorkerError: It has ended instead.
        """
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "no word")
            raise WorkerError(f"{last} (see {self.log})")
        return json.loads(line)

    def ask(self, word: str) -> dict[str, float]:
        """Its answer to "go" or "stop"."""
        if self.process.stdin:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
        return self.hear()

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()


def pin(threads: int) -> list[int]:
    """Keep this process, and all that it starts, to the first few cores that it may use."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    return cores


def environment(threads: int, spins: int) -> dict[str, str]:
    """The same for all peers: as many threads as cores, and how long they spin while they wait."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "GOMP_SPINCOUNT": str(spins),
        "JAX_PLATFORMS": "cpu",
        "TQDM_DISABLE": "1",  # Pythae's trainer has no option for it
    }
