"""One problem, measured: peers started one after the other, then timed in turns."""

from __future__ import annotations

import argparse
import os
import random
import statistics
from pathlib import Path
from typing import Any

from problems import PROBLEMS, steps
from processes import Worker, WorkerError, environment

AGREEMENT = 1e-5  # relative difference of losses on the same weights, data and noise
LEARNING = 0.03  # the same after training, each with noise and batches of its own


def measure(name: str, peers: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """What is reported of a problem.

    Raises:
        SystemExit: The peers do not compute the same.
    """
    logs = options.output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    workers: dict[str, Worker] = {}
    report: dict[str, Any] = {
        "problem": name,
        "steps": options.steps or steps(PROBLEMS[name], options.device),
        "load_before": os.getloadavg(),
        "peers": {},
    }
    try:
        for peer in peers:
            start(peer, name, logs, options, workers, report)
        check(name, {peer: report["peers"][peer]["loss_before"] for peer in workers})
        take_turns(workers, report, options.blocks)
        report["astray"] = astray(report["peers"])
    finally:
        for worker in workers.values():
            worker.end()
    report["load_after"] = os.getloadavg()
    return report


def start(
    peer: str,
    problem: str,
    logs: Path,
    options: argparse.Namespace,
    workers: dict[str, Worker],
    report: dict[str, Any],
) -> None:
    """A peer built and warmed up; one that fails is left out, saying so."""
    told = {
        "peer": peer,
        "problem": problem,
        "device": options.device,
        "steps": report["steps"],
        "data": options.data or PROBLEMS[problem].data,
    }
    around = environment(options.threads, options.spins)
    worker = Worker(told, around, logs / f"{problem}-{peer}.log")
    try:
        loss = worker.hear()["loss"]
        seconds = worker.hear()["warm_up_seconds"]
    except WorkerError as error:
        worker.end()
        print(f"{problem}, {peer}: failed and left out: {error}", flush=True)
        report.setdefault("failed", {})[peer] = str(error)
        return
    print(f"{problem}, {peer}: loss {loss:.4f}, warm after {seconds:.1f} s", flush=True)
    workers[peer] = worker
    report["peers"][peer] = {"loss_before": loss, "warm_up_seconds": seconds, "blocks": []}


def check(problem: str, losses: dict[str, float]) -> None:
    """Whether all have the same loss.

    Raises:
        SystemExit: They have not; or nobody is left.
    """
    if not losses:
        raise SystemExit(f"{problem}: no peer could be started")
    middle = statistics.median(losses.values())
    off = [peer for peer, loss in losses.items() if not agree(loss, middle, AGREEMENT)]
    if off:
        said = ", ".join(f"{peer} {loss:.4f}" for peer, loss in losses.items())
        raise SystemExit(
            f"{problem}: the peers do not compute the same ({', '.join(off)} differ by more than "
            f"{AGREEMENT:g}), so their times would mean nothing: {said}"
        )


def agree(loss: float, other: float, tolerance: float) -> bool:
    """Whether two losses are close enough; a loss that is not a number is close to none."""
    return abs(loss - other) <= tolerance * abs(other)


def take_turns(workers: dict[str, Worker], report: dict[str, Any], blocks: int) -> None:
    """A block of each peer per round, every round in another order."""
    shuffled = random.Random(0)
    order = list(workers)
    for _ in range(blocks):
        shuffled.shuffle(order)
        for peer in order:
            block = workers[peer].ask("go")
            report["peers"][peer]["blocks"].append(1000 * block["seconds"] / block["steps"])
    for peer, worker in workers.items():
        report["peers"][peer]["loss_after"] = worker.ask("stop")["loss"]


def astray(peers: dict[str, Any]) -> list[str]:
    """Who has not learned what the others have, in the same number of steps.

    Of a compiled step only this tells whether it is the step that was checked.
    """
    losses = {peer: report["loss_after"] for peer, report in peers.items()}
    middle = statistics.median(losses.values())
    return [peer for peer, loss in losses.items() if not agree(loss, middle, LEARNING)]
