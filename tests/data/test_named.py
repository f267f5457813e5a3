from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyrovae.data import dsprites, load_data
from pyrovae.data.dsprites import FILE
from pyrovae.data.named import NAMES
from pyrovae.errors import DataError


def test_importing_the_data_layer_imports_no_reader_library() -> None:
    program = (
        "import sys, pyrovae.data; "
        "sys.exit(any(name in sys.modules for name in ('torchvision', 'sklearn', 'PIL')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_digits_are_grey_images_of_sixteen_levels() -> None:
    splits = load_data()
    assert [len(split) for split in splits] == [1257, 180, 360]
    assert splits.train.shape == (1, 8, 8)
    assert splits.train.levels == splits.train.x.max() == 16
    assert torch.equal(torch.cat([s.rows for s in splits]).sort().values, torch.arange(1797))


def test_digits_of_one_class_look_alike() -> None:
    train = load_data("digits").train
    index = torch.arange(len(train))
    x, y = train.batch(index).x.flatten(1), train.label(index)
    assert y is not None
    means = torch.stack([x[y == digit].mean(0) for digit in range(10)])
    nearest = torch.cdist(x, means).argmin(1)
    assert (nearest == y).float().mean() > 0.85  # chance is 0.1


def test_loading_leaves_the_global_random_stream_untouched() -> None:
    before = torch.get_rng_state()
    first = load_data("digits").fingerprint()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert load_data("digits").fingerprint() == first


def test_an_unknown_name_is_answered_with_the_nearest_or_the_list() -> None:
    with pytest.raises(DataError, match=r"'minst' is neither .*; did you mean 'mnist'\?"):
        load_data("minst")
    with pytest.raises(DataError, match=r"'qqq' is neither .*; choose one of: digits, mnist"):
        load_data("qqq")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
@pytest.mark.usefixtures("no_network")
def test_missing_data_are_named_with_the_place_for_their_files(name: str, tmp_path: Path) -> None:
    reason = rf"{name} is not in {tmp_path} and could not be downloaded \(.*no network.*\): put "
    with pytest.raises(DataError, match=rf"{reason}.*\.(gz|zip|mat|npz) into {tmp_path}"):
        load_data(name, root=tmp_path)
    with pytest.raises(
        DataError, match=f"{name} is not in {tmp_path} and may not be downloaded: "
    ):
        load_data(name, root=tmp_path, download=False)


def save_dsprites(file: Path, n: int = 30) -> None:
    images = np.random.default_rng(0).integers(0, 2, (n, 64, 64), dtype=np.uint8)
    classes = np.arange(6 * n).reshape(n, 6)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, imgs=images, latents_classes=classes, metadata=np.array({"a": 1}, object))


@pytest.mark.parametrize("place", [".", "dsprites"])
def test_dsprites_are_bits_labelled_by_shape(tmp_path: Path, place: str) -> None:
    save_dsprites(tmp_path / place / FILE)
    splits = load_data("dsprites", root=tmp_path, download=False)
    assert [len(split) for split in splits] == [24, 3, 3]
    assert splits.train.shape == (1, 64, 64)
    assert splits.train.levels == 1
    assert splits.train.x is splits.test.x
    assert torch.equal(splits.train.labels, torch.arange(30) * 6 + 1)
    known = splits.train.factors
    assert known is not None
    assert known.names == ("shape", "scale", "orientation", "x", "y")
    assert torch.equal(known.classes, torch.arange(180).reshape(30, 6)[:, 1:])


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The file in the network."""
    save_dsprites(tmp_path / "network" / FILE)
    content = (tmp_path / "network" / FILE).read_bytes()
    monkeypatch.setattr(dsprites, "MD5", hashlib.md5(content).hexdigest())
    return content


def test_a_download_that_was_cut_is_repeated(
    tmp_path: Path, original: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Iterator[Any] = iter([original[:-9], OSError("cut"), original])

    def urlopen(address: str) -> io.BytesIO:
        assert address.startswith("https://")
        if isinstance(answer := next(answers), OSError):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    load_data("dsprites", root=tmp_path / "data")
    assert [file.name for file in (tmp_path / "data").iterdir()] == [FILE]
    assert (tmp_path / "data" / FILE).read_bytes() == original


@pytest.mark.usefixtures("original")
def test_another_file_than_the_one_that_is_wanted_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    page = b"<html>sign in</html>"
    monkeypatch.setattr(urllib.request, "urlopen", lambda _: io.BytesIO(page))
    with pytest.raises(DataError, match=r"could not be downloaded \(its MD5 is .*: put dsprites"):
        load_data("dsprites", root=tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
    assert f"downloads dsprites to {tmp_path / 'data'}" in caplog.text


@pytest.mark.usefixtures("original")
def test_dsprites_are_downloaded_once(tmp_path: Path, serve: object) -> None:
    serve(tmp_path / "network")  # type: ignore[operator]
    downloaded = load_data("dsprites", root=tmp_path / "data")
    assert [file.name for file in (tmp_path / "data").iterdir()] == [FILE]
    again = load_data("dsprites", root=tmp_path / "data", download=False)
    assert again.fingerprint() == downloaded.fingerprint()


def test_dsprites_without_images_name_what_the_file_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / FILE, images=np.zeros((20, 64, 64)))
    with pytest.raises(DataError, match=f'{FILE} has no array "imgs": it holds images'):
        load_data("dsprites", root=tmp_path)
