"""Any input ends in exit status 0, 1 or 2 and short sentences, and nothing on disk is lost.

Random inputs, always the same: each is drawn from its number. ``make slow`` draws more of them.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from pyrovae import (
    compare,
    diagnose,
    encode,
    evaluate,
    explore,
    reconstruct,
    refine,
    sample,
    train,
)
from pyrovae.errors import PyrovaeError
from pyrovae.runs.manifest import FILES
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.base import Spec
from pyrovae.specs.files import shelf, shipped
from pyrovae.specs.guides import GuideSpec
from pyrovae.specs.inference import BetaSpec, OptimiserSpec, RateSpec
from pyrovae.specs.likelihoods import LikelihoodSpec
from pyrovae.specs.networks import NetworkSpec
from pyrovae.specs.objectives import ObjectiveSpec
from pyrovae.specs.own import members
from pyrovae.specs.priors import PriorSpec

pytestmark = [
    pytest.mark.usefixtures("without_figures"),
    pytest.mark.filterwarnings("ignore"),
]
LENGTH = 300


def cases(quick: int, part: int, parts: int) -> pytest.MarkDecorator:
    """The numbers of the inputs that a test tries, at once and, in parts, in ``make slow``."""
    ranges = [range(quick), *(range(part * n, part * (n + 1)) for n in range(parts))]
    slow = [pytest.param(numbers, marks=pytest.mark.slow) for numbers in ranges[1:]]
    ids = [f"{numbers.start}-{numbers.stop}" for numbers in ranges]
    return pytest.mark.parametrize("numbers", [ranges[0], *slow], ids=ids)


def assert_each(case: Callable[[random.Random], None], numbers: range) -> None:
    """A case holds of each number; all that it does not hold of are named."""
    failed = {}
    for number in numbers:
        try:
            case(random.Random(number))
        except (KeyboardInterrupt, pytest.exit.Exception):
            raise
        except BaseException as error:
            failed[number] = repr(error)[:1500]
    assert failed == {}


VALUES = (
    "-1", "0", "1", "2", "0.5", "1e300", "1e-300", "nan", "inf", "-inf", "true", "''", "word",
    "[]", "[[]]", "[0]", "[3]", "[-1, 'a']", "{}", "{a = 1}", "{kind = 'normal'}", "{kind = 3}",
    "3", "7", "64", "0.1", "1e-3", "1.5", "1e18", "100000", "1000000", "[2, 3]", "[8]", "'auto'",
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
TABLES: dict[str, Any] = {
    "model.prior": PriorSpec,
    "model.decoder": NetworkSpec,
    "model.likelihood": LikelihoodSpec,
    "inference.guide": GuideSpec,
    "inference.guide.encoder": NetworkSpec,
    "inference.objective": ObjectiveSpec,
    "inference.beta": BetaSpec,
    "inference.optimiser": OptimiserSpec,
    "inference.learning_rate_schedule": RateSpec,
}


def settings(draw: random.Random) -> Iterator[str]:
    """A kind with some of its own keys, or any keys, and values."""
    if draw.random() < 0.5:
        table = draw.choice(list(TABLES))
        kind = draw.choice(members(TABLES[table]))
        yield f"{table}.kind={kind.model_fields['kind'].default}"
        for key in draw.sample(list(kind.model_fields), min(2, len(kind.model_fields))):
            yield f"{table}.{key}={draw.choice(VALUES)}"
    for _ in range(draw.choice([1, 1, 2, 3])):
        yield f"{draw.choice(KEYS)}={draw.choice(VALUES)}"


@cases(40, 1000, 4)
def test_settings_of_any_kind(fuzz: Fuzz, counts: Path, numbers: range) -> None:
    def case(draw: random.Random) -> None:
        words = [word for setting in settings(draw) for word in ("--set", setting)]
        names = draw.choice(shipped("models")), draw.choice(shipped("inference"))
        names = draw.choice([names, ("vae", "svi")])
        fuzz(train.main, *names, "--data", counts, "--dry-run", *words)

    assert_each(case, numbers)


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


@cases(5, 1000, 3)
def test_files_of_specifications_of_any_kind(fuzz: Fuzz, counts: Path, numbers: range) -> None:
    files = {folder: sorted(shelf(folder).glob("*.toml")) for folder in ("models", "inference")}

    def case(draw: random.Random) -> None:
        folder = draw.choice(list(files))
        Path("mine.toml").write_bytes(damage(draw.choice(files[folder]).read_bytes(), draw))
        names = ("mine.toml", "svi") if folder == "models" else ("vae", "mine.toml")
        fuzz(train.main, *names, "--data", counts, "--dry-run")

    assert_each(case, numbers)


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


@cases(10, 1000, 3)
def test_data_of_any_kind(fuzz: Fuzz, numbers: range) -> None:
    def case(draw: random.Random) -> None:
        fuzz(train.main, "vae", "svi", "--data", write_data(draw), "--dry-run")

    assert_each(case, numbers)


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


def found_in(folder: Path) -> dict[str, Any]:
    """What the commands found, by file, without when and where."""
    tables = {file.name: file.read_bytes() for file in folder.rglob("*.csv")}
    arrays = {file.name: file.read_bytes() for file in folder.rglob("*.npy")}
    bounds = {
        file.name: [json.loads(file.read_bytes())[name] for name in ("elbo", "kl", "log_prob")]
        for file in folder.glob("evaluation/*.json")
    }
    return tables | arrays | bounds


Words = list[str | Path]
FEW = ["--num", "1", "--samples", "2"]
READERS: dict[str, Callable[[Path, Path], tuple[Any, Words]]] = {
    "evaluate": lambda run, other: (evaluate.main, [run, *FEW]),
    "encode": lambda run, other: (encode.main, [run, "--num", "1"]),
    "sample": lambda run, other: (sample.main, [run, "--num", "1"]),
    "reconstruct": lambda run, other: (reconstruct.main, [run, "--num", "1"]),
    "compare": lambda run, other: (compare.main, [run, other, *FEW, "--output", "compared"]),
    "start": lambda run, other: (train.main, ["--start", run, "--dry-run"]),
    "refine": lambda run, other: (refine.main, [run, "--set", "inference.epochs=1"]),
    # Both refuse these data, after the run has been opened.
    "diagnose": lambda run, other: (diagnose.main, [run]),
    "explore": lambda run, other: (explore.main, [run, "factors"]),
    # Last, since it makes good what it can.
    "resume": lambda run, other: (train.main, ["--resume", run]),
}


@pytest.fixture
def opened_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison and a refinement end where the runs have been opened."""

    def opened(*_: Any, **__: Any) -> NoReturn:
        raise PyrovaeError("opened")

    monkeypatch.setattr("pyrovae.runs.compare.require_comparable", opened)
    monkeypatch.setattr("pyrovae.runs.refine._before", opened)


