"""A guide is an encoder and a family, and is built from its specification."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pyrovae import InferenceSpec
from pyrovae.errors import SpecError
from pyrovae.parts.families import DiagonalNormal, MixtureFamily
from pyrovae.parts.guides import Guide
from pyrovae.parts.guides.building import build_guide
from pyrovae.parts.networks import MLPEncoder

DIMS = 4


def encoder() -> MLPEncoder:
    return MLPEncoder((5,), widths=(6,))


def test_a_guide_is_the_family_at_the_features_of_the_encoder() -> None:
    guide = Guide(encoder(), MixtureFamily(6, DIMS, components=3))
    x, z = torch.randn(2, 3, 5), torch.randn(2, 3, DIMS)
    q = guide.family(guide.encoder(x))
    assert torch.equal(guide(x).log_prob(z), q.log_prob(z))
    assert guide.latent_dim == DIMS
    assert guide.formula == "mixture of 3 Normals(loc(x), diag scale(x)²)"


def test_features_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match=r"gives 6 features .* takes 7: give both the same"):
        Guide(encoder(), DiagonalNormal(7, DIMS))


@pytest.mark.parametrize(
    ("guide", "dims", "words"),
    [
        ({"kind": "low_rank", "rank": 5}, 4, r"inference\.guide: rank = 5.*'full_rank'"),
        ({"kind": "spline"}, 3, r"inference\.guide: latent_dim = 3.*even length.*'iaf'"),
        ({"kind": "von_mises_fisher"}, 1, r"inference\.guide: model\.latent_dim = 1"),
    ],
)
def test_a_latent_that_a_family_cannot_have_is_refused_with_its_place(
    guide: dict[str, Any], dims: int, words: str
) -> None:
    spec = InferenceSpec.model_validate({"guide": guide}).guide
    with pytest.raises(SpecError, match=words):
        build_guide(spec, encoder(), dims)


SPECS: dict[str, tuple[dict[str, Any], Any]] = {
    "low_rank": ({"rank": 3}, lambda family: family.factor.out_features == 3 * DIMS),
    "mixture": ({"components": 2}, lambda family: family.logits.out_features == 2),
} | {
    kind: (
        {"layers": 2, "widths": [9, 8]},
        lambda family: (
            [
                len(family.transform.transforms),
                *(family.transform.transforms[0].hyper[i].out_features for i in (0, 2)),
            ]
            == [2, 9, 8]
        ),
    )
    for kind in ("iaf", "spline")
}


@pytest.mark.parametrize("kind", SPECS)
def test_a_guide_is_built_with_the_options_of_its_specification(kind: str) -> None:
    options, fits = SPECS[kind]
    spec = InferenceSpec.model_validate({"guide": {"kind": kind, **options}}).guide
    assert fits(build_guide(spec, encoder(), DIMS).family)
    default = InferenceSpec.model_validate({"guide": {"kind": kind}}).guide
    assert not fits(build_guide(default, encoder(), DIMS).family)
