"""AnnData: layers dense and sparse, in memory and in files, are the same observations."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from pyrovae import InferenceSpec, build, fit, load_data
from pyrovae.data import Dataset, from_arrays
from pyrovae.data.sources import Source
from pyrovae.errors import DataError

N, GENES = 40, 6
RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(1.0, (N, GENES)) * RNG.integers(1, 9, (N, 1))
REAL = np.log1p(COUNTS).astype("f4")
NAMES = tuple(f"gene {i}" for i in range(GENES))
DONORS = np.array([*"abcdefghij"])[np.arange(N) % 10]
FORMATS = {
    "array": np.asarray,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_matrix,
}


def of_object(x: Any, counts: Any = None, raw: Any = None) -> Any:
    """An object with the attributes of AnnData."""
    frame = pd.DataFrame({"donor": DONORS, "label": np.arange(N) % 3})
    layers = {} if counts is None else {"counts": counts}
    kept = None if raw is None else SimpleNamespace(X=raw, var_names=pd.Index(NAMES[:3]))
    return SimpleNamespace(
        X=x,
        layers=layers,
        raw=kept,
        obs=frame,
        var=pd.DataFrame(index=NAMES),
        obs_names=pd.Index([f"cell {i}" for i in range(N)]),
        var_names=pd.Index(NAMES),
    )


def write(path: Path, x: Any, counts: Any = None, names: tuple[str, ...] = NAMES) -> Path:
    """A file in the format that anndata documents."""
    with h5py.File(path, "w") as file:
        for name, matrix in {"X": x, "layers/counts": counts}.items():
            if isinstance(matrix, np.ndarray):
                file.create_dataset(name, data=matrix)
            elif matrix is not None:
                group = file.create_group(name)
                group.attrs.update({"encoding-type": f"{matrix.format}_matrix"})
                group.attrs["shape"] = matrix.shape
                for part in ("data", "indices", "indptr"):
                    group.create_dataset(part, data=getattr(matrix, part))
        for name, index in {"obs": [f"cell {i}" for i in range(N)], "var": names}.items():
            frame = file.create_group(name)
            frame.attrs["_index"] = "_index"
            frame.create_dataset("_index", data=[*index])
        donor = file["obs"].create_group("donor")
        kinds, codes = np.unique(DONORS, return_inverse=True)
        donor.create_dataset("categories", data=[*map(str, kinds)])
        donor.create_dataset("codes", data=codes.astype("i1"))
        file["obs"].create_dataset("label", data=np.arange(N) % 3)
    return path


def write_zarr(path: Path, x: Any, counts: Any) -> Path:
    """The same as a zarr store."""
    file = pytest.importorskip("zarr").open_group(path, mode="w")
    file.create_array("X", data=x)
    group = file.create_group("layers/counts")
    group.attrs.update({"encoding-type": "csr_matrix", "shape": counts.shape})
    for part in ("data", "indices", "indptr"):
        group.create_array(part, data=getattr(counts, part))
    for name, index in {"obs": [f"cell {i}" for i in range(N)], "var": NAMES}.items():
        frame = file.create_group(name)
        frame.attrs["_index"] = "_index"
        frame.create_array("_index", data=np.array(index, np.dtypes.StringDType()))
    donor = file["obs"].create_group("donor")
    kinds, codes = np.unique(DONORS, return_inverse=True)
    donor.create_array("categories", data=kinds.astype(np.dtypes.StringDType()))
    donor.create_array("codes", data=codes.astype("i1"))
    return path


def test_zarr_stores_hold_what_files_hold(tmp_path: Path, monkeypatch: Any) -> None:
    counts = sparse.csr_matrix(COUNTS.astype("f4"))
    path = write_zarr(tmp_path / "cells.zarr", REAL, counts)
    for most in (2**30, 0):
        for module in ("anndata", "sparse"):
            monkeypatch.setattr(f"pyrovae.data.{module}.IN_MEMORY", most)
        for source, x in {path: REAL, f"{path}:counts": COUNTS}.items():
            data = load_data(source, split={"group": "donor"})
            assert isinstance(data.train.x, Source) == (most == 0)
            assert data.train.columns == NAMES
            assert data.fingerprint() == load_data(x, split={"group": DONORS}).fingerprint()
    with pytest.raises(DataError, match=r"cells.zarr has no layer 'count'; did you mean 'counts'"):
        load_data(f"{path}:count")


def whole(split: Dataset) -> torch.Tensor:
    return split.batch(torch.arange(len(split))).x


def test_every_format_holds_the_same_counts(tmp_path: Path, monkeypatch: Any) -> None:
    expected = from_arrays(COUNTS, np.arange(N) % 3, columns=NAMES)
    for most in (2**30, 0):  # dense in memory, and batch by batch
        for module in ("anndata", "sparse"):
            monkeypatch.setattr(f"pyrovae.data.{module}.IN_MEMORY", most)
        for name, make in FORMATS.items():
            matrix = make(COUNTS.astype("f4"))
            sources = [of_object(matrix)]
            if name != "coo":
                sources.append(write(tmp_path / f"{name}{most}.h5ad", matrix))
            for source in sources:
                data = load_data(source)
                assert data.fingerprint() == expected.fingerprint(), (name, most)
                assert data.train.maximum == expected.train.maximum
                assert data.train.columns == NAMES
                assert isinstance(data.train.x, Source) == (
                    most == 0 and not (name == "array" and not isinstance(source, Path))
                )


def test_a_data_file_chooses_genes_and_classes(tmp_path: Path, monkeypatch: Any) -> None:
    write(tmp_path / "cells.h5ad", REAL, COUNTS)
    keys = 'columns = ["gene 4", "gene [12]"]\nlabels = "donor"\nvariables = ["donor"]'
    (tmp_path / "cells.toml").write_text(f'source = "cells.h5ad:counts"\n{keys}')
    for most in (2**30, 0):
        monkeypatch.setattr("pyrovae.data.anndata.IN_MEMORY", most)
        data = load_data(tmp_path / "cells.toml")
        expected = from_arrays(COUNTS[:, [4, 1, 2]], np.arange(N) % 10)
        assert data.train.columns == ("gene 4", "gene 1", "gene 2")
        assert torch.equal(whole(data.train), whole(expected.train))
        for values in (data.train.labels, data.train.variables["donor"]):
            assert torch.equal(values, expected.train.labels)


def test_rows_of_a_sparse_matrix_are_those_of_the_dense_one(monkeypatch: Any) -> None:
    monkeypatch.setattr("pyrovae.data.anndata.IN_MEMORY", 0)
    starts = np.concatenate([[0], np.full(N, 3)])  # all in the first row, one place twice
    doubled = sparse.csr_matrix(([1.5, 2.0, 4.0], [1, 1, 0], starts), shape=(N, GENES))
    assert doubled.nnz == 3
    for matrix in (sparse.csr_matrix(REAL), sparse.csr_array(REAL), doubled):
        data, dense = load_data(matrix), load_data(matrix.toarray())
        assert isinstance(data.train.x, Source)
        assert data.fingerprint() == dense.fingerprint()
        index = torch.tensor([5, 2, 2, 9, 0])
        torch.testing.assert_close(data.train.x.index_select(0, index), dense.train.x[index])


def test_layers_are_chosen_by_name(tmp_path: Path) -> None:
    counts = sparse.csr_matrix(COUNTS.astype("f4"))
    adata = of_object(REAL, counts, raw=COUNTS[:, :3])
    path = write(tmp_path / "cells.h5ad", sparse.csr_matrix(REAL), counts)
    for data in (load_data(adata, layer="counts"), load_data(f"{path}:counts")):
        torch.testing.assert_close(data.train.x, torch.from_numpy(COUNTS).float())
    for data in (load_data(adata), load_data(path)):
        assert data.train.maximum is None
        torch.testing.assert_close(data.train.x, torch.from_numpy(REAL))
    assert load_data(adata, layer="raw").train.columns == NAMES[:3]
    with pytest.raises(DataError, match=r"cells.h5ad has no layer 'count'; did you mean 'counts'"):
        load_data(f"{path}:count")


def test_cells_are_split_by_a_column_of_obs(tmp_path: Path) -> None:
    for source in (of_object(REAL), write(tmp_path / "x.h5ad", REAL)):
        data = load_data(source, split={"group": "donor"})
        sides = [{*DONORS[part.rows]} for part in data]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 10
        with pytest.raises(DataError, match="did you mean 'donor'"):
            load_data(source, split={"group": "donors"})


def test_codes_and_decoded_means_go_back_in_the_order_of_cells_and_genes() -> None:
    adata = of_object(REAL, sparse.csr_matrix(COUNTS))
    data = load_data(adata, layer="counts")
    vae = build("vae", InferenceSpec(epochs=1), data)
    assert vae.formulas().likelihood.startswith("NegativeBinomial")
    fit(vae, data)
    z = vae.embed(adata, layer="counts")
    torch.testing.assert_close(z, vae.embed(COUNTS.astype("f4")))
    assert vae.decode(z).mean.shape == adata.X.shape
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyrovae.data.anndata.IN_MEMORY", 0)
        torch.testing.assert_close(vae.embed(adata, layer="counts"), z)
    back = of_object(adata.layers["counts"][:, ::-1])
    back.var_names = adata.var_names[::-1]
    torch.testing.assert_close(vae.embed(back), z)


def test_real_values_are_refused_where_counts_are_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "cells.h5ad", REAL, COUNTS)
    poisson = {"model.likelihood.kind": "poisson"}
    data = load_data(path)
    few = InferenceSpec(epochs=1)
    said = "layer 'X' holds real values, and 'counts' counts: give cells.h5ad:counts"
    with pytest.raises(DataError, match=re.escape(said)):
        fit(build("vae", few, data, poisson), data)
    adata = of_object(REAL, COUNTS)
    with pytest.raises(DataError, match=r"p.x . z. is of whole numbers; .* give layer='counts'"):
        build("vae", few, load_data(path), poisson).embed(adata)
    assert build("vae", few, data, poisson).embed(adata, layer="counts").shape == (N, 8)


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "twice.h5ad", REAL, names=("a", "a", *NAMES[2:]))
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["x"] = REAL
    (tmp_path / "text.h5ad").write_text("no", encoding="utf-8")
    mistakes = {
        "var_names_make_unique": (path, None),
        "is no AnnData: it holds x": (tmp_path / "other.h5ad", None),
        "cannot be read as HDF5": (tmp_path / "text.h5ad", None),
        "layer = 'counts' names a layer of an AnnData object": (REAL, "counts"),
    }
    for said, (source, layer) in mistakes.items():
        with pytest.raises(DataError, match=said) as told:
            load_data(source, layer=layer)
        assert "\n" not in str(told.value)


def test_what_anndata_writes_is_read(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    obs = pd.DataFrame({"donor": pd.Categorical(DONORS)}, index=[f"cell {i}" for i in range(N)])
    adata = anndata.AnnData(REAL.copy(), obs, pd.DataFrame(index=[*NAMES]))
    adata.raw = adata.copy()
    adata.layers["counts"] = sparse.csr_matrix(COUNTS.astype("f4"))
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    for layer in (None, "raw", "counts"):
        named = f"{path}:{layer}" if layer else path
        backed = anndata.read_h5ad(path, backed="r")
        found = [load_data(adata, layer=layer), load_data(named), load_data(backed, layer=layer)]
        assert len({data.fingerprint() for data in found}) == 1
        assert {data.train.columns for data in found} == {NAMES}
    assert len(load_data(path, split={"group": "donor"}).test) == 4
    vae = build("vae", "svi", load_data(path))
    adata.obsm["X_vae"] = vae.embed(adata)
    assert adata.obsm["X_vae"].shape == (N, 8)
    torch.testing.assert_close(vae.embed(adata[::2]), adata.obsm["X_vae"][::2])
