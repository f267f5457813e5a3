"""The process of one peer: built, checked, warmed up, then timed block by block on request.

Started by run.py, which says ``go`` or ``stop`` on stdin; answers, in JSON, are on stdout.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
from typing import Any, TextIO

import weights
from clock import Block, Clock
from peers import Peer, load
from problems import PROBLEMS, bits

WARM_UP_BLOCKS = 2  # the first compiles; the second has seen what the first left to be done


class Stop(BaseException):
    """Leaves a training loop that has no end of its own."""


class Session:
    """One peer's conversation with run.py."""

    def __init__(self, peer: Peer, sample: Any, answers: TextIO) -> None:
        self.peer = peer
        self.sample = sample
        self.answers = answers
        self.blocks_to_warm = WARM_UP_BLOCKS
        self.started = time.perf_counter()

    def between(self, block: Block) -> None:
        """Report a block and wait, blocked in a read, for the next."""
        self.blocks_to_warm -= 1
        if self.blocks_to_warm > 0:
            return
        if self.blocks_to_warm == 0:
            self.say(warm_up_seconds=time.perf_counter() - self.started)
        else:
            self.say(**block._asdict())
        if sys.stdin.readline().strip() != "go":
            self.say(loss=self.peer.loss(self.sample))
            raise Stop

    def say(self, **answer: float) -> None:
        """One line of JSON."""
        self.answers.write(json.dumps(answer) + "\n")
        self.answers.flush()


def main() -> None:
    options = json.loads(sys.argv[1])
    # Whatever the peers print must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    problem = dataclasses.replace(PROBLEMS[options["problem"]], data=options["data"])
    data = bits(problem)
    peer = load(options["peer"])(problem, data, weights.initial(problem), options["device"])
    session = Session(peer, data[: problem.batch], answers)
    session.say(loss=peer.loss(session.sample))
    synchronise = (lambda: None) if options["device"] == "cpu" else wait_for_gpu
    with contextlib.suppress(Stop):
        peer.train(Clock(options["steps"], session.between, synchronise))
    answers.close()
    sys.stderr.flush()
    os._exit(0)  # what is in the middle of an epoch has nothing to tidy up


def wait_for_gpu() -> None:
    import torch

    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
