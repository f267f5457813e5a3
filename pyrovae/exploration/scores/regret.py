"""Likelihood regret: the gain in the bound from optimising q for one observation."""

from __future__ import annotations

import sys

import torch
from torch import Tensor
from tqdm import tqdm

from pyrovae.compute.modes import evaluating
from pyrovae.evaluation.refinement import RefinedPosterior, batch_size
from pyrovae.exploration.scores.inputs import ScoreInputs

# Draws that measure either ELBO: about 0.2 nats of noise where log w varies by 4.
TO_MEASURE = 400


def regret(seen: ScoreInputs) -> Tensor:
    r"""Gain in the bound if q is optimised for this observation alone, ``(data,)``.

    .. math::
        \max_{q \in \mathcal{Q}} \mathcal{L}(x; q) - \mathcal{L}(x; q(z \mid x))

    The decoder is held fixed. Properties that affect both terms alike, such as the simplicity of
    an image, cancel.

    The source fits a copy of the whole encoder to the one image, by 100 steps of Adam of the
    learning rate at which it was trained. Here q itself is free, within the family of the guide:
    the amortisation gap of :func:`pyrovae.diagnosis.gap.check_gap`, to which the source's comes
    from below as its steps become more. The optimised q counts even where it is measured to be
    worse than the encoder's: a regret of zero comes out as noise around zero.

    Raises:
        SpecError: The guide is a point, or has no encoder.

    References:
        Xiao, Yan and Amit (2020), *Likelihood Regret: An Out-of-Distribution Detection Score For
        Variational Auto-encoder*, arXiv:2003.02977.
    """
    seen.require_density()
    device = seen.batch.device
    found = []
    hidden = not seen.progress
    bar = tqdm(total=len(seen.batch), unit="obs", desc="regret", disable=hidden, file=sys.stderr)
    with evaluating(seen.autoencoder, device), bar:
        for batch in seen.batch.split(batch_size(device)):
            local = RefinedPosterior(seen.autoencoder, batch)
            own = local.mean_elbo(TO_MEASURE)
            local.fit(seen.steps)
            found.append((local.mean_elbo(TO_MEASURE) - own).cpu())
            bar.update(len(batch))
    return torch.cat(found)
