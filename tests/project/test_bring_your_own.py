"""docs/bring-your-own.md: each example runs, and trains a model that samples."""

from __future__ import annotations

import json
import math
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from pyrovae import Splits

PAGE = (Path(__file__).parents[2] / "docs/bring-your-own.md").read_text(encoding="utf-8")
START, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
EXAMPLES = {section.partition("\n")[0]: section for section in SECTIONS}


def code(text: str) -> str:
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    return block


KINDS = {"cell": 90, "gene": 7}


class Writer:
    """Stand-in for TensorBoard's, which need not be installed."""

    written: list[tuple[str, float, int]] = []  # noqa: RUF012

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder = folder

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.written.append((name, value, step))

    def add_text(self, name: str, text: str, step: int) -> None:
        assert "inference.epochs | 2" in text

    def flush(self) -> None:
        pass


def cells(path: str) -> Any:
    """Stand-in for AnnData, which need not be installed."""
    counts = np.random.default_rng(0).poisson(2.0, (90, 7)).astype("f4")
    names, genes = (pd.Index([f"{kind} {i}" for i in range(n)]) for kind, n in KINDS.items())
    return types.SimpleNamespace(
        X=np.log1p(counts),
        layers={"counts": sparse.csr_matrix(counts)},
        obs=pd.DataFrame(index=names),
        var=pd.DataFrame(index=genes),
        obs_names=names,
        var_names=genes,
        obsm={},
    )


@pytest.fixture(scope="module")
def examples() -> dict[str, tuple[Path, dict[str, Any]]]:
    """What has run: where, and the names that it has left."""
    return {}


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    examples: dict[str, tuple[Path, dict[str, Any]]],
) -> Any:
    """Run an example, once for all tests that ask for it, and be where it ran."""
    tensorboard = types.ModuleType("torch.utils.tensorboard")
    tensorboard.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", tensorboard)
    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    anndata = types.ModuleType("anndata")
    anndata.read_h5ad = cells  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "anndata", anndata)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def example(title: str) -> dict[str, Any]:
        folder, names = examples.setdefault(title, (tmp_path / title, {"__name__": "example"}))
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        if "data" in names:
            return names
        exec(code(START), names)
        names["data"] = Splits(*(part.first(100) for part in names["data"]))
        exec(code(EXAMPLES[title]), names)
        return names

    return example


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_example_runs(run: Any, title: str) -> None:
    if "torchvision" in EXAMPLES[title]:
        pytest.importorskip("torchvision", exc_type=ImportError)
    names = run(title)
    assert math.isfinite(names["history"][-1].elbo if "history" in names else names["loss"])
    drawn = names["vae"].sample(2) if title != "Both programs" else torch.zeros(2)
    assert drawn.isfinite().all()


def test_tables_and_cells_come_back_with_their_names(run: Any) -> None:
    table = run("A DataFrame")
    assert table["codes"].index.equals(table["frame"].index)
    for back in (table["rows"], table["means"]):
        assert list(back.columns) == list(table["frame"].columns)
    adata = run("AnnData")["adata"]
    assert adata.obsm["X_vae"].shape == (90, 8)
    assert adata.layers["vae"].shape == adata.X.shape
    assert (adata.layers["vae"] >= 0).all()


def test_mapped_rows_and_those_of_hdf5_are_the_same(run: Any) -> None:
    names = run("Data larger than memory")
    assert names["data"].fingerprint() == names["same"].fingerprint()


def test_a_frozen_network_by_name_stays_as_it_is(run: Any) -> None:
    pytest.importorskip("torchvision", exc_type=ImportError)
    names = run("Parts by name")
    sys.modules.pop("my_parts", None)
    encoder = names["vae"].posterior.encoder.module
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.body.bn1.num_batches_tracked == 0
    for name, value in names["vae"].state_dict().items():
        assert torch.equal(names["back"].state_dict()[name], value), name


def test_the_parts_are_those_that_were_given(run: Any) -> None:
    assert type(run("A prior")["vae"].prior).__name__ == "Cauchy"
    assert type(run("A likelihood")["vae"].likelihood).__name__ == "StudentT"
    own = run("A decoder")
    assert own["vae"].decoder.module is own["decoder"]
    assert run("A guide")["vae"].formulas().guide == "Logistic(loc(x), 0.2)"


def test_loaded_weights_are_those_that_were_saved(run: Any) -> None:
    names = run("Saving and loading")
    x = names["data"].test.batch(torch.arange(5)).x
    torch.testing.assert_close(names["vae"].encode(x).mean, names["fitted"].encode(x).mean)


def test_several_parts_are_judged(run: Any) -> None:
    names = run("Several at once")
    assert names["diagnosis"].checks[0].question == "bound"  # two epochs show no trend
    assert names["log_prob"].shape == (len(names["data"].test),)
    assert names["vae"].prior.latent_dim == names["vae"].posterior.latent_dim == 2


def test_the_split_is_kept(run: Any) -> None:
    names = run("A split")
    assert [len(part) for part in names["data"]] == [210, 30, 60]
    sides = [{*names["patient"][part.rows].tolist()} for part in names["data"]]
    assert sum(map(len, sides)) == len(set.union(*sides))


def test_the_callback_stops(run: Any) -> None:
    history = run("A callback")["history"]
    validation = [record.elbo for record in history if record.split == "validation"]
    assert validation[-1] > -300
    assert all(elbo <= -300 for elbo in validation[:-1])
    assert len(validation) < 150


def test_the_writer_gets_every_number(run: Any) -> None:
    history = run("TensorBoard, MLflow, W&B and Trackio")["history"]
    of_both = {name for name, _, _ in Writer.written if "/" in name}
    assert of_both == {
        f"{name}/{split}"
        for name in ("elbo", "reconstruction", "kl", "loss")
        for split in ("train", "validation")
    }
    assert ("elbo/validation", history[-1].elbo, 2) in Writer.written


def test_a_tracker_of_ones_own_is_told_the_same(run: Any) -> None:
    history = run("A tracker")["history"]
    found = json.loads(Path("log.json").read_text(encoding="utf-8"))
    assert found["2"]["elbo/validation"] == history[-1].elbo
    assert found["params"]["inference.epochs"] == 2
