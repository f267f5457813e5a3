"""What is installed from a wheel works without the checkout."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISSING = [name for name in ("build", "hatchling") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}"),
    pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs the checkout"),
]


def run(*words: str | Path, cwd: Path, **environment: str) -> str:
    """Output of a command, which must succeed."""
    process = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, built from the checkout."""
    out = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", out, cwd=ROOT)
    assert len(list(out.glob("pyrovae-*.tar.gz"))) == 1
    (wheel,) = out.glob("pyrovae-*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel holds, and nothing else."""
    target = tmp_path_factory.mktemp("site")
    run("-m", "pip", "install", "--no-deps", "--quiet", "--target", target, wheel, cwd=target)
    return target


def test_the_wheel_holds_what_is_shipped_and_nothing_of_the_checkout_besides(
    wheel: Path,
) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {
        f"pyrovae/_shelf/{file.relative_to(ROOT).as_posix()}"
        for folder in ("models", "inference")
        for file in (ROOT / folder).iterdir()
        if file.suffix in {".toml", ".py"}
    }
    assert shipped <= set(names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"pyrovae"}
    assert "pyrovae/py.typed" in names
    assert {
        "pyrovae/report/templates/page.css",
        "pyrovae/report/templates/report.html.jinja",
    } <= set(names)
    assert not [name for name in names if "test" in name or name.endswith((".npy", ".pyc"))]


def test_an_installed_package_runs_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    script = (
        "import pyrovae, sys; from pyrovae.train import main; print(pyrovae.__file__); "
        "sys.exit(main(['mixture', 'beta', '--dry-run']))"
    )
    environment = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    out = run("-c", script, cwd=tmp_path, **environment)
    first, _, rest = out.partition("\n")
    assert Path(first).resolve().is_relative_to(installed.resolve())
    assert "mixture of 10" in rest
    assert "nothing: this is a dry run" in rest
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_names_what_is_shipped(installed: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    out = run("-m", "pyrovae.train", "--help", cwd=tmp_path, **environment)
    for folder in ("models", "inference"):
        listed = out.partition(f"{folder}:\n")[2].partition("\n\n")[0]
        stems = {p.stem for p in (ROOT / folder).iterdir() if p.suffix in {".toml", ".py"}}
        assert {line.split()[0] for line in listed.splitlines()} == stems
