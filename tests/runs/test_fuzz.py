"""Any input ends in exit status 0, 1 or 2 and short sentences, and nothing on disk is lost.

Random inputs, always the same: more of them by ``make slow``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pyrovae import encode, evaluate, sample, train
from pyrovae.runs.manifest import FILES
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.base import Spec
from pyrovae.specs.files import shelf

pytestmark = [
    pytest.mark.usefixtures("without_figures"),
    pytest.mark.filterwarnings("ignore"),
]
ROUNDS = [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 20))]
LENGTH = 300

VALUES = (
    "-1", "0", "1", "2", "0.5", "1e300", "1e-300", "nan", "inf", "-inf", "true", "''", "word",
    "[]", "[[]]", "[0]", "[3]", "[-1, 'a']", "{}", "{a = 1}", "{kind = 'normal'}", "{kind = 3}",
    "1000000000000", str(2**63), "9" * 500, "9" * 5000, "x" * 1000, "[" * 900, "1979-05-27",
    '"\\u0000"', "β", "data", "normal", "vamp", "diagonal", "elbo",
)  # fmt: skip


class Fuzz:
    """A command in this process, which has to end well."""

    def __init__(self, command_of: Callable[[Any], Any], here: Path) -> None:
        self.command_of, self.here = command_of, here

    def __call__(self, main: Any, *words: str | Path) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = self.command_of(main)(*words)
        said = outcome.err.splitlines()
        assert outcome.status in (0, 1, 2), (words, outcome)
        assert "Traceback" not in outcome.err, (words, outcome)
        assert outcome.status == 0 or said, (words, outcome)
        assert [line for line in said if len(line) > LENGTH] == [], words
        assert list(self.here.rglob(".*.writing")) == [], words
        return int(outcome.status)


@pytest.fixture
def fuzz(command_of: Any, here: Path) -> Fuzz:
    return Fuzz(command_of, here)


def keys(spec: type[Spec]) -> Iterator[str]:
    """The keys of a specification by default, and some that are none."""

    def below(tree: dict[str, Any], prefix: str) -> Iterator[str]:
        for key, value in tree.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from below(value, f"{prefix}{key}.")

    found = list(below(spec().model_dump(), f"{spec.section}."))
    yield from found
    yield from (f"{key}.x" for key in found[::3])
    yield from ("", "model", "model.prior.components", "inference.guide.rank", "other.key")


KEYS = [key for spec in (ModelSpec, InferenceSpec) for key in keys(spec)]


@pytest.mark.parametrize("seed", ROUNDS)
def test_settings_of_any_kind(fuzz: Fuzz, counts: Path, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(40):
        count = draw.choice([1, 1, 2, 3])
        settings = [f"{draw.choice(KEYS)}={draw.choice(VALUES)}" for _ in range(count)]
        words = [word for setting in settings for word in ("--set", setting)]
        fuzz(train.main, "vae", "svi", "--data", counts, "--dry-run", *words)


def damage(content: bytes, draw: random.Random) -> bytes:
    """The content cut off, or with some bytes changed, taken out or repeated."""
    place = draw.randrange(len(content) + 1)
    match draw.choice(["cut", "flip", "flip", "noise", "repeat", "take", "zeros"]):
        case "cut":
            return content[:place]
        case "flip":
            changed = bytearray(content or b" ")
            for _ in range(draw.choice([1, 1, 3])):
                changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
            return bytes(changed)
        case "noise":
            return content[:place] + draw.randbytes(20) + content[place:]
        case "repeat":
            return content[:place] + content[max(0, place - 30) :]
        case "zeros":
            return content[:place] + bytes(30) + content[place + 30 :]
        case _:
            return content[:place] + content[place + draw.randrange(1, 40) :]


@pytest.mark.parametrize("seed", ROUNDS)
def test_files_of_specifications_of_any_kind(fuzz: Fuzz, counts: Path, seed: int) -> None:
    draw = random.Random(seed)
    models = sorted(shelf("models").glob("*.toml"))
    for _ in range(20):
        content = draw.choice(models).read_bytes()
        Path("mine.toml").write_bytes(damage(content, draw))
        fuzz(train.main, "mine.toml", "svi", "--data", counts, "--dry-run")


def write_data(draw: random.Random) -> Path:
    """A file or folder of data, damaged."""
    x = np.random.default_rng(draw.randrange(99)).integers(0, 17, (20, 4, 4))
    kind = draw.choice(["npy", "npz", "csv", "png"])
    file = Path(f"data.{kind}")
    match kind:
        case "npy":
            np.save(
                file, draw.choice([x, x.astype(float), x.astype(bool), x.astype("U3"), x > 16])
            )
        case "npz":
            beside = draw.choice([x[:, 0, 0], x[:, 0] / 2, x[:3], x.astype("U3"), x[:, 0, 0] > 3])
            name = draw.choice(["y", "labels", "factors", "x_known", "weight", "factor_names"])
            np.savez_compressed(file, **{"x": x, name: beside})
        case "csv":
            lines = [",".join("abcd"), *(",".join(map(str, row)) for row in x[:, 0])]
            file.write_text("\n".join(lines))
        case _:
            folder = Path("images")
            folder.mkdir(exist_ok=True)
            for number, image in enumerate(x.astype(np.uint8)):
                Image.fromarray(image).save(folder / f"{number}.png")
            file = folder / "3.png"
    file.write_bytes(damage(file.read_bytes(), draw))
    return file.parent if kind == "png" else file


@pytest.mark.parametrize("seed", ROUNDS)
def test_data_of_any_kind(fuzz: Fuzz, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(30):
        fuzz(train.main, "vae", "svi", "--data", write_data(draw), "--dry-run")


ODD = (None, True, -1, 0, 3, 1e300, "", "x" * 1000, [], [[]], {}, {"a": {}}, [1, 2, 3], "nan")


def odd_value(text: bytes, draw: random.Random) -> bytes:
    """A JSON file with one of its values replaced, or taken out."""
    tree = json.loads(text)
    place = tree
    while isinstance(place, dict) and place:
        key = draw.choice(list(place))
        if not isinstance(place[key], dict) or draw.random() < 0.3:
            place[key] = draw.choice(ODD)
            if draw.random() < 0.2:
                del place[key]
            break
        place = place[key]
    return json.dumps(tree).encode()


def change(run: Path, other: Path, draw: random.Random) -> str:
    """Change a run's folder in one way, and say which."""
    there = [name for name in (*FILES, "manifest.json") if (run / name).is_file()]
    file = run / draw.choice([*there, *(["weights.safetensors"] * 5)])
    ways = ["delete", "damage", "damage", "swap", "folder", "link", "other", "odd", "empty"]
    match way := draw.choice(ways):
        case "delete":
            file.unlink()
        case "damage":
            file.write_bytes(damage(file.read_bytes(), draw))
        case "swap":
            second = run / draw.choice(there)
            one, two = file.read_bytes(), second.read_bytes()
            file.write_bytes(two)
            second.write_bytes(one)
        case "folder":
            file.unlink()
            file.mkdir()
        case "link":
            file.unlink()
            file.symlink_to(draw.choice([file.name, "nowhere", os.devnull]))
        case "other":
            if (other / file.name).is_file():
                shutil.copy(other / file.name, file)
        case "odd":
            file = run / draw.choice(["run.json", "manifest.json"])
            if file.is_file():
                file.write_bytes(odd_value(file.read_bytes(), draw))
        case _:
            file.write_bytes(b"")
    return f"{way} {file.name}"


