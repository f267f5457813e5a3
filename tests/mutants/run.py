"""Break a copy of the package, one fault after the other, and see whether its tests notice.

``python tests/mutants/run.py [--only WORD] [--check | --unbroken]``, with the test environment.
The faults are in ``mutants.toml``: a file, a text that is in it exactly once, what to put in its
place, the fault in words, and the tests that ought to fail.
"""

# ruff: noqa: T201 - it prints a table

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.toml")
COPIED = ("pyrovae", "tests", "models", "inference", "benchmarks", "docs")
COPIED_FILES = ("conftest.py", "pyproject.toml", "README.md")
OUTCOMES = {0: "SURVIVED", 1: "killed"}  # pytest's exit status: all tests passed, or one failed
BROKEN = "BROKEN"  # nothing was tested: an import failed, or no test has this name


def mutated(mutant: dict[str, Any], root: Path) -> tuple[Path, str, str]:
    """The file, its text, and its text with the fault."""
    path = root / mutant["file"]
    text = path.read_text(encoding="utf-8")
    if text.count(mutant["old"]) != 1:
        sys.exit(f"{mutant['file']}: {text.count(mutant['old'])} times {mutant['old']!r}")
    return path, text, text.replace(mutant["old"], mutant["new"])


def outcome(tests: list[str], root: Path) -> str:
    """Whether a test fails, in a copy of the tree; it has to fail, not to be impossible to run."""
    words = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    said = OUTCOMES.get(done.returncode, BROKEN)
    if said == BROKEN:
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr, flush=True)
    return said


def main() -> int:
    """Print a row for each mutant; the exit status says whether one was not killed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="mutants with this word in file or fault")
    parser.add_argument("--check", action="store_true", help="only look for the texts")
    parser.add_argument("--unbroken", action="store_true", help="the tests, without any fault")
    options = parser.parse_args()
    mutants = tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]
    mutants = [m for m in mutants if options.only in m["file"] + m["fault"]]
    for mutant in mutants:
        mutated(mutant, ROOT)
        missing = [test for test in mutant["tests"] if not (ROOT / test.split("::")[0]).is_file()]
        if missing:
            sys.exit(f"{mutant['file']}: there is no {', '.join(missing)}")
    print(f"{len(mutants)} mutants", flush=True)
    if options.check:
        return 0
    said: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ignored = shutil.ignore_patterns("__pycache__")
        for name in COPIED:
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        for name in COPIED_FILES:
            shutil.copy(ROOT / name, root / name)
        if options.unbroken:
            failing = [
                test
                for test in sorted({test for mutant in mutants for test in mutant["tests"]})
                if outcome([test], root) != "SURVIVED"
            ]
            print("fail without a fault:", ", ".join(failing) or "none")
            return bool(failing)
        for mutant in mutants:
            path, text, broken = mutated(mutant, root)
            path.write_text(broken, encoding="utf-8")
            started = time.monotonic()
            found = outcome(mutant["tests"], root)
            path.write_text(text, encoding="utf-8")
            said[found] += 1
            tests = ", ".join(mutant["tests"])
            seconds = time.monotonic() - started
            print(f"| {mutant['file']} | {mutant['fault']} | {found} | {seconds:.0f} | {tests} |",
                  flush=True)  # fmt: skip
    print(", ".join(f"{number} {found}" for found, number in said.items()))
    return said["killed"] < len(mutants)


if __name__ == "__main__":
    sys.exit(main())
