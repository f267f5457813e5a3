"""A data file says what columns are; the rest is as if they had been arranged by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
import torch

from pyrovae import InferenceSpec, build, fit, load, load_data, save
from pyrovae.__main__ import main
from pyrovae.data import Splits, large_tables
from pyrovae.data.sources import Source
from pyrovae.data.transforms import TRANSFORMS
from pyrovae.errors import DataError, SpecError

N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "well": [f"w{i // 4}" for i in range(N)],
        "gene_1": RNG.poisson(4, N),
        "depth": RNG.lognormal(3, 1, N),
        "gene_2": RNG.poisson(2, N),
        "share": RNG.uniform(0.1, 0.9, N),
        "rock": RNG.choice(["shale", "sand"], N),
        "age": np.where(np.arange(N) % 7 == 0, np.nan, RNG.normal(size=N)),
        "note": "dry",
    }
)
ALL = {
    "source": "wells.csv",
    "columns": ["depth", "gene_*"],
    "labels": "rock",
    "factors": ["well", "rock"],
    "variables": ["age", "rock"],
    "transforms": {"depth": "log", "gene_*": "log1p"},
    "split": {"group": "well"},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the table, and another that is the current one."""
    FRAME.to_csv(tmp_path / "wells.csv", index=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def written(folder: Path, **keys: Any) -> Path:
    file = folder / "wells.toml"
    file.write_text(
        tomli_w.dumps({key: value for key, value in keys.items() if value is not None})
    )
    return file


def require_same(one: Splits, other: Splits) -> None:
    assert one.fingerprint() == other.fingerprint()
    assert one.train.columns == other.train.columns


def by_hand() -> Splits:
    x = np.log1p(FRAME[["depth", "gene_1", "gene_2"]].astype("float32"))
    x["depth"] = np.log(FRAME["depth"].astype("float32"))
    return load_data(x.assign(label=FRAME["rock"]), split={"group": FRAME["well"].to_numpy()})


def test_columns_have_the_roles_that_it_says(here: Path) -> None:
    data, expected = load_data(written(here, **ALL)), by_hand()
    assert data.train.columns == ("depth", "gene_1", "gene_2")
    for part, same in zip(data, expected, strict=True):
        torch.testing.assert_close(part.x, same.x)
        assert torch.equal(part.rows, same.rows)
        assert torch.equal(part.labels, same.labels)
    wells = [{*FRAME["well"][split.rows.numpy()]} for split in data]
    assert sum(map(len, wells)) == len(set.union(*wells))
    factors, variables = data.train.factors, data.train.variables
    assert factors is not None
    assert factors.names == ("well", "rock")
    assert torch.equal(factors.classes[:, 1], data.train.labels)
    assert [*variables] == ["age", "age_known", "rock"]
    assert torch.equal(variables["age_known"], torch.tensor(FRAME["age"].notna().to_numpy()))
    assert not variables["age"][~variables["age_known"]].any()
    assert torch.equal(
        variables["rock"], torch.tensor((FRAME["rock"] == "shale").to_numpy()).long()
    )


def test_without_keys_it_is_its_source(here: Path) -> None:
    numbers = FRAME[["depth", "share"]]
    numbers.to_csv(here / "numbers.csv", index=False)
    np.savez(here / "all.npz", x=numbers.to_numpy(), z=FRAME["gene_1"].to_numpy())
    for source in ("numbers.csv", "all.npz", "all.npz:x", "digits"):
        found = load_data(written(here, source=source))
        require_same(found, load_data(source if source == "digits" else here / source))
    own = {"fractions": [0.5, 0.25, 0.25]}
    require_same(
        load_data(written(here, source="numbers.csv", split=own)), load_data(numbers, split=own)
    )
    others = load_data(written(here, source="numbers.csv", split=own), split=(0.6, 0.2, 0.2))
    require_same(others, load_data(numbers, split=(0.6, 0.2, 0.2)))


def test_values_are_all_columns_without_another_role(here: Path) -> None:
    FRAME.drop(columns="note").to_csv(here / "wells.csv", index=False)
    file = written(here, source="wells.csv", labels="rock", variables=["age"], factors=["well"])
    assert load_data(file).train.columns == ("gene_1", "depth", "gene_2", "share")


def test_arrays_beside_others_have_roles_too(here: Path) -> None:
    x = FRAME[["depth", "share"]].to_numpy()
    kinds = np.arange(N) % 3
    np.savez(here / "all.npz", x=x, kind=kinds, patient=np.arange(N) // 5)
    data = load_data(
        written(
            here,
            source="all.npz",
            labels="kind",
            factors=["kind"],
            transforms={"*": "sqrt"},
            split={"group": "patient"},
        )
    )
    require_same(
        data, load_data(np.sqrt(x.astype("f4")), kinds, split={"group": np.arange(N) // 5})
    )


def test_three_files_from_its_folder(here: Path) -> None:
    for part, rows in {"a": slice(40), "b": slice(40, 50), "c": slice(50, 60)}.items():
        FRAME[rows].to_csv(here / f"{part}.csv", index=False)
    keys = {**ALL, "source": "a.csv", "split": {"validation": "b.csv", "test": "c.csv"}}
    data, whole = load_data(written(here, **keys)), load_data(written(here, **ALL))
    assert [split.rows.tolist() for split in data] == [
        [*range(40)],
        [*range(40, 50)],
        [*range(50, 60)],
    ]
    assert torch.equal(data.train.x, whole.train.x)


def test_large_tables_are_the_same(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    FRAME.to_parquet(here / "wells.parquet")
    file = written(here, **{**ALL, "source": "wells.parquet"})
    expected = load_data(file)
    monkeypatch.setattr(large_tables, "IN_MEMORY", 0)
    found = load_data(file)
    assert isinstance(found.train.x, Source)
    require_same(found, expected)
    assert torch.equal(found.train.variables["age"], expected.train.variables["age"])


def test_mapped_arrays_are_changed_when_they_are_read(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(here / "x.npy", RNG.lognormal(size=(N, 3)).astype("f4"))
    file = written(here, source="x.npy", transforms={"*": "log"})
    expected = load_data(file)
    monkeypatch.setattr("pyrovae.data.npz.IN_MEMORY", 0)
    found = load_data(file)
    assert isinstance(found.train.x, Source)
    require_same(found, expected)


def test_transforms_are_inverted_by_their_inverses() -> None:
    inverses = {
        "log": torch.exp,
        "log1p": torch.expm1,
        "logit": torch.sigmoid,
        "sqrt": torch.square,
    }
    x = torch.linspace(0.05, 0.95, 20)
    assert {*inverses} == {*TRANSFORMS}
    for name, inverse in inverses.items():
        torch.testing.assert_close(inverse(TRANSFORMS[name].function(x)), x)


def test_models_know_the_transforms(here: Path) -> None:
    data = load_data(written(here, **{**ALL, "variables": []}))
    vae = build("vae", "svi", data)
    fit(vae, data, InferenceSpec(epochs=1))
    save(vae, here / "vae.safetensors")
    raw = load_data(FRAME[["depth", "gene_1", "gene_2"]])
    for model in (vae, load(here / "vae.safetensors")):
        # A DataFrame goes through them, an array is as the model sees it.
        frame = FRAME[["gene_2", "depth", "gene_1"]]
        adata = SimpleNamespace(
            X=frame.to_numpy(),
            raw=None,
            layers={},
            obs=FRAME[["well"]],
            var=None,
            obs_names=FRAME.index,
            var_names=frame.columns,
        )
        expected = model.embed(data.train.x)
        unnamed = FRAME[["depth", "gene_1", "gene_2"]].set_axis(range(3), axis=1)
        for given in (frame, adata, unnamed):
            np.testing.assert_allclose(model.embed(given), expected, rtol=1e-5, atol=1e-6)
        with pytest.raises(DataError, match=r"values as they are, .* log of depth, log1p"):
            model.embed(raw.train)
    with pytest.raises(DataError, match="log of depth"):
        build("vae", "svi", raw).embed(data.train)


def test_values_that_are_not_known_stay_so(here: Path) -> None:
    FRAME.assign(depth=FRAME["depth"].where(FRAME["depth"] > 9)).to_csv(
        here / "wells.csv", index=False
    )
    data = load_data(written(here, **ALL))
    known = data.train.variables["x_known"]
    assert torch.equal(known[:, 0], torch.tensor((FRAME["depth"] > 9).to_numpy()))
    assert data.train.x.isfinite().all()
    assert not data.train.x[~known].any()


PROGRAM = """
import pyro, pyro.distributions as dist, torch
from torch import nn

decoder, encoder = nn.Linear(1, 3), nn.Linear(3, 2)

def model(x, rock):
    pyro.module("decoder", decoder)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0 + rock[:, None]).to_event(1), obs=x)

def guide(x, rock):
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        loc, log_scale = encoder(x).chunk(2, -1)
        pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))
"""


def test_runs_keep_the_split_and_take_no_other_values(
    here: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = written(here, **ALL)
    Path("mine.py").write_text(PROGRAM)
    words = [
        "mine.py",
        "svi",
        "--data",
        str(file),
        "--set",
        "inference.epochs=1",
        "--output",
        "run",
    ]
    assert main(["train", *words, "--device", "cpu"]) == 0
    assert '"group": "well"' in Path("run/run.json").read_text()
    assert main(["encode", "run", "--split", "test", "--output", "z.csv"]) == 0
    assert f"reads {here / 'wells.csv'}" in caplog.text
    assert len(pd.read_csv("z.csv")) == len(load_data(file).test)
    FRAME[["depth", "gene_1", "gene_2"]].to_csv("raw.csv", index=False)
    assert main(["encode", "run", "--data", "raw.csv", "--output", "raw-z.csv"]) == 2
    [said] = capsys.readouterr().err.splitlines()[-1:]
    assert "raw.csv has values as they are" in said


def test_a_path_is_never_from_the_current_folder(here: Path) -> None:
    x = FRAME[["depth"]].to_numpy()
    np.savez("x.npz", x=x)
    for source in ("x.npz", "x.npz:x", "../elsewhere.npz:x"):
        with pytest.raises(DataError, match="no file or folder"):
            load_data(written(here, source=source))
    np.savez(here / "x.npz", x=x + 1)
    require_same(load_data(written(here, source="x.npz:x")), load_data(x + 1))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no source": ({"source": None}, "source is missing"),
    "another key": ({"column": ["depth"]}, "no key 'column'; did you mean 'columns'"),
    "no such file": ({"source": "well.csv"}, "no file or folder '.*well.csv'"),
    "no such column": ({"columns": ["deep", "gene_*"]}, "no column 'deep'; did you mean 'depth'"),
    "no such pattern": ({"columns": ["genes_*"]}, r"no column 'genes_\*'"),
    "no such label": ({"labels": "rocks"}, "labels: there is no column 'rocks'"),
    "two roles": ({"labels": "depth"}, "column 'depth' is in columns and in labels"),
    "a split by a value": ({"split": {"group": "depth"}}, "'depth' is in columns and in split"),
    "no number": ({"columns": ["depth", "note"]}, "columns note do not hold numbers"),
    "no classes": ({"labels": "age"}, "column age is taken for classes"),
    "no whole number": ({"factors": ["share"]}, "column share is taken for classes"),
    "no function": ({"transforms": {"depth": "ln"}}, "transforms.depth = 'ln' is not known"),
    "of no column": ({"transforms": {"deep": "log"}}, "transforms: there is no column 'deep'"),
    "two functions": (
        {"transforms": {"gene_*": "log1p", "gene_1": "sqrt"}},
        "two functions of column 'gene_1'",
    ),
    "out of its domain": (
        {"transforms": {"gene_2": "log"}},
        r"wells.csv has 0 in observation \d+ at column gene_2, and log takes values above 0",
    ),
    "no split": ({"split": {"groups": "well"}}, "wells.toml: split has no key 'groups'"),
    "no names": (
        {"source": "digits", "labels": None, "split": None},
        "the data have no names of columns",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_is_named(here: Path, what: str) -> None:
    keys, message = WRONG[what]
    file = written(here, **{**ALL, "variables": [], "factors": [], **keys})
    with pytest.raises((DataError, SpecError), match=message) as refused:
        load_data(file)
    assert "\n" not in str(refused.value)
    with pytest.raises(SpecError, match=r"there is no file 'wells\.toml'"):
        load_data("wells.toml")
