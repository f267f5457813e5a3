"""Reproduce published rows: train (or go on), estimate log p(x), write one line of results each.

    python benchmarks/published.py --data-root DIR [--budget full] [--device cuda] [ROW ...]

A row that has its line in published.jsonl for the same budget and seed is not run again, unless
--again asks for it, and then both lines stay; a training that was stopped is gone on with.
published.md is the table of all lines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
BURDA = {"batch_size": 100, "learning_rate_schedule": {"kind": "cosine", "final": 0.1}}


class Row(NamedTuple):
    """One number of a paper.

    Attributes:
        published: The number, in nats (-log p(x) or -ELBO), and where it is from.
        model: Name in models/.
        inference: Name in inference/.
        data: Name of the data.
        reduced: What the reduced budget sets in the inference specification.
        guide: Set for rows that differ in the guide only.
    """

    published: str
    model: str
    inference: str
    data: str
    reduced: dict[str, Any]
    guide: str = ""


ROWS = {
    "burda-k1": Row("86.76 (arXiv:1509.00519)", "burda", "burda", "mnist",
                    {"epochs": 100, **BURDA}),
    "burda-iwae5": Row("85.54 (arXiv:1509.00519)", "burda", "iwae5", "mnist",
                       {"epochs": 100, **BURDA}),
    "burda-iwae50": Row("84.78 (arXiv:1509.00519)", "burda", "iwae50", "mnist",
                        {"epochs": 100, **BURDA}),
    "burda-dreg50": Row("84.32, z = 100 (nbip/IWAE)", "burda", "dreg50", "mnist",
                        {"epochs": 100, **BURDA}),
    "gated-normal": Row("84.45 ± .12 (Exemplar-VAE README)", "gated", "tomczak", "mnist",
                        {"epochs": 30, "beta": {"kind": "linear", "warmup_epochs": 5}}),
    "gated-vamp": Row("82.43 ± .06 (Exemplar-VAE README)", "gated_vamp", "tomczak", "mnist",
                      {"epochs": 30, "beta": {"kind": "linear", "warmup_epochs": 5}}),
    "fashion-normal": Row("228.70 ± .15 (Exemplar-VAE README)", "gated", "tomczak",
                          "fashion_mnist",
                          {"epochs": 12, "beta": {"kind": "linear", "warmup_epochs": 5}}),
    "fashion-vamp": Row("227.35 ± .05 (Exemplar-VAE README)", "gated_vamp", "tomczak",
                        "fashion_mnist",
                        {"epochs": 12, "beta": {"kind": "linear", "warmup_epochs": 5}}),
    "guide-diagonal": Row("-ELBO 86.55, another network (arXiv:1803.05649)", "burda", "burda",
                          "mnist", {"epochs": 25, **BURDA}, "diagonal"),
    "guide-full_rank": Row("", "burda", "burda", "mnist", {"epochs": 25, **BURDA}, "full_rank"),
    "guide-iaf": Row("-ELBO 84.20, another network (arXiv:1803.05649)", "burda", "burda",
                     "mnist", {"epochs": 25, **BURDA}, "iaf"),
    "guide-spline": Row("", "burda", "burda", "mnist", {"epochs": 25, **BURDA}, "spline"),
}  # fmt: skip


def main() -> None:
    options = parser().parse_args()
    for name in options.rows or ROWS:
        lines = read_lines(options.results)
        if options.again or not any(is_of(line, name, options) for line in lines):
            run(name, options)
    write_table(read_lines(options.results), options.results.with_suffix(".md"))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all")
    parser.add_argument(
        "--again",
        action="store_true",
        help="also rows that have their line; trained anew if --runs is new",
    )
    parser.add_argument("--budget", choices=["reduced", "full"], default="reduced")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=5000, help="importance samples")
    parser.add_argument("--images", type=int, default=10000, help="test images, the first ones")
    parser.add_argument("--runs", type=Path, default=Path("runs/published"))
    parser.add_argument("--results", type=Path, default=HERE / "published.jsonl",
        help="lines of results; the table lies beside them")  # fmt: skip
    return parser


def run(name: str, options: argparse.Namespace) -> None:
    """Train, estimate, and add the row's line."""
    import torch

    folder = options.runs / f"{name}-{options.budget}-{options.seed}"
    train(ROWS[name], folder, options)
    line = {
        "row": name,
        "budget": options.budget,
        "seed": options.seed,
        "date": time.strftime("%Y-%m-%d"),
        "published": ROWS[name].published,
        **measure(folder, options),
        "hardware": hardware(device_of(options)),
        "torch": torch.__version__,
    }
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def train(row: Row, folder: Path, options: argparse.Namespace) -> None:
    """Train in the folder, or go on there; nothing if it is finished."""
    described = folder / "run.json"
    if described.is_file() and json.loads(described.read_text())["status"] == "finished":
        return
    command = [sys.executable, "-m", "pyrovae.train"]
    if (folder / "checkpoint.pt").is_file():
        command += ["--resume", str(folder)]
    else:
        command += [row.model, row.inference, "--data", row.data, "--output", str(folder)]
        command += ["--data-root", str(options.data_root), "--device", options.device]
        command += ["--seed", str(options.seed), *overrides(row, options.budget)]
    subprocess.run(command, check=True)


