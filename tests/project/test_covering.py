"""The pairs of parts that stand for all others have every prior and every guide among them."""

from __future__ import annotations

from typing import Any

from pyrovae.specs.guides import GuideSpec
from pyrovae.specs.own import members
from pyrovae.specs.priors import PriorSpec


def kinds(union: Any) -> set[str]:
    """Of a discriminated union of specifications: whatever the package offers."""
    return {member.model_fields["kind"].default for member in members(union)}


def test_covering_pairs_have_every_prior_and_every_guide(
    quick_pairs: list[tuple[str, str]],
) -> None:
    assert {prior for prior, _ in quick_pairs} == kinds(PriorSpec)
    assert {guide for _, guide in quick_pairs} == kinds(GuideSpec)
