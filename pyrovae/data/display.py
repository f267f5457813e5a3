"""First observations of a data set, as HTML for a notebook."""

from __future__ import annotations

import torch
from torch import Tensor

from pyrovae import notebook

IMAGES, ROWS, COLUMNS = 12, 5, 10
"""Most images, rows and columns shown."""


def first_images(x: Tensor, levels: float | None) -> str:
    """The images ``(n, channels, height, width)`` side by side.

    Args:
        x: Images of one or three channels.
        levels: Value drawn white, 0 being black; None draws the range of ``x``.
    """
    low, high = (x.min().item(), x.max().item()) if levels is None else (0.0, levels)
    shaded = ((x - low) / ((high - low) or 1.0)).clamp(0, 1)
    padded = torch.nn.functional.pad(shaded, (0, 1), value=1.0)
    line = (255 * torch.cat(padded.unbind(), -1)).byte().movedim(0, -1)
    return notebook.images(line.squeeze(-1).cpu().numpy(), f"the first {len(x)} images")


def first_rows(x: Tensor, known: Tensor, columns: tuple[str, ...] = ()) -> str:
    """The rows ``(n, columns)`` as a table; values that are not known are dashes.

    Args:
        x: The rows.
        known: False for values that are not known, of the same shape.
        columns: Names of the columns, if they are known.
    """
    shown = x[:, :COLUMNS]
    numbered = [f"x[{column}]" for column in range(shown.shape[1])]
    names = list(columns[:COLUMNS]) or numbered
    cells = [
        [f"{value:.4g}" if is_known else "–" for value, is_known in zip(*row, strict=True)]
        for row in zip(shown.tolist(), known[:, :COLUMNS].tolist(), strict=True)
    ]
    more = x.shape[1] - len(names)
    return notebook.grid(names, cells) + notebook.paragraph(f"and {more} columns" if more else "")
