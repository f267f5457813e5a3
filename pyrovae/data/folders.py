"""Folders of images: one observation per file, one label per sub-folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyrovae.data.arrays import from_arrays
from pyrovae.data.dataset import Splits
from pyrovae.data.values import Array
from pyrovae.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B"})


class Header(NamedTuple):
    """Size and mode of an image, from the header of its file."""

    size: tuple[int, int]
    mode: str


def read_folder(folder: Path) -> Splits:
    """Read a folder of equally large images, grey only if all of them are.

    Args:
        folder: Images as files, or sub-folders of images; then the sorted names of the
            sub-folders are the labels 0, 1, ...

    Raises:
        DataError: If there are fewer than ten images, an image cannot be read, or two images
            differ in size.
    """
    files = image_files(folder)
    if not files:
        raise DataError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    headers = [header(file) for file in files]
    check_headers(files, headers)
    is_grey = all(mode in GREY_MODES for _, mode in headers)
    images = np.stack([pixels(file, "L" if is_grey else "RGB") for file in files])
    return from_arrays(images, labels_of(files, folder), name=folder.name, maximum=255.0)


def image_files(folder: Path) -> list[Path]:
    """Image files at any depth, in sorted order, without hidden ones."""
    return sorted(
        file
        for file in folder.rglob("*")
        if is_image(file) and not file.name.startswith(".") and file.is_file()
    )


def is_image(file: Path) -> bool:
    """Return True if a file has the suffix of an image."""
    return file.suffix.lower() in SUFFIXES


def labels_of(files: Sequence[Path], folder: Path) -> Array | None:
    """Rank of every file's sub-folder among all sub-folders, if every file lies in one."""
    insides = [file.relative_to(folder).parts for file in files]
    if any(len(parts) == 1 for parts in insides):
        return None
    names = [parts[0] for parts in insides]
    classes = sorted(set(names))
    return np.array([classes.index(name) for name in names])


def check_headers(files: Sequence[Path], headers: Sequence[Header]) -> None:
    """Refuse images of real numbers, and images of different sizes, naming two of them."""
    for file, (size, mode) in zip(files, headers, strict=True):
        if size != headers[0].size:
            raise DataError(
                f"{files[0]} has {headers[0].size[0]} x {headers[0].size[1]} pixels but {file} "
                f"has {size[0]} x {size[1]}: bring all images to one size"
            )
        if mode == "F":
            raise DataError(f"{file} holds real numbers: give such images as one .npy file")


def header(file: Path) -> Header:
    """Size and mode of an image, without reading its pixels."""
    with opened(file) as image:
        return Header(image.size, image.mode)


def pixels(file: Path, mode: str) -> Array:
    """Intensities 0 to 255, ``(height, width)`` in mode L, ``(height, width, 3)`` in mode RGB."""
    with opened(file) as image:
        return np.asarray(eight_bits(image).convert(mode))


def eight_bits(image: Image.Image) -> Image.Image:
    """Rescale sixteen-bit intensities, which PIL would cut off at 255."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) // 256).astype(np.uint8))


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """Open an image; raise a one-sentence error if PIL cannot read it."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image: replace or remove it") from error
