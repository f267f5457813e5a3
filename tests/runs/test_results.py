"""``encode``, ``sample`` and ``reconstruct``: what the files hold, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pyrovae import encode, load_data, open_run, reconstruct, sample
from pyrovae.runs import output_files
from pyrovae.runs.loading import load_run

pytestmark = pytest.mark.usefixtures("without_figures")

COMMANDS = {"encode": encode.main, "sample": sample.main, "reconstruct": reconstruct.main}
ALL = {"encode": [], "sample": ["--num", "7"], "reconstruct": []}


@pytest.fixture
def results(command_of: Any) -> Callable[..., Any]:
    """One of the three commands."""

    def run(name: str, *arguments: str | Path) -> Any:
        return command_of(COMMANDS[name])(*arguments)

    return run


@pytest.fixture
def labelled(command: Any, here: Path, overrides: Any, once: Any) -> Path:
    """A run on forty labelled images, which are all different."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 17, (40, 8, 8)), rng.integers(0, 3, 40)
    np.savez(here / "images.npz", x=x, labels=y)

    def fit() -> Path:
        outcome = command("--data", "images.npz", "--output", "run", *overrides())
        assert outcome.status == 0, outcome.err
        return Path("run")

    return once("labelled", fit)


def wrote(outcome: Any) -> Path:
    """The file that a command says that it has written."""
    assert outcome.status == 0, outcome.err
    return Path(outcome.out.partition("written to  ")[2].partition(": ")[0])


def test_latents_stand_beside_the_observation_that_they_are_of(
    labelled: Path, results: Any
) -> None:
    data = ["--data", "images.npz", "--split", "train"]
    table = pd.read_csv(wrote(results("encode", labelled, *data)))
    dims = range(8)
    columns = ["index", "row", "label", *(f"{k}z[{i}]" for k in ("", "sd ") for i in dims)]
    assert list(table.columns) == columns
    stored = np.load("images.npz")
    assert list(table["label"]) == list(stored["labels"][table["row"]])
    model: Any = load_run(labelled, data="images.npz").autoencoder
    with torch.no_grad():
        q = model.encode(torch.as_tensor(stored["x"][table["row"]]).float()[:, None])
    np.testing.assert_allclose(table[[f"z[{i}]" for i in dims]], q.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table[[f"sd z[{i}]" for i in dims]], q.stddev, rtol=1e-5)