def overrides(row: Row, budget: str) -> list[str]:
    """``--set`` options of a row."""
    settings = dict(row.reduced) if budget == "reduced" else {}
    if row.guide:
        settings["guide"] = {"kind": row.guide}
    return [word for text in flat(settings, "inference") for word in ("--set", text)]


def flat(tree: dict[str, Any], prefix: str) -> list[str]:
    """``KEY=VALUE`` for each leaf."""
    texts = []
    for key, value in tree.items():
        name = f"{prefix}.{key}"
        texts += flat(value, name) if isinstance(value, dict) else [f"{name}={value}"]
    return texts


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What a finished run is worth on test images."""
    from pyrovae import load, load_data
    from pyrovae.evaluation.evidence import log_evidence

    described = json.loads((folder / "run.json").read_text())
    device = device_of(options)
    vae = load(folder, device)
    data = load_data(described["data"]["source"], root=options.data_root)
    test = vae.contract.apply(data).test.first(options.images)
    started = time.monotonic()
    evidence = log_evidence(vae, test, options.samples, progress=True)
    training = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    count = len(evidence.log_prob)
    return {
        "nll": round(-evidence.log_prob.mean().item(), 3),
        "standard_error": round(evidence.log_prob.std().item() / count**0.5, 3),
        "images": count,
        "samples": options.samples,
        "median_effective_samples": round(evidence.effective_samples.median().item(), 1),
        "negative_elbo": round(-described["test"]["elbo"], 3),
        "active_dimensions": described["test"]["active_dimensions"],
        "epochs": training[-1]["epoch"],
        "steps": training[-1]["step"],
        "training_minutes": round(training[-1]["seconds"] / 60, 1),
        "evaluation_minutes": round((time.monotonic() - started) / 60, 1),
    }


def device_of(options: argparse.Namespace) -> str:
    """Where the estimate is made."""
    import torch

    return "cuda" if torch.cuda.is_available() and options.device != "cpu" else "cpu"


def hardware(device: str) -> str:
    """What it ran on."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), {torch.get_num_threads()} threads"


def read_lines(file: Path) -> list[dict[str, Any]]:
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return [json.loads(line) for line in text.splitlines()]


def is_of(line: dict[str, Any], name: str, options: argparse.Namespace) -> bool:
    return (line["row"], line["budget"], line["seed"]) == (name, options.budget, options.seed)


def write_table(lines: list[dict[str, Any]], file: Path) -> None:
    """A table with a row for each line and for each row that was not run.

    Lines of the same row stand together, the oldest first; the first lines had no torch version.
    """
    columns = ("row", "published", "nll", "standard_error", "negative_elbo", "active_dimensions",
               "budget", "epochs", "seed", "images", "samples", "training_minutes",
               "evaluation_minutes", "date", "hardware", "torch")  # fmt: skip
    lines = sorted(lines, key=lambda line: list(ROWS).index(line["row"]))
    rows = [" | ".join(str(line.get(key, "not recorded")) for key in columns) for line in lines]
    missing = sorted(ROWS.keys() - {line["row"] for line in lines})
    rows += [f"{name} | {ROWS[name].published} | not run" for name in missing]
    header = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    table = header + "".join(f"| {row} |\n" for row in rows)
    file.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
