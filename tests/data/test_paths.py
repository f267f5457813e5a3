from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pyrovae.data import Dataset, load_data
from pyrovae.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 5, 4), dtype=np.uint8)


def whole(split: Dataset) -> torch.Tensor:
    return split.batch(torch.arange(len(split))).x


def save_images(folder: Path, images: np.ndarray, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03d}{suffix}")


def test_npy_files_hold_their_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    for source in (tmp_path / "x.npy", str(tmp_path / "x.npy")):
        splits = load_data(source)
        assert splits.name == "x.npy"
        assert torch.equal(splits.train.x[:, 0], torch.from_numpy(IMAGES))


def test_npz_files_of_one_array_need_no_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", anything=IMAGES)
    assert torch.equal(load_data(tmp_path / "x.npz").train.x[:, 0], torch.from_numpy(IMAGES))


def test_npz_files_of_several_arrays_need_a_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", first=IMAGES, second=IMAGES[:10])
    assert len(load_data(f"{tmp_path / 'x.npz'}:second").train.x) == 10
    with pytest.raises(DataError, match=r'x.npz holds 2 .* first, second as in "x.npz:first"'):
        load_data(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r'x.npz has no array "third": it holds first, second'):
        load_data(f"{tmp_path / 'x.npz'}:third")


@pytest.mark.parametrize("key", ["labels", "y", "target"])
def test_integers_beside_the_observations_are_their_labels(tmp_path: Path, key: str) -> None:
    np.savez(tmp_path / "x.npz", x=IMAGES, **{key: np.arange(20)})
    labels = load_data(f"{tmp_path / 'x.npz'}:x").train.labels
    assert labels is not None
    assert torch.equal(labels, torch.arange(20))


@pytest.mark.parametrize(
    "beside", [np.arange(19), np.arange(20) / 2, np.arange(40).reshape(20, 2)]
)
def test_other_arrays_beside_the_observations_are_not(
    tmp_path: Path, beside: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    np.savez(tmp_path / "x.npz", x=IMAGES, y=beside)
    assert load_data(f"{tmp_path / 'x.npz'}:x").train.labels is None
    assert "x.npz:y is not taken as the classes" in caplog.text


def test_an_array_may_have_a_colon_in_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{"a:b": IMAGES, "b": IMAGES[:10]})
    assert len(load_data(f"{tmp_path / 'x.npz'}:a:b").train.x) == 20


def test_an_array_beyond_the_memory_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "x.npz", x=IMAGES)
    monkeypatch.setattr("os.sysconf", lambda _: 8)
    with pytest.raises(DataError, match=r"x\.npz:x takes 0 GB, and this machine has 0"):
        load_data(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".gif", ".webp", ".PNG"])
def test_folders_of_grey_images_are_read_in_sorted_order(tmp_path: Path, suffix: str) -> None:
    save_images(tmp_path / "faces", IMAGES[:10], ".webp" if suffix == ".webp" else suffix)
    splits = load_data(tmp_path / "faces")
    assert splits.name == "faces"
    assert splits.train.maximum == 255
    assert splits.train.labels is None
    if suffix not in {".gif", ".webp"}:  # which store colours, or are not exact
        assert torch.equal(splits.train.x[:, 0], torch.from_numpy(IMAGES[:10]))


def test_one_colour_image_makes_the_set_colour(tmp_path: Path) -> None:
    save_images(tmp_path, IMAGES[:10])
    assert load_data(tmp_path).train.shape == (1, 5, 4)
    Image.fromarray(np.full((5, 4, 3), (9, 8, 7), dtype=np.uint8)).save(tmp_path / "z.png")
    x = load_data(tmp_path).train.x
    assert torch.equal(x[-1], torch.tensor([9, 8, 7]).expand(5, 4, 3).permute(2, 0, 1))
    assert torch.equal(x[0], torch.from_numpy(IMAGES[0]).expand(3, 5, 4))


