"""Image sets read by torchvision, from local files or else from the network."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

from pyrovae.data.dataset import Splits
from pyrovae.data.download import downloading, fetch, find
from pyrovae.data.splitting import official_rows, split
from pyrovae.data.torchvision_sets import IMAGE_SETS, Half, ImageSet
from pyrovae.errors import DataError


class Halves(NamedTuple):
    """The official training and test sets."""

    train: Half
    test: Half


def read_image_set(name: str, root: Path, *, download: bool) -> Splits:
    """Read the image set ``name`` with its official test set.

    Files below ``root`` or ``root/name`` are used as they are, and nothing is written beside
    them; only if there are none is the set downloaded to ``root``.

    Raises:
        DataError: If the files are corrupted, or missing and cannot be downloaded.
    """
    described = IMAGE_SETS[name]()
    train, test = read_halves(name, described, root, download=download)
    return split(
        name,
        torch.cat([train.images, test.images]),
        torch.cat([train.labels, test.labels]).long(),
        rows=official_rows(train.labels, len(test.labels)),
        maximum=255.0,
    )


def read_halves(name: str, described: ImageSet, root: Path, *, download: bool) -> Halves:
    """Read both halves from unpacked files, from archives, or from the network."""
    if described.unpacked and (place := find(name, root, described.unpacked)):
        return read_unpacked(name, described, place)
    if place := find(name, root, described.archives):
        return read_archives(described, place)
    with downloading(name, root, described.archives, allowed=download):
        for file, md5 in described.archives.items():
            if not (root / file).exists():
                fetch(f"{described.address}/{Path(file).name}", root / file, md5)
        return both_halves(described, root, unpack=True)


def read_unpacked(name: str, described: ImageSet, place: Path) -> Halves:
    """Read files that were unpacked before."""
    try:
        return both_halves(described, place, unpack=False)
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        raise DataError(f"{name} in {place} cannot be read ({error}): delete it") from error


def read_archives(described: ImageSet, place: Path) -> Halves:
    """Unpack archives in a temporary folder of symbolic links to them, and read the result."""
    for file, md5 in described.archives.items():
        check_md5(place / file, md5)
    with tempfile.TemporaryDirectory() as temporary:
        for file in described.archives:
            link = Path(temporary, file)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((place / file).resolve())
        return both_halves(described, Path(temporary), unpack=True)


def both_halves(described: ImageSet, place: Path, *, unpack: bool) -> Halves:
    """Read both halves by torchvision, which unpacks them if needed."""
    train, test = (described.read(str(place), train, unpack) for train in (True, False))
    return Halves(train, test)


def check_md5(file: Path, expected: str) -> None:
    """Refuse a corrupted archive, which torchvision would try to download again."""
    from torchvision.datasets.utils import calculate_md5

    found = calculate_md5(file)
    if found != expected:
        raise DataError(
            f"{file} is corrupted (its MD5 is {found}, that of the original {expected}): delete "
            f"it to download it again"
        )
