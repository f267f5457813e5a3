"""Folders whose images are decoded when they are needed hold what they hold in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pyrovae import build, fit, load_data
from pyrovae.data import Splits, folders
from pyrovae.data.binarise import binarise
from pyrovae.data.sources import Source
from pyrovae.errors import DataError
from pyrovae.evaluation.support_check import check_support

N = 24
RNG = np.random.default_rng(0)
GREY, COLOUR = (RNG.integers(0, 256, (N, 5, 4, *more), dtype=np.uint8) for more in ((), (3,)))
ON_ITS_SIDE = Image.Exif()
ON_ITS_SIDE[folders.ORIENTATION] = 6


def saved(folder: Path, images: np.ndarray, classes: int = 0, suffix: str = ".png") -> Path:
    for i, image in enumerate(images):
        file = folder / (f"class {i % classes}" if classes else "") / f"{i:03d}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return folder


def turned(folder: Path) -> Path:
    """Photographs of which every second one lies on its side."""
    for i, image in enumerate(saved(folder, COLOUR).iterdir()):
        if i % 2:
            Image.open(image).transpose(Image.Transpose.ROTATE_90).save(image, exif=ON_ITS_SIDE)
    return folder


def wide(folder: Path) -> Path:
    return saved(folder, GREY.astype(np.uint16) * 256 + 255)


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "grey": lambda folder: saved(folder, GREY),
    "colour": lambda folder: saved(folder, COLOUR, classes=3),
    "square": lambda folder: saved(folder, GREY[:, :4]),
    "jpeg": lambda folder: saved(folder, COLOUR, suffix=".jpg"),
    "turned": turned,
    "sixteen bits": wide,
    "mixed": lambda folder: saved(saved(folder, COLOUR[:5], suffix=".bmp"), GREY),
}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Splits]:
    """Read a folder as if it were larger than may be in memory."""

    def read(folder: Path) -> Splits:
        with monkeypatch.context() as patch:
            patch.setattr(folders, "IN_MEMORY", 0)
            return load_data(folder)

    return read


def stored(splits: Splits) -> Tensor:
    return splits.train.x.index_select(0, torch.arange(len(splits.train.x)))


def test_images_are_those_in_memory(tmp_path: Path, large: Callable[[Path], Splits]) -> None:
    for kind, save in FOLDERS.items():
        folder = save(tmp_path / kind)
        memory, apart = load_data(folder), large(folder)
        assert isinstance(apart.train.x, Source), kind
        assert torch.equal(stored(apart), stored(memory)), kind
        assert repr(apart) == repr(memory)
        for one, other in zip(memory, apart, strict=True):
            assert torch.equal(one.rows, other.rows)


def test_training_gives_the_same_bits(tmp_path: Path, large: Callable[[Path], Splits]) -> None:
    folder = saved(tmp_path / "faces", GREY)
    settings = {"inference.epochs": 2, "inference.batch_size": 7}
    weights = []
    for data in (load_data(folder), large(folder)):
        vae = build("vae", "svi", data, settings)
        fit(vae, data, progress=False)
        weights.append(vae.state_dict())
    for name, values in weights[0].items():
        assert torch.equal(values, weights[1][name]), name


def test_nothing_is_decoded_before_it_is_needed(
    tmp_path: Path, large: Callable[[Path], Splits], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    own = folders.pixels
    monkeypatch.setattr(
        folders, "pixels", lambda file, mode: (decoded.append(file.name), own(file, mode))[1]
    )
    data = large(saved(tmp_path / "faces", GREY))
    assert decoded == []
    data.fingerprint()
    assert decoded == [f"{i:03d}.png" for i in range(16)]
    decoded.clear()
    data.train.x.index_select(0, torch.tensor([7, 3, 7]))
    assert decoded == ["003.png", "007.png"]
    vae = build("vae", "svi", data)
    seen = vae.contract.apply(data).train
    decoded.clear()
    check_support(vae, seen)  # of the first, which shows that no byte is outside
    assert len(decoded) == 1


def test_a_fingerprint_tells_other_images_and_not_another_place_or_date(
    tmp_path: Path, large: Callable[[Path], Splits]
) -> None:
    first, copy, other = (saved(tmp_path / name, GREY) for name in "abc")
    for file in copy.iterdir():
        os.utime(file, ns=(0, 0))
    Image.fromarray(255 - GREY[-1]).save(other / f"{N - 1:03d}.png")
    found = [large(folder).fingerprint() for folder in (first, copy, other)]
    assert found[0] == found[1] != found[2]


def test_a_fingerprint_tells_bits_from_grey_values(
    tmp_path: Path, large: Callable[[Path], Splits]
) -> None:
    data = large(saved(tmp_path / "faces", GREY))
    bits = binarise(data, "threshold")
    assert bits.train.x.dtype == data.train.x.dtype
    assert bits.fingerprint() != data.fingerprint()


def test_an_image_that_is_changed_or_removed_meanwhile_is_named(
    tmp_path: Path, large: Callable[[Path], Splits]
) -> None:
    data = large(saved(tmp_path / "faces", GREY))
    changed, removed = (tmp_path / "faces" / f"{i:03d}.png" for i in (3, 5))
    Image.fromarray(GREY[4] // 2).save(changed)
    removed.unlink()
    for i, sentence in ((3, r"003\.png has changed since"), (5, r"005\.png is no longer there")):
        data.train.x.read_ahead(torch.tensor([i]))  # type: ignore[union-attr]
        for _ in range(2):  # from the thread that reads ahead, and asked for again
            with pytest.raises(DataError, match=sentence):
                data.train.x.index_select(0, torch.tensor([i]))
        with pytest.raises(DataError, match=r"has changed|is no longer there"):
            data.fingerprint()


def test_transparent_and_damaged_images_are_named_when_they_are_decoded(
    tmp_path: Path, large: Callable[[Path], Splits]
) -> None:
    folder = saved(tmp_path / "faces", GREY[:, :4])
    Image.new("RGBA", (4, 4), (1, 2, 3, 0)).save(folder / "003.png")
    (folder / "005.png").write_bytes((folder / "005.png").read_bytes()[:60])
    for i, sentence in ((3, "003.png has transparent"), (5, "005.png cannot be read as an image")):
        with pytest.raises(DataError, match=sentence):
            large(folder).train.x.index_select(0, torch.tensor([i]))
