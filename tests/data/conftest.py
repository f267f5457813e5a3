"""Small sets in the official file formats, and a network that is not there."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets as official
from PIL import Image

TRAIN, TEST = 12, 6


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def real_data() -> Path:
    """Folder of real data sets, named by PYROVAE_DATA."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("PYROVAE_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set PYROVAE_DATA")
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


class Response(io.BytesIO):
    """What urlopen returns for a file of this length."""

    def __init__(self, url: str, content: bytes) -> None:
        super().__init__(content)
        self.url, self.length = url, len(content)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """A network that holds the files of one folder and nothing else."""

    def start(folder: Path) -> None:
        def answer(request: str | urllib.request.Request, **_: object) -> Response:
            url = request if isinstance(request, str) else request.full_url
            return Response(url, next(folder.rglob(url.rpartition("/")[2])).read_bytes())

        monkeypatch.setattr(urllib.request, "urlopen", answer)

    return start


def grey_images(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)


def mixed_labels(n: int) -> np.ndarray:
    return (np.arange(n, dtype=np.uint8) * 7) % 10


def idx_gz(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(header + array.tobytes())


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def put(file: Path, content: bytes) -> str:
    """Write a file and return its MD5."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return md5(content)


def put_mnist(root: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "MNIST") -> None:
    contents = {
        "train-images-idx3-ubyte.gz": grey_images(TRAIN),
        "train-labels-idx1-ubyte.gz": mixed_labels(TRAIN),
        "t10k-images-idx3-ubyte.gz": grey_images(TEST),
        "t10k-labels-idx1-ubyte.gz": mixed_labels(TEST),
    }
    resources = [
        (file, put(root / kind / "raw" / file, idx_gz(array))) for file, array in contents.items()
    ]
    monkeypatch.setattr(getattr(official, kind), "resources", resources)


def put_emnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for half, n in (("train", TRAIN), ("test", TEST)):
            stem = f"gzip/emnist-balanced-{half}"
            transposed = grey_images(n).transpose(0, 2, 1)
            archive.writestr(f"{stem}-images-idx3-ubyte.gz", idx_gz(transposed))
            archive.writestr(f"{stem}-labels-idx1-ubyte.gz", idx_gz(mixed_labels(n)))
    found = put(root / "EMNIST/raw/gzip.zip", buffer.getvalue())
    monkeypatch.setattr(official.EMNIST, "md5", found)


def put_omniglot(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters of one left column of ink, ``rank`` pixels of four wide, on white paper."""
    found = {}
    for half, n in (("images_background", TRAIN), ("images_evaluation", TEST)):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for i in reversed(range(n)):
                paper = np.full((112, 112), 255, dtype=np.uint8)
                paper[:, : 1 + i // 3] = 0
                png = io.BytesIO()
                Image.fromarray(paper).convert("1").save(png, "PNG")
                name = f"{half}/Greek/character{i // 3:02d}/{i:04d}.png"
                archive.writestr(name, png.getvalue())
        found[half] = put(root / f"omniglot-py/{half}.zip", buffer.getvalue())
    monkeypatch.setattr(official.Omniglot, "zips_md5", found)


def put_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    lists: dict[str, list[list[str]]] = {"train_list": [], "test_list": []}
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:

        def add(file: str, entry: dict[str, Any]) -> str:
            content = pickle.dumps(entry, protocol=2)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{file}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            return md5(content)

        for part, file, n in (
            ("train_list", "data_batch_1", TRAIN),
            ("test_list", "test_batch", TEST),
        ):
            entry = {"data": colour_images(n).reshape(n, -1), "labels": mixed_labels(n).tolist()}
            lists[part].append([file, add(file, entry)])
        meta = {"filename": "batches.meta", "key": "label_names"}
        meta["md5"] = add("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(official.CIFAR10, "train_list", lists["train_list"])
    monkeypatch.setattr(official.CIFAR10, "test_list", lists["test_list"])
    monkeypatch.setattr(official.CIFAR10, "meta", meta)
    found = put(root / "cifar-10-python.tar.gz", buffer.getvalue())
    monkeypatch.setattr(official.CIFAR10, "tgz_md5", found)


def colour_images(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)


def put_svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for half, n in (("train", TRAIN), ("test", TEST)):
        buffer = io.BytesIO()
        labels = np.where(mixed_labels(n) == 0, 10, mixed_labels(n))[:, None]
        scipy.io.savemat(buffer, {"X": colour_images(n).transpose(2, 3, 1, 0), "y": labels})
        file = f"{half}_32x32.mat"
        found[half] = [f"http://nowhere/{file}", file, put(root / file, buffer.getvalue())]
    monkeypatch.setattr(official.SVHN, "split_list", found)


PUT: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "mnist": put_mnist,
    "fashion_mnist": lambda root, monkeypatch: put_mnist(root, monkeypatch, "FashionMNIST"),
    "kmnist": lambda root, monkeypatch: put_mnist(root, monkeypatch, "KMNIST"),
    "emnist": put_emnist,
    "omniglot": put_omniglot,
    "cifar10": put_cifar10,
    "svhn": put_svhn,
}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write the archives of an image set, 12 training and 6 test images, and return the root."""

    def write(name: str) -> Path:
        PUT[name](tmp_path, monkeypatch)
        return tmp_path

    return write