def test_all_data_come_in_the_order_of_the_file(labelled: Path, results: Any) -> None:
    words = ["--data", "images.npz", "--split"]
    tables = {
        name: pd.read_csv(wrote(results("encode", labelled, *words, name))).set_index("row")
        for name in ("train", "validation", "test", "all")
    }
    whole = tables.pop("all")
    assert list(whole.index) == list(range(40))
    parts = pd.concat(tables.values()).sort_index()
    pd.testing.assert_frame_equal(
        whole.drop(columns="index"), parts.drop(columns="index"), check_exact=False, atol=1e-6
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_format_has_the_same_numbers(labelled: Path, results: Any, name: str) -> None:
    key = "z" if name == "encode" else "x"
    for ending in ("csv", "npy", "npz"):
        words = [labelled, "--output", f"out/{name}.{ending}", *ALL[name]]
        data = [] if name == "sample" else ["--data", "images.npz"]
        assert wrote(results(name, *words, *data)) == Path(f"out/{name}.{ending}")
    array = np.load(f"out/{name}.npy")
    np.testing.assert_array_equal(np.load(f"out/{name}.npz")[key], array)
    table = pd.read_csv(f"out/{name}.csv")
    columns = [column for column in table.columns if column.startswith(f"{key}[")]
    assert len(columns) == array[0].size
    for column in columns:
        place = tuple(map(int, column.removeprefix(key).strip("[]").split(",")))
        np.testing.assert_allclose(table[column], array[(slice(None), *place)], rtol=1e-6)


def test_latents_of_a_refined_guide_are_those_that_python_gives(
    labelled: Path, results: Any
) -> None:
    words = ["--data", "images.npz", "--refine-steps", "3", "--resample", "importance"]
    outcome = results("encode", labelled, *words)
    table, plain = pd.read_csv(wrote(outcome)), results("encode", labelled, *words[:2])
    before = pd.read_csv(wrote(plain))
    assert list(table.columns) == list(before.columns)
    for words in ("nats in 3 steps", "median k-hat", "weighted draws", "s per observation"):
        assert words in outcome.out
        assert words not in plain.out
    run = open_run(labelled, data="images.npz")
    z = run.embed(refine_steps=3, resample="importance")
    columns = [f"z[{i}]" for i in range(8)]
    np.testing.assert_allclose(table[columns], z, rtol=1e-5, atol=1e-6)
    assert not np.allclose(table[columns], before[columns], atol=1e-3)
    np.testing.assert_array_equal(run.embed(refine_steps=0), run.model.embed(run.data.test))


def test_a_guide_that_cannot_be_refined_is_refused_before_work(
    train: Any, results: Any, write_program: Any
) -> None:
    point = train(settings=("inference.guide.kind=delta",), output="point")
    for words in ["--refine-steps", "2"], ["--resample", "importance"]:
        outcome = results("encode", point, *words)
        assert outcome.status == 2
        assert "is a point" in outcome.err
    outcome = results("encode", train(write_program(), output="program"), "--refine-steps", "2")
    assert outcome.status == 2
    assert "without an encoder" in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.skipif(
    not any(find_spec(engine) for engine in output_files.PARQUET), reason="needs pyarrow"
)
def test_parquet_has_the_columns_of_csv(labelled: Path, results: Any) -> None:
    for ending in ("csv", "parquet"):
        results("encode", labelled, "--data", "images.npz", "--output", f"z.{ending}")
    parquet, csv = pd.read_parquet("z.parquet"), pd.read_csv("z.csv")  # which has no types
    pd.testing.assert_frame_equal(parquet, csv, check_dtype=False, rtol=1e-6)
    assert parquet["z[0]"].dtype == np.float32


def test_draws_of_counts_are_data_of_the_same_kind(labelled: Path, results: Any) -> None:
    file = wrote(results("sample", labelled, "--num", "12"))
    drawn = np.load(file)
    assert (drawn.dtype, drawn.shape) == (np.int64, (12, 1, 8, 8))
    assert drawn.min() >= 0
    assert drawn.max() <= 16
    assert load_data(file).train.shape == (1, 8, 8)
    assert wrote(results("encode", labelled, "--data", file)).is_file()


def test_a_seed_gives_the_same_draws_and_another_others(labelled: Path, results: Any) -> None:
    seeds = {"a": "0", "b": "0", "c": "1"}
    torch.manual_seed(4)
    before = torch.get_rng_state()
    drawn = {}
    for name, seed in seeds.items():
        words = ("--num", "9", "--seed", seed, "--output", f"{name}.npy")
        drawn[name] = np.load(wrote(results("sample", labelled, *words)))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(drawn["a"], drawn["b"])
    assert (drawn["a"] != drawn["c"]).any()


def test_draws_need_no_data(labelled: Path, results: Any) -> None:
    Path("images.npz").unlink()
    assert np.load(wrote(results("sample", labelled, "--num", "2"))).shape == (2, 1, 8, 8)


def test_reconstructions_are_those_of_the_model(labelled: Path, results: Any) -> None:
    words = (labelled, "--data", "images.npz", "--split", "train", "--num", "5")
    found = np.load(wrote(results("reconstruct", *words)))
    run = load_run(labelled, data="images.npz")
    model: Any = run.autoencoder
    expected = model.reconstruct(run.data.train.batch(torch.arange(5)).x)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_usual_file_is_replaced_and_a_named_one_is_not(labelled: Path, results: Any) -> None:
    words = (labelled, "--data", "images.npz")
    first, second = (wrote(results("encode", *words, "--num", n)) for n in ("2", "3"))
    assert first == second == labelled / "results" / "latents-images.npz-test.csv"
    assert len(pd.read_csv(second)) == 3
    Path("mine.csv").write_text("mine")
    outcome = results("encode", *words, "--output", "mine.csv")
    assert (outcome.status, Path("mine.csv").read_text()) == (2, "mine")
    assert "is there already" in outcome.err


def test_fewer_data_than_asked_for_are_all_and_it_is_said(labelled: Path, results: Any) -> None:
    outcome = results("encode", labelled, "--data", "images.npz", "--num", "100")
    assert len(pd.read_csv(wrote(outcome))) == 4
    assert "only 4 test data, fewer than the 100 asked for" in outcome.out


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output", "z.txt"], ["z.txt", ".csv, .parquet, .npy, .npz"]),
        (["--output", "z"], ["--output z", ".csv, .parquet, .npy, .npz"]),
        (["--output", "z.parquet"], ["pyarrow", ".csv"]),
        ([], ["no folder nowhere"]),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_sentence(
    command_of: Any,
    refused_by: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: list[str],
    said: list[str],
) -> None:
    monkeypatch.setattr(output_files, "find_spec", lambda _: None)
    refused = refused_by(command_of(COMMANDS[name]))
    refused("nowhere", *ALL[name], *words, words=tuple(said))


@pytest.mark.parametrize("words", [[], ["--num", "0"], ["--num", "2", "--seed", "-1"]])
def test_draws_have_a_number_and_a_seed(results: Any, words: list[str]) -> None:
    outcome = results("sample", "run", *words)
    assert outcome.status == 2
    assert "error: " in outcome.err


def test_a_guide_without_a_mean_gives_draws_and_says_so(
    command: Any, results: Any, counts: Path, overrides: Any
) -> None:
    words = overrides("inference.epochs=1", "model.latent_dim=2")
    assert command("vae", "iaf", "--data", counts, "--output", "run", *words).status == 0
    outcome = results("encode", "run")
    table = pd.read_csv(wrote(outcome))
    assert "no mean of q(z | x) is known, and these are draws" in outcome.out
    assert list(table.columns) == ["index", "row", "z[0]", "z[1]"]


def test_a_program_by_hand_has_the_same_results(
    train: Any, write_program: Any, results: Any
) -> None:
    run = train(write_program())
    table = pd.read_csv(wrote(results("encode", run)))
    assert list(table.columns) == ["index", "row", "z[0]", "z[1]", "sd z[0]", "sd z[1]"]
    assert (table[["sd z[0]", "sd z[1]"]] == 1).all(axis=None)
    assert np.load(wrote(results("sample", run, "--num", "3"))).shape == (3, 1, 8, 8)
    assert np.load(wrote(results("reconstruct", run))).shape == (2, 1, 8, 8)


def test_a_class_is_a_whole_number_with_probabilities(
    command: Any, results: Any, here: Path
) -> None:
    rng = np.random.default_rng(0)
    known = rng.random(40) < 0.5
    x = rng.integers(0, 2, (40, 8, 8))
    np.savez(here / "half.npz", x=x, y=rng.integers(0, 4, 40), y_known=known)
    sizes = ("program.pixels=64", "program.width=8", "program.latent_dim=2", "program.classes=4")
    words = [word for key in (*sizes, "inference.epochs=1") for word in ("--set", key)]
    fitted = command("m2", "enumerated", "--data", "half.npz", "--output", "run", *words)
    assert fitted.status == 0, fitted.err
    table = pd.read_csv(wrote(results("encode", "run", "--split", "all")))
    chances = table[[f"q(y[0] = {k})" for k in range(4)]].to_numpy()
    assert table["y[0]"].dtype.kind == "i"
    np.testing.assert_array_equal(chances.argmax(1), table["y[0]"])
    assert (chances.max(1) == 1).tolist() == known.tolist()
    assert np.load(wrote(results("sample", "run", "--num", "3"))).shape == (3, 1, 8, 8)


def test_draws_that_depend_on_labels_are_refused_with_the_way_in_python(
    command: Any, results: Any
) -> None:
    words = ("--set", "inference.epochs=1", "--set", "program.width=8")
    assert command("cvae", "svi", "--output", "run", *words).status == 0
    outcome = results("sample", "run", "--num", "3")
    assert outcome.status == 2
    assert "p(x) is given y" in outcome.err
    assert "sample(3, y=...)" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert wrote(results("encode", "run", "--num", "5")).is_file()