def test_black_and_white_images_keep_the_range_of_grey_ones(tmp_path: Path) -> None:
    for i in range(10):
        Image.fromarray(IMAGES[i] > 99).save(tmp_path / f"{i}.png")
    split = load_data(tmp_path).train
    assert split.maximum == 255
    assert split.x.unique().tolist() == [0, 255]


def test_sixteen_bits_are_rescaled_to_eight(tmp_path: Path) -> None:
    save_images(tmp_path, IMAGES[:10].astype(np.uint16) * 256 + 17)
    assert torch.equal(load_data(tmp_path).train.x[:, 0], torch.from_numpy(IMAGES[:10]))


def test_opaque_images_are_what_they_show(tmp_path: Path) -> None:
    for number, image in enumerate(IMAGES[:10]):
        opaque = np.dstack([image] * 3 + [np.full((5, 4), 255, np.uint8)])
        Image.fromarray(opaque).save(tmp_path / f"{number}.png")
    seen = load_data(tmp_path).train.x
    assert torch.equal(seen, torch.from_numpy(IMAGES[:10])[:, None].expand(-1, 3, -1, -1))


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_photographs_are_put_upright(tmp_path: Path, orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number, image in enumerate(IMAGES[:10]):
        Image.fromarray(image).save(tmp_path / f"{number}.png", exif=exif)
    upright = np.rot90(IMAGES[:10], turns, axes=(1, 2)).copy()
    assert torch.equal(load_data(tmp_path).train.x[:, 0], torch.from_numpy(upright))


def test_an_image_beside_the_folders_of_the_classes_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_images(tmp_path / "ant", IMAGES[:10])
    save_images(tmp_path / "cat", IMAGES[10:])
    assert load_data(tmp_path).train.labels is not None
    assert caplog.text == ""
    Image.fromarray(IMAGES[0]).save(tmp_path / "stray.png")
    assert load_data(tmp_path).train.labels is None
    assert "has no classes: stray.png lies in no sub-folder" in caplog.text


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", ".git/objects", "ant/.thumbnails"])
def test_hidden_folders_are_neither_data_nor_classes(tmp_path: Path, hidden: str) -> None:
    for name in ("ant", "cat", hidden):
        save_images(tmp_path / name, IMAGES[:10])
    splits = load_data(tmp_path)
    assert len(splits.train.x) == 20
    assert splits.train.labels is not None
    assert splits.train.labels.unique().tolist() == [0, 1]


def test_sorted_sub_folders_are_the_labels(tmp_path: Path) -> None:
    for name, n in (("dog", 4), ("ant", 5), ("cat", 6)):
        save_images(tmp_path / name, IMAGES[:n])
    labels = load_data(tmp_path).train.labels
    assert labels is not None
    assert labels.bincount().tolist() == [5, 6, 4]


def test_hidden_files_and_texts_are_no_images(tmp_path: Path) -> None:
    save_images(tmp_path, IMAGES[:10])
    (tmp_path / "._000.png").write_bytes(b"metadata of another system")
    (tmp_path / "notes.txt").write_text("ten images")
    assert len(load_data(tmp_path).train.x) == 10


def mixed_sizes(folder: Path) -> None:
    save_images(folder, IMAGES[:10])
    save_images(folder / "more", IMAGES[:1, :, :3])


def damaged(folder: Path) -> None:
    save_images(folder, IMAGES[:10])
    (folder / "005.png").write_bytes((folder / "005.png").read_bytes()[:60])


def with_another(name: str, image: Image.Image, **options: Any) -> Callable[[Path], None]:
    """Ten images, and one more."""

    def prepare(folder: Path) -> None:
        save_images(folder, IMAGES[:10])
        image.save(folder / name, **options)

    return prepare


CLEAR = Image.fromarray(np.dstack([IMAGES[0]] * 3 + [np.zeros((5, 4), np.uint8)]))
FRAMES = {"save_all": True, "append_images": [Image.fromarray(x) for x in IMAGES[1:3]]}
WIDE = np.arange(20).reshape(5, 4).astype(np.int32) * 9000
WRONG_FOLDERS = {
    "32-bit numbers": (
        with_another("z.tif", Image.fromarray(WIDE)),
        r"z.tif holds 32-bit numbers: give such images as one \.npy file",
    ),
    "transparent": (with_another("z.png", CLEAR), "z.png has transparent pixels"),
    "half transparent": (
        with_another("z.webp", CLEAR.convert("RGBA"), lossless=True, exact=True),
        "z.webp has transparent pixels",
    ),
    "an animation": (
        with_another("z.gif", Image.fromarray(IMAGES[0]), **FRAMES),
        "z.gif holds 3 images: give each as a file",
    ),
    "pages": (
        with_another("z.tif", Image.fromarray(IMAGES[0]), **FRAMES),
        "z.tif holds 3 images",
    ),
    "real numbers": (
        lambda folder: save_images(folder, IMAGES[:10] / np.float32(255), ".tif"),
        "000.tif holds real numbers: give such images as one .npy file",
    ),
    "mixed sizes": (mixed_sizes, r"000.png has 4 x 5 pixels but .*more/000.png has 3 x 5: "),
    "damaged image": (damaged, "005.png cannot be read as an image: replace or remove it"),
    "one image": (lambda folder: save_images(folder, IMAGES[:1]), "holds 1 observations"),
    "nine images": (lambda folder: save_images(folder, IMAGES[:9]), "holds 9 .* at least 10"),
    "no images": (lambda folder: folder.mkdir(), "faces holds no images .*png"),
}


@pytest.mark.parametrize(("prepare", "sentence"), WRONG_FOLDERS.values(), ids=WRONG_FOLDERS)
def test_unusable_folders_are_refused_in_one_sentence(
    tmp_path: Path, prepare: object, sentence: str
) -> None:
    prepare(tmp_path / "faces")  # type: ignore[operator]
    with pytest.raises(DataError, match=sentence):
        load_data(tmp_path / "faces")


def truncated_npz(file: Path) -> None:
    np.savez_compressed(file, x=IMAGES)
    file.write_bytes(file.read_bytes()[:-30])


def damaged_npz(file: Path) -> None:
    np.savez_compressed(file, x=IMAGES)
    content = bytearray(file.read_bytes())
    content[60:300] = bytes(240)
    file.write_bytes(content)


def renamed_npy(file: Path) -> None:
    np.save(file.with_suffix(".npy"), IMAGES)
    file.with_suffix(".npy").rename(file)


def encrypted(file: Path) -> None:
    """The flag alone is enough for a reader to ask for the password."""
    np.savez(file, x=IMAGES)
    content = bytearray(file.read_bytes())
    for start, flags in ((content.index(b"PK\x03\x04"), 6), (content.index(b"PK\x01\x02"), 8)):
        content[start + flags] |= 1
    file.write_bytes(content)


def compressed_otherwise(file: Path) -> None:
    np.savez(file, x=IMAGES)
    content = bytearray(file.read_bytes())
    for start, method in ((content.index(b"PK\x03\x04"), 8), (content.index(b"PK\x01\x02"), 10)):
        content[start + method] = 99
    file.write_bytes(content)


def with_header(text: str) -> Callable[[Path], object]:
    """An ``.npy`` file whose header is this text."""
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    return lambda file: file.write_bytes(head + bytes(80))


ABSURD = "{'descr': '|u1', 'fortran_order': False, 'shape': (%s,)}\n"
OBJECTS = np.full((20, 3), None)
WRONG_FILES = {
    "a.npy": (lambda file: file.write_bytes(b""), "a.npy cannot be read"),
    "b.npy": (lambda file: file.write_bytes(b"no array"), "b.npy cannot be read"),
    "c.npy": (lambda file: np.save(file, OBJECTS), r"c.npy cannot be read \(Object arrays"),
    "d.npz": (lambda file: np.savez(file, x=OBJECTS), r"d.npz:x cannot be read \(Object arrays"),
    "e.npz": (lambda file: file.write_bytes(b"PK no archive"), "e.npz is not an .npz file"),
    "f.npz": (truncated_npz, "f.npz is not .* damaged one"),
    "g.npz": (damaged_npz, "g.npz:x cannot be read"),
    "h.npz": (renamed_npy, "h.npz is not an .npz file"),
    "i.npz": (lambda file: np.savez(file), "i.npz holds 0 arrays"),
    "j.npy": (lambda file: np.save(file, IMAGES[:1]), "j.npy holds 1 observations"),
    "m.npy": (with_header(ABSURD % 10**15), "m.npy cannot be read"),
    "n.npy": (with_header(ABSURD % 10**30), "n.npy cannot be read"),
    "o.npy": (with_header("{'descr': (((\n"), "o.npy cannot be read"),
    "p.npz": (encrypted, "p.npz:x cannot be read .*encrypted"),
    "q.npz": (compressed_otherwise, "q.npz:x cannot be read"),
    "r.npy": (os.mkfifo, "r.npy is neither a file nor a folder"),
    "s.npz": (
        lambda file: np.savez(file, x=IMAGES, y=np.full(20, 2**64 - 1, np.uint64)),
        "s.npz:y has the value 18446744073709551615",
    ),
    "t.csv": (lambda file: file.write_bytes(bytes(range(256))), "t.csv cannot be read"),
    "k.png": (lambda file: Image.fromarray(IMAGES[0]).save(file), "is a single image"),
    "l.txt": (lambda file: file.write_text("1,2"), "l.txt cannot be read as data: give an .npy"),
}


@pytest.mark.parametrize(
    ("file", "prepare", "sentence"), [(k, *v) for k, v in WRONG_FILES.items()]
)
def test_unusable_files_are_refused_in_one_sentence(
    tmp_path: Path, file: str, prepare: object, sentence: str
) -> None:
    prepare(tmp_path / file)  # type: ignore[operator]
    with pytest.raises(DataError, match=sentence):
        load_data(tmp_path / file)


def test_factors_beside_the_observations_are_known_in_every_split(tmp_path: Path) -> None:
    factors = np.stack([np.arange(20) % 3, np.arange(20) // 3], 1)
    names = np.array(["shape", "größe"])
    np.savez(tmp_path / "x.npz", x=IMAGES, factors=factors, factor_names=names)
    for split in load_data(f"{tmp_path / 'x.npz'}:x"):
        assert split.factors is not None
        assert split.factors.names == ("shape", "größe")
        assert torch.equal(split.factors.classes, torch.from_numpy(factors))


def test_factors_without_names_are_numbered(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=IMAGES, factors=np.zeros((20, 2), dtype=np.uint8))
    known = load_data(f"{tmp_path / 'x.npz'}:x").train.factors
    assert known is not None
    assert known.names == ("factor 1", "factor 2")


def test_data_may_be_called_factors(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", factors=IMAGES)
    assert load_data(tmp_path / "x.npz").train.factors is None


@pytest.mark.parametrize(
    "factors",
    [np.arange(20), np.zeros((19, 2), int), np.zeros((20, 2)), np.zeros((20, 0), int)],
    ids=["one axis", "too few", "real numbers", "none"],
)
def test_factors_that_do_not_fit_are_refused(tmp_path: Path, factors: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", x=IMAGES, factors=factors)
    with pytest.raises(DataError, match=r"x.npz:x has factors of shape .* give an integer .*20"):
        load_data(f"{tmp_path / 'x.npz'}:x")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (np.array(["a"]), "has 2 factors and the names a: give each"),
        (np.array(["a", "a"]), "has 2 factors and the names a, a: give each"),
        (np.array([1, 2]), "factor_names has shape .2,. and type int64: give one string"),
        (np.array([["a", "b"]]), "factor_names has shape .1, 2. .*: give one string"),
    ],
)
def test_names_that_do_not_fit_the_factors_are_refused(
    tmp_path: Path, names: np.ndarray, message: str
) -> None:
    np.savez(tmp_path / "x.npz", x=IMAGES, factors=np.zeros((20, 2), int), factor_names=names)
    with pytest.raises(DataError, match=message):
        load_data(f"{tmp_path / 'x.npz'}:x")
