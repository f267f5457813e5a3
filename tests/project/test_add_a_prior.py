"""docs/add-a-prior.md, followed to the letter in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-prior.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of the page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    copy = tmp_path_factory.mktemp("project")
    for folder in ("pyrovae", "models", "inference"):
        shutil.copytree(ROOT / folder, copy / folder)
    (copy / "pyrovae/parts/priors/logistic.py").write_text(blocks("python")[0], encoding="utf-8")
    for number, diff in enumerate(blocks("diff")):
        patch = copy / f"{number}.diff"
        patch.write_text(diff, encoding="utf-8")
        subprocess.run(["git", "apply", patch.name], cwd=copy, check=True)
    return copy


def run(project: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_new_prior_can_be_used_as_a_part_and_named_on_the_command_line(project):
    sample = "print(vae.sample(3).shape, vae.prior.formula)"
    python, dash_m, module, *words = blocks("console")[0].split()[1:]
    assert (python, dash_m) == ("python", "-m")
    words += ["--set", "inference.epochs=1", "--output", "run"]
    # As python -m does, in the process that has imported everything already.
    command = f"import runpy, sys\nsys.argv[1:] = {words}\nrunpy.run_module({module!r}, "
    command += "run_name='__main__', alter_sys=True)"
    printed = run(project, "-c", f"{blocks('python')[1]}\n{sample}\n{command}")
    assert "torch.Size([3, 1, 8, 8]) Logistic" in printed
    assert "Logistic(0, s), s learned" in printed
    assert "Trace_ELBO: KL sampled" in printed
    assert "scale = 0.5" in (project / "run" / "model.toml").read_text(encoding="utf-8")
