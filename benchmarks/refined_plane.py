"""Picture of the exact posterior on the plane of two latents, with the guide before and after.

``python benchmarks/refined_plane.py RUN REFINED FILE.png``, for the figure of ``docs/refine.md``.
"""

import sys

import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from torch import Tensor

from pyrovae import open_run
from pyrovae.compute.modes import evaluating
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled

POINTS, SIDE = 201, 4.0
"""Of the grid: how many on each side, and how many standard deviations of q it reaches."""

INSIDE = 0.9


def region(log_density: Tensor) -> tuple[Tensor, float]:
    """The density on a grid, and the level of its smallest region that holds 90 %."""
    density = (log_density - log_density.max()).exp()
    ordered = density.flatten().sort(descending=True).values
    held = ordered.cumsum(0) / ordered.sum()
    return density, ordered[(held < INSIDE).sum()].item()


def draw(axes: Axes, guides: list[LocalPosterior]) -> None:
    """The posterior of one observation as a surface, and a contour of each guide."""
    z = guides[0].draw_guide(1000)[:, 0]
    middle, reach = z.mean(0), SIDE * z.std(0)
    across, up = (torch.linspace(m - r, m + r, POINTS) for m, r in zip(middle, reach, strict=True))
    grid = torch.cartesian_prod(across, up)[:, None]
    place = (across.numpy(), up.numpy())

    def on_grid(log_density: Tensor) -> tuple[Tensor, float]:
        density, level = region(log_density.reshape(POINTS, POINTS).T)
        return density.numpy(), level

    exact, level = on_grid(guides[0].log_joint(grid))
    axes.contourf(*place, exact, 20, cmap="Greys")
    axes.contour(*place, exact, [level], colors="black", linewidths=1.5)
    for guide, colour in zip(guides, (MODEL, DATA), strict=True):
        density, level = on_grid(guide.log_guide(grid))
        axes.contour(*place, density, [level], colors=colour, linewidths=2)


@styled
def main() -> None:
    before, after, file = sys.argv[1:]
    runs = [open_run(before), open_run(after)]
    test = runs[0].data.test
    first = [test.labels.tolist().index(label) for label in range(6)]
    x = observations(runs[0].model.contract.prepared(test), torch.tensor(first)).x
    figure = new_figure("Posterior of an image, and its guide before and after refinement", 6.2)
    for axes, image in zip(figure.subplots(2, 3).flat, x, strict=True):
        with evaluating(runs[0].model, x.device):
            draw(axes, [LocalPosterior(run.model.eval(), image[None]) for run in runs])
        corner = axes.inset_axes((0.78, 0.74, 0.22, 0.26))
        corner.imshow(image.squeeze(), cmap="gray")
        corner.axis("off")
        axes.set(xlabel="$z_1$", ylabel="$z_2$")
    lines = [Line2D([], [], color=colour, lw=2) for colour in ("black", MODEL, DATA)]
    words = ["p(z | x)", "q(z | x), as trained", "q(z | x), refined"]
    figure.legend(lines, [f"{word}: 90 %" for word in words], loc="outside lower center", ncols=3)
    figure.savefig(file)


if __name__ == "__main__":
    main()
