"""dSprites: every combination of shape, scale, orientation and position of a white sprite.

References:
    Matthey, Higgins, Hassabis and Lerchner (2017), *dSprites: Disentanglement testing Sprites
    dataset*, https://github.com/google-deepmind/dsprites-dataset.
"""

from __future__ import annotations

from pathlib import Path

from pyrovae.data.arrays import from_arrays
from pyrovae.data.dataset import Splits
from pyrovae.data.download import downloading, fetch, find
from pyrovae.data.npz import open_npz, read_member

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
ADDRESS = f"https://github.com/google-deepmind/dsprites-dataset/raw/master/{FILE}"
MD5 = "7da33b31b13a06f4b04a70402ce90c2e"
FACTORS = ("shape", "scale", "orientation", "x", "y")
"""Columns of the latent classes, of 3, 6, 40, 32 and 32 values, after the colour, always white."""


def read_dsprites(root: Path, *, download: bool) -> Splits:
    """Read the 737 280 images ``(1, 64, 64)`` into one store of 3 GB, which no split copies.

    Labels are the shapes: square, ellipse, heart.

    The file's ``metadata`` is a pickle and is never read.

    Raises:
        DataError: If the file is missing and cannot be downloaded, or cannot be read.
    """
    place = find("dsprites", root, [FILE])
    if place is None:
        with downloading("dsprites", root, [FILE], allowed=download):
            fetch(ADDRESS, root / FILE, MD5)
        place = root
    with open_npz(place / FILE) as archive:
        images = read_member(archive, "imgs", place / FILE)
        classes = read_member(archive, "latents_classes", place / FILE)[:, 1:]
    return from_arrays(
        images,
        classes[:, FACTORS.index("shape")],
        factors=classes,
        factor_names=FACTORS,
        name="dsprites",
        maximum=1.0,
    )
