"""A run opened in Python: the same results as those of the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyrovae import encode, open_run
from pyrovae.diagnosis import diagnose
from pyrovae.errors import CheckpointError, DataError, SpecError

pytestmark = pytest.mark.usefixtures("without_figures", "plain", "fewer")


@pytest.fixture
def folder(command: Any, once: Any, overrides: Any) -> Path:
    def fit() -> Path:
        words = overrides("inference.batch_size=64", "inference.epochs=2")
        assert command("--output", "run", *words).status == 0
        return Path("run")

    return once("opened", fit)


def contents(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_it_holds_what_training_wrote(folder: Path, metrics: Any) -> None:
    run = open_run(folder)
    assert len(run.data.test) == 360
    assert not run.model.training
    records = metrics(folder)
    assert list(run.history["elbo"]) == [record["elbo"] for record in records]
    assert list(run.history["split"]) == [record["split"] for record in records]
    assert run.test is not None
    assert run.test["elbo"] == pytest.approx(run.test["reconstruction"] - run.test["kl"])


def test_its_results_are_those_of_the_model(folder: Path) -> None:
    run = open_run(folder)
    model: Any = run.model
    x = run.data.test.batch(torch.arange(360)).x
    with torch.no_grad():
        np.testing.assert_allclose(run.embed(), model.encode(x).mean, atol=1e-5)
    np.testing.assert_allclose(run.reconstruct(), model.reconstruct(x), atol=1e-4)
    np.testing.assert_allclose(run.reconstruct(x[:3]), run.reconstruct()[:3], atol=1e-4)
    np.testing.assert_array_equal(run.sample(4), run.sample(4, seed=0))
    assert (run.sample(4) != run.sample(4, seed=1)).any()


def test_looking_writes_nothing_and_a_report_a_page(folder: Path) -> None:
    run = open_run(folder)
    before = contents(folder)
    diagnosis = run.diagnose(num=60, draws=100)
    run.embed()
    run.sample(2)
    run.reconstruct()
    assert contents(folder) == before
    same = diagnose(run.model, run.data.test, num=60, draws=100)
    assert diagnosis.draws.z.equal(same.draws.z)
    page = run.report(num=60, draws=100)
    assert page == folder / "diagnosis" / "report.html"
    text = page.read_text(encoding="utf-8")
    assert f"python -m pyrovae.diagnose {folder} --num 60 --draws 100" in text


def test_analyses_are_those_of_the_command(folder: Path) -> None:
    (found,) = open_run(folder).explore("samples", num=50)
    assert found.name == "samples"
    assert (folder / "exploration" / "samples.json").is_file()
    with pytest.raises(SpecError, match="did you mean 'samples'"):
        open_run(folder).explore("sampels")


def test_other_data_have_a_folder_of_their_own(folder: Path, here: Path) -> None:
    np.save(here / "other.npy", np.random.default_rng(0).integers(0, 17, (300, 8, 8)))
    run = open_run(folder, data="other.npy")
    assert len(run.embed()) == 30
    run.explore("samples")
    found = folder / "exploration" / "other.npy" / "samples.json"
    assert "samples --data other.npy" in found.read_text(encoding="utf-8")


def test_it_is_shown_in_a_line(folder: Path) -> None:
    assert repr(open_run(folder)) == "open_run('run')"


def test_what_is_no_run_is_refused_in_a_sentence(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder nowhere"):
        open_run("nowhere")
    with pytest.raises(CheckpointError, match="not the folder of a run"):
        open_run(".")
    with pytest.raises(SpecError, match="--device gpu"):
        open_run(folder, device="gpu")
    with pytest.raises(DataError, match="one split"):
        open_run(folder).reconstruct(open_run(folder).data)


def test_labels_that_draws_depend_on_are_given_by_name(command: Any) -> None:
    words = ("--set", "inference.epochs=1", "--set", "program.width=8")
    assert command("cvae", "svi", "--output", "run", *words).status == 0
    run = open_run("run")
    assert run.sample(3, y=torch.arange(3)).shape == (3, 1, 8, 8)
    with pytest.raises(SpecError, match="p\\(x\\) is given y"):
        run.sample(3)


def test_the_command_writes_what_embed_gives(folder: Path, command_of: Any) -> None:
    assert command_of(encode.main)(folder, "--output", "z.npy").status == 0
    np.testing.assert_array_equal(np.load("z.npy"), open_run(folder).embed())