@cases(4, 500, 4)
def test_run_folders_of_any_kind(
    fuzz: Fuzz, train: Any, once: Any, kept: Path, here: Path, numbers: range, opened_only: None
) -> None:
    """Every command that reads a run, after every damage: its numbers, or a sentence."""
    once("finished", train)
    whole, other = kept / "finished", kept / "another"
    if not other.exists():
        shutil.copytree(train("mixture", "iwae", output="another"), other)

    def results(run: Path, name: str) -> tuple[int, dict[str, Any]]:
        main, words = READERS[name](run, other)
        before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
        lines = lines_of(run)
        status = fuzz(main, *words)
        assert lines <= lines_of(run), name
        if status == 2:
            after = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
            assert after == before, name
        shutil.rmtree("compared", ignore_errors=True)
        return status, found_in(run)

    def case(draw: random.Random) -> None:
        for folder in (here / "run-changed", here / "run-known"):
            shutil.rmtree(folder, ignore_errors=True)
        run = Path(shutil.copytree(whole, here / "run-changed"))
        changed = change(run, other, draw)
        listed = draw.random() < 0.7
        if not listed and (run / "manifest.json").is_file():
            (run / "manifest.json").unlink()
        for name in READERS:
            try:
                status, found = results(run, name)
            except BaseException as error:
                raise AssertionError(f"{name} after {changed}: {error!r}") from error
            if status == 0 and listed:
                assert found.items() <= known.items(), (name, changed)

    known_run = Path(shutil.copytree(whole, here / "run-known"))
    for name in READERS:
        results(known_run, name)
    known = found_in(known_run)
    assert_each(case, numbers)
