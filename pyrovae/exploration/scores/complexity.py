"""Scores based on the code length of a lossless image compressor."""

from __future__ import annotations

import io
import math
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.errors import DataError, SpecError
from pyrovae.exploration.scores.inputs import ScoreInputs

NATS_PER_BYTE = 8 * math.log(2)
# What a file has whatever the image is: signature, header, frames of the data and of the end.
PNG_FRAME, WEBP_FRAME = 57, 20
# Of a byte.
LARGEST = 255


def complexity(seen: ScoreInputs) -> Tensor:
    r"""Difference in code length between model and compressor, in nats ``(data,)``.

    .. math::
        -\log p(x) - L(x)

    A log-likelihood ratio of two models, of which the second, the compressor, knows nothing of
    the data: an image that is merely simple has a short code under both. Where x is intensities
    under a density, not a probability, it is off by a constant, which no ranking sees.

    Raises:
        SpecError: The guide is a point, or the data are no images of whole intensities.

    References:
        Serrà et al. (2020), *Input complexity and out-of-distribution detection with
        likelihood-based generative models*, arXiv:1909.11480.
    """
    seen.require_density()
    return -seen.judged.log_prob - code_lengths(seen.batch.x, seen.train)


def simplicity(seen: ScoreInputs) -> Tensor:
    """Negative code length -L(x), ``(data,)``: the model-free baseline of :func:`complexity`.

    Raises:
        SpecError: The data are no images of whole intensities.
    """
    return -code_lengths(seen.batch.x, seen.train)


def code_lengths(x: Tensor, data: Dataset) -> Tensor:
    """Code lengths L(x) of the losslessly compressed images, in nats, float64 ``(data,)``.

    The image compressed is the one that the model sees; of bits, one bit for each pixel.

    Args:
        x: Images ``(data, channels, height, width)``, as the model sees them.
        data: The data set, which holds the transformation of intensities.

    Raises:
        SpecError: They are no images of whole intensities.
    """
    if len(data.shape) != 3 or data.shape[0] not in (1, 3):
        shape = " × ".join(map(str, data.shape))
        raise SpecError(
            f"data of shape {shape} are no images, for which there are compressors: use "
            "likelihood regret"
        )
    if data.levels is None:
        raise SpecError(
            "the data are real numbers, which cannot be compressed without loss: use likelihood "
            "regret"
        )
    if not features.check("webp"):
        raise SpecError("this Pillow was built without WebP: install one from its wheel")
    images = intensities(x, data).movedim(1, -1).numpy()
    return torch.tensor([code_length(image) for image in images], dtype=torch.float64)


def code_length(image: NDArray[Any]) -> float:
    """The smaller of PNG and lossless WebP, in nats, without the frames that all files have.

    The source has FLIF beside PNG and JPEG 2000, and takes the smallest of the three: lossless
    WebP is the nearest to FLIF that Pillow has, and JPEG 2000 is far longer for small images.
    Where an image is of a hundred bytes neither does much, and scores depend on the compressor.

    Args:
        image: Bytes ``(height, width, channels)`` of one channel or three; all 0 or 1 are bits.

    Example:
        >>> import numpy as np
        >>> noise = np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)
        >>> code_length(np.zeros_like(noise)) < 0.1 * code_length(noise)
        True
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    png = picture
    if image.max() <= 1 and image.shape[-1] == 1:
        png = Image.fromarray(image[..., 0] > 0)
    sizes = (
        _size(png, "PNG", optimize=True) - PNG_FRAME,
        _size(picture, "WEBP", lossless=True, quality=100, method=6) - WEBP_FRAME,
    )
    return NATS_PER_BYTE * min(sizes)


def intensities(x: Tensor, data: Dataset) -> Tensor:
    """Whole intensities, uint8, behind what the model sees.

    Raises:
        DataError: They are none, or more than a byte holds.
    """
    x = x.double().cpu()
    stored = x if data.binarisation != "none" else x * data.divisor - data.offset
    whole = stored.round()
    if (stored - whole).abs().max() > 0.01 or whole.min() < 0 or whole.max() > LARGEST:
        raise DataError(
            f"the images hold values that are no whole intensities from 0 to {LARGEST}: give them "
            "as the model sees them, from images of bytes"
        )
    return whole.to(torch.uint8)


def _size(image: Image.Image, kind: str, **options: Any) -> int:
    """Size of the file in bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return len(file.getvalue())