def lines_of(run: Path) -> set[bytes]:
    """The lines of the metrics, of a damaged file as well, without that of the test data."""
    files = [file for file in run.glob("metrics*") if file.is_file()]
    lines = {line for file in files for line in file.read_bytes().splitlines()}
    return {line for line in lines if b'"test"' not in line}


def bound(run: Path) -> Any:
    """The numbers of an evaluation."""
    found = json.loads((run / "evaluation" / "counts.npy.json").read_text())
    return [found[name] for name in ("elbo", "reconstruction", "kl", "log_prob")]


COMMANDS: dict[str, Callable[[Path], tuple[Any, list[str | Path]]]] = {
    "evaluate": lambda run: (evaluate.main, [run, "--samples", "2", "--num", "1"]),
    "resume": lambda run: (train.main, ["--resume", run]),
    "encode": lambda run: (encode.main, [run, "--num", "1"]),
    "sample": lambda run: (sample.main, [run, "--num", "1"]),
}


@pytest.mark.parametrize("seed", ROUNDS)
def test_run_folders_of_any_kind(
    fuzz: Fuzz, train: Any, once: Any, kept: Path, here: Path, seed: int
) -> None:
    once("finished", train)
    whole, other = kept / "finished", kept / "another"
    main, words = COMMANDS["evaluate"](whole)
    assert fuzz(main, *words) == 0
    if not other.exists():
        shutil.copytree(train("mixture", "iwae", output="another"), other)
    draw, known = random.Random(seed), bound(whole)
    for number in range(30):
        run = Path(shutil.copytree(whole, here / f"run-{number}"))
        changed = change(run, other, draw)
        listed = draw.random() < 0.5
        if not listed and (run / "manifest.json").is_file():
            (run / "manifest.json").unlink()
        main, words = COMMANDS[name := draw.choice([*COMMANDS, "evaluate", "evaluate"])](run)
        before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
        lines = lines_of(run)
        try:
            status = fuzz(main, *words)
        except BaseException as error:
            raise AssertionError(f"{name} after {changed}: {error!r}") from error
        assert lines <= lines_of(run), (name, changed)
        if status == 0 and name == "evaluate" and listed:
            assert bound(run) == known, changed
        if status == 2:
            after = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
            assert after == before, (name, changed)
        shutil.rmtree(run)
