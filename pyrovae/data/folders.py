"""Folders of images: one observation per file, one label per sub-folder."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyrovae.data.arrays import from_arrays
from pyrovae.data.dataset import Splits
from pyrovae.data.from_reader import from_reader
from pyrovae.data.sources import IN_MEMORY
from pyrovae.data.values import Array
from pyrovae.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger("pyrovae")

ORIENTATION = 0x0112  # a tag of EXIF
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B"})


class Header(NamedTuple):
    """Size and mode of an image, from the header of its file."""

    size: tuple[int, int]
    mode: str


class ImageRows:
    """Images as rows, each decoded when it is needed.

    Args:
        files: Files of equally large images.
        mode: "L" for grey, "RGB" for coloured ones.
        shape: Shape of the pixels of an image.
    """

    def __init__(self, files: Sequence[Path], mode: str, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = (len(files), *shape), np.dtype(np.uint8)
        self._files, self._mode = files, mode
        self._states = np.array([state(file) for file in files])

    def read(self, index: Array) -> Array:
        """Images at increasing indices.

        Raises:
            DataError: One cannot be read, is transparent, or has changed meanwhile.
        """
        found = np.empty((len(index), *self.shape[1:]), self.dtype)
        for place, i in enumerate(index.tolist()):
            found[place] = pixels(self._unchanged(i), self._mode)
        return found

    def digest(self) -> bytes:
        """SHA-256 over the bytes of the files, which are not decoded.

        It is that of a copy elsewhere too, which sizes and dates would not be, and reading takes
        a small part of the time of decoding.
        """
        total = hashlib.sha256()
        for i in range(len(self._files)):
            total.update(hashlib.sha256(self._unchanged(i).read_bytes()).digest())
        return total.digest()

    def _unchanged(self, i: int) -> Path:
        file = self._files[i]
        if state(file) != tuple(self._states[i]):
            raise DataError(f"{file} has changed since it was first read: begin again with it")
        return file


def read_folder(folder: Path) -> Splits:
    """Read a folder of equally large images, grey only if all of them are.

    Images are put upright as their EXIF orientation says. GIFs count as coloured. Above 1 GiB of
    pixels, each is decoded when it is needed.

    Args:
        folder: Images as files, or sub-folders of images; then the sorted names of the
            sub-folders are the labels 0, 1, ...

    Raises:
        DataError: If there are fewer than ten images, an image cannot be read, is transparent or
            has several frames, or two images differ in size.
    """
    files = image_files(folder)
    if not files:
        raise DataError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    headers = [header(file) for file in files]
    check_headers(files, headers)
    is_grey = all(mode in GREY_MODES for _, mode in headers)
    width, height = headers[0].size
    shape = (height, width) if is_grey else (height, width, 3)
    images = ImageRows(files, "L" if is_grey else "RGB", shape)
    labels, name = labels_of(files, folder), folder.name
    if math.prod(images.shape) > IN_MEMORY:
        return from_reader(images, labels, name=name, maximum=255.0)
    return from_arrays(images.read(np.arange(len(files))), labels, name=name, maximum=255.0)


def image_files(folder: Path) -> list[Path]:
    """Image files at any depth, in sorted order, without hidden ones."""
    return sorted(
        file
        for file in folder.rglob("*")
        if is_image(file) and not is_hidden(file.relative_to(folder)) and file.is_file()
    )


def is_hidden(file: Path) -> bool:
    """True if a file, or a folder that it is in, is hidden, as in ``.git``."""
    return any(part.startswith(".") for part in file.parts)


def is_image(file: Path) -> bool:
    """Return True if a file has the suffix of an image."""
    return file.suffix.lower() in SUFFIXES


def labels_of(files: Sequence[Path], folder: Path) -> Array | None:
    """Rank of every file's sub-folder among all sub-folders, if every file lies in one."""
    insides = [file.relative_to(folder).parts for file in files]
    alone = [parts[0] for parts in insides if len(parts) == 1]
    if alone:
        if len(alone) < len(files):
            logger.warning("%s has no classes: %s lies in no sub-folder", folder, alone[0])
        return None
    names = [parts[0] for parts in insides]
    return np.unique(names, return_inverse=True)[1]


def check_headers(files: Sequence[Path], headers: Sequence[Header]) -> None:
    """Refuse images of real or 32-bit numbers, and of different sizes, naming two of them."""
    for file, (size, mode) in zip(files, headers, strict=True):
        if size != headers[0].size:
            raise DataError(
                f"{files[0]} has {headers[0].size[0]} x {headers[0].size[1]} pixels but {file} "
                f"has {size[0]} x {size[1]}: bring all images to one size"
            )
        if mode == "F":
            raise DataError(f"{file} holds real numbers: give such images as one .npy file")
        if mode == "I" and file.suffix.lower() != ".png":  # of which some readers make I;16
            raise DataError(f"{file} holds 32-bit numbers: give such images as one .npy file")


def header(file: Path) -> Header:
    """Size and mode of an image, without reading its pixels."""
    with opened(file) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # a photo and its preview
            raise DataError(f"{file} holds {frames} images: give each as a file")
        width, height = image.size
        # Orientation is asked for only where it matters: to find it, PIL decodes a whole PNG.
        lies_on_its_side = width != height and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return Header((height, width) if lies_on_its_side else (width, height), image.mode)


def state(file: Path) -> tuple[int, int]:
    """Size in bytes, and nanoseconds of the last change, of a file.

    Raises:
        DataError: It is not there.
    """
    try:
        found = file.stat()
    except OSError as error:
        raise DataError(f"{file} is no longer there: put it back, or begin without it") from error
    return found.st_size, found.st_mtime_ns


def pixels(file: Path, mode: str) -> Array:
    """Intensities 0 to 255, ``(height, width)`` in mode L, ``(height, width, 3)`` in mode RGB."""
    from PIL import ImageOps

    with opened(file) as image:
        require_opaque(image, file)
        return np.asarray(eight_bits(ImageOps.exif_transpose(image)).convert(mode))


def require_opaque(image: Image.Image, file: Path) -> None:
    """Refuse transparent pixels, whose colour nobody sees."""
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    if has_alpha and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise DataError(f"{file} has transparent pixels: give it a background")


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
    except DataError:
        raise
    except Exception as error:  # damage may make the readers of PIL raise anything
        raise DataError(f"{file} cannot be read as an image: replace or remove it") from error
