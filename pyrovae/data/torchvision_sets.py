"""Image sets read by torchvision: the files of each, and a reader of one half.

References:
    LeCun, Bottou, Bengio and Haffner (1998), *Gradient-Based Learning Applied to Document
    Recognition*; Xiao, Rasul and Vollgraf (2017), *Fashion-MNIST*, arXiv:1708.07747; Clanuwat et
    al. (2018), *Deep Learning for Classical Japanese Literature*, arXiv:1812.01718; Cohen et al.
    (2017), *EMNIST*, arXiv:1702.05373; Lake, Salakhutdinov and Tenenbaum (2015), *Human-level
    Concept Learning through Probabilistic Program Induction*; Krizhevsky (2009), *Learning
    Multiple Layers of Features from Tiny Images*; Netzer et al. (2011), *Reading Digits in
    Natural Images with Unsupervised Feature Learning*.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Half(NamedTuple):
    """Training or test set: images ``(n, channels, height, width)`` uint8, labels ``(n,)``."""

    images: Tensor
    labels: Tensor


class ImageSet(NamedTuple):
    """One data set of torchvision.

    Args:
        address: Folder of the archives in the network; https, where torchvision has http for some.
        archives: Downloaded files, as paths below the root, with their MD5.
        unpacked: Files that torchvision unpacks from them; empty if it reads the archives.
        read: Function of ``root, train, download`` that returns one half; with ``download`` it
            unpacks archives.
    """

    address: str
    archives: dict[str, str]
    unpacked: tuple[str, ...]
    read: Callable[[str, bool, bool], Half]


def idx_set(kind: str, address: str) -> ImageSet:
    """MNIST and the sets that share its file format, ``kind`` being torchvision's class."""
    from torchvision import datasets

    constructor = getattr(datasets, kind)
    archives = {f"{kind}/raw/{file}": md5 for file, md5 in constructor.resources}

    def read(root: str, train: bool, download: bool) -> Half:
        half = constructor(root, train=train, download=download)
        return Half(half.data[:, None], half.targets)

    unpacked = tuple(file.removesuffix(".gz") for file in archives)
    return ImageSet(address, archives, unpacked, read)


def emnist() -> ImageSet:
    """The balanced letters and digits of EMNIST, put upright."""
    from torchvision.datasets import EMNIST

    def read(root: str, train: bool, download: bool) -> Half:
        half = EMNIST(root, split="balanced", train=train, download=download)
        return Half(half.data.transpose(1, 2)[:, None], half.targets)

    unpacked = tuple(
        f"EMNIST/raw/emnist-balanced-{half}-{content}-ubyte"
        for half in ("train", "test")
        for content in ("images-idx3", "labels-idx1")
    )
    address = "https://biometrics.nist.gov/cs_links/EMNIST"
    return ImageSet(address, {"EMNIST/raw/gzip.zip": EMNIST.md5}, unpacked, read)


def omniglot() -> ImageSet:
    """Handwritten characters of 50 alphabets, 30 for training, white on black at 28 x 28."""
    from torchvision.datasets import Omniglot
    from torchvision.datasets.utils import extract_archive

    def read(root: str, train: bool, download: bool) -> Half:
        archive = Path(
            root, "omniglot-py", f"images_{'background' if train else 'evaluation'}.zip"
        )
        if download and archive.exists():  # which torchvision takes for unpacked
            extract_archive(archive, archive.parent)
        half = Omniglot(root, background=train, download=download)
        # torchvision lists folders in the order of the file system: sort them instead
        files = sorted(Path(half.target_folder).glob("*/*/*.png"))
        characters = sorted({file.parent for file in files})
        rank = {character: label for label, character in enumerate(characters)}
        return Half(
            torch.stack([ink(file) for file in files]),
            torch.tensor([rank[file.parent] for file in files]),
        )

    archives = {f"omniglot-py/{half}.zip": md5 for half, md5 in Omniglot.zips_md5.items()}
    folders = tuple(archive.removesuffix(".zip") for archive in archives)
    address = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
    return ImageSet(address, archives, (*archives, *folders), read)


def ink(file: Path) -> Tensor:
    """Black strokes on white paper as white ink on black, ``(1, 28, 28)``, by averaging areas."""
    from PIL import Image

    with Image.open(file) as image:
        small = image.convert("L").resize((28, 28), Image.Resampling.BOX)
    return torch.from_numpy(255 - np.asarray(small))[None]


def cifar10() -> ImageSet:
    """Colour photographs of ten kinds of things."""
    from torchvision.datasets import CIFAR10

    def read(root: str, train: bool, download: bool) -> Half:
        with warnings.catch_warnings():  # numpy 2.4.0 to 2.4.4 warn of old pickles
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            half = CIFAR10(root, train=train, download=download)
        return Half(torch.from_numpy(half.data).permute(0, 3, 1, 2), torch.tensor(half.targets))

    batches = [*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"]]]
    unpacked = tuple(f"{CIFAR10.base_folder}/{batch[0]}" for batch in batches)
    archives = {CIFAR10.filename: CIFAR10.tgz_md5}
    return ImageSet("https://www.cs.toronto.edu/~kriz", archives, unpacked, read)


def svhn() -> ImageSet:
    """Colour photographs of house numbers."""
    from torchvision.datasets import SVHN

    def read(root: str, train: bool, download: bool) -> Half:
        half = SVHN(root, split="train" if train else "test", download=download)
        return Half(torch.from_numpy(half.data), torch.from_numpy(half.labels))

    archives = {
        file: md5 for _, file, md5 in (SVHN.split_list[half] for half in ("train", "test"))
    }
    return ImageSet("https://ufldl.stanford.edu/housenumbers", archives, (), read)


IMAGE_SETS: dict[str, Callable[[], ImageSet]] = {
    "mnist": partial(idx_set, "MNIST", "https://ossci-datasets.s3.amazonaws.com/mnist"),
    "fashion_mnist": partial(
        idx_set,
        "FashionMNIST",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    ),
    "kmnist": partial(idx_set, "KMNIST", "https://codh.rois.ac.jp/kmnist/dataset/kmnist"),
    "emnist": emnist,
    "omniglot": omniglot,
    "cifar10": cifar10,
    "svhn": svhn,
}
"""Image sets by name, each described by a function because that imports torchvision."""
