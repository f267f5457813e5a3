"""Rate and distortion under different β."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyrovae import InferenceSpec, ModelSpec, Splits, build, fit
from pyrovae.data import Batch, Dataset
from pyrovae.errors import SpecError
from pyrovae.evaluation.bound import evaluate
from pyrovae.exploration.sweep import sweep, variants
from pyrovae.parts.distributions.positive import raw_scale


class Data(Dataset):
    """Rows in float64, as they are."""

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.x[self.rows[index]])


def splits(x: Tensor) -> Splits:
    data = Data("rows", x, torch.arange(len(x)), None, None)
    return Splits(data, data, data)


@pytest.fixture
def bits() -> Splits:
    return splits((torch.rand(60, 5) < 0.5).double())


@torch.no_grad()
def fit_to(oracle: Any, beta: float) -> Any:
    """The autoencoder of an oracle with the diagonal guide that minimises D + β R.

    Of a decoder with orthogonal columns w_d and noise s it is p(z) p(x | z)^(1/β), normalised:
    precision 1 + |w_d|² / (β s²).
    """
    vae = oracle.vae
    weight, bias = vae.decoder.last.weight, vae.decoder.last.bias
    noise = beta * oracle.noise.square()
    precision = 1 + weight.square().sum(0) / noise
    gain = weight.T / (noise * precision).unsqueeze(-1)
    vae.posterior.family.loc.weight.copy_(gain)
    vae.posterior.family.loc.bias.copy_(-gain @ bias)
    vae.posterior.family.scale.weight.zero_()
    raw = [raw_scale(scale) for scale in precision.rsqrt().tolist()]
    vae.posterior.family.scale.bias.copy_(torch.tensor(raw))
    return vae


def optima(make_linear_gaussian: Any, betas: list[float]) -> tuple[dict[float, Any], Any]:
    """The best guide for each β, of the same model and data."""
    models = {}
    for beta in betas:
        torch.manual_seed(5)
        oracle = make_linear_gaussian("diagonal", data=400)
        models[beta] = fit_to(oracle, beta)
    return models, oracle


def test_optima_trade_rate_for_distortion(make_linear_gaussian: Any) -> None:
    betas = [0.1, 0.5, 1.0, 2.0, 10.0]
    models, oracle = optima(make_linear_gaussian, betas)
    found = sweep(models, splits(oracle.x))
    rate, distortion, elbo = (
        np.array([getattr(place, name).value for place in found.places.values()])
        for name in ("rate", "distortion", "elbo")
    )
    assert (np.diff(rate) < 0).all()
    assert (np.diff(distortion) > 0).all()
    assert max(found.places, key=lambda beta: found.places[beta].elbo.value) == 1.0
    # At β = 1 the guide is the posterior: log p(x) of each datum, whatever code is drawn.
    exact = found.places[1.0].elbo
    evidence = oracle.evidence
    assert abs(exact.value - evidence.mean()) < 5 * exact.error
    # The curve is convex, and between two optima its slope is between their -β.
    slope = -np.diff(distortion) / np.diff(rate)
    for low, high, between in zip(betas, betas[1:], slope, strict=False):
        assert low < between < high
    np.testing.assert_allclose(elbo, -rate - distortion, rtol=1e-12)


def test_a_guide_that_is_the_prior_has_no_rate_and_the_worst_distortion(
    make_linear_gaussian: Any,
) -> None:
    models, oracle = optima(make_linear_gaussian, [1.0, 1e9])
    with torch.no_grad():
        models[1e9].posterior.family.scale.bias.fill_(raw_scale(1.0))
        models[1e9].posterior.family.loc.weight.zero_()
        models[1e9].posterior.family.loc.bias.zero_()
    found = sweep(models, splits(oracle.x)).places
    assert found[1e9].rate.value == pytest.approx(0.0, abs=1e-9)
    assert found[1e9].active == 0
    assert found[1.0].active == found[1.0].dims == 2
    assert found[1e9].distortion.value > found[1.0].distortion.value + 1


def test_places_are_those_of_an_evaluation(
    make_vae: Any, guide_with_density: str, bits: Splits
) -> None:
    assert_agrees(make_vae("normal", guide_with_density), bits)


@pytest.mark.parametrize(
    ("prior", "guide"), [("vamp", "full_rank"), ("hyperspherical", "von_mises_fisher")]
)
def test_so_they_are_with_other_priors(
    make_vae: Any, prior: str, guide: str, bits: Splits
) -> None:
    assert_agrees(make_vae(prior, guide), bits)


def assert_agrees(vae: Any, bits: Splits) -> None:
    place = sweep({2.0: vae}, bits).places[2.0]
    summary = evaluate(vae, bits.test)
    assert place.rate.value == pytest.approx(summary.kl, rel=1e-9)
    assert place.distortion.value == pytest.approx(-summary.reconstruction, rel=1e-9)
    assert place.elbo.error == pytest.approx(summary.standard_error, rel=1e-6)
    assert place.kind == next(iter(summary.kl_kind.values()))


def test_what_is_found_is_sorted_by_beta(make_vae: Any, bits: Splits) -> None:
    found = sweep({4.0: make_vae(), 0.5: make_vae()}, bits, {0.5: 0.3})
    assert list(found.places) == [0.5, 4.0]
    variables = found.variables()
    assert variables["beta"].values.tolist() == [0.5, 4.0]
    assert variables["mig"].values[0] == 0.3
    assert math.isnan(variables["mig"].values[1])
    assert "At β = 0.5" in found.summary()
    assert "mutual information gap at β = 0.5 (0.30)" in found.summary()
    names = [number.name for number in found.numbers()]
    assert {"rate, β = 4", "distortion, β = 0.5", "MIG, β = 0.5"} <= set(names)


def test_the_line_of_equal_elbo_leads_through_beta_one_or_the_best(
    make_linear_gaussian: Any,
) -> None:
    models, oracle = optima(make_linear_gaussian, [0.05, 0.8, 20.0])
    assert sweep(models, splits(oracle.x)).anchor == 0.8
    assert sweep({**models, 1.0: models[20.0]}, splits(oracle.x)).anchor == 1.0


def test_what_has_no_place_is_refused(make_vae: Any, bits: Splits) -> None:
    with pytest.raises(SpecError, match=r"β = 0\.5, Delta.* is a point, .* 'diagonal'"):
        sweep({0.5: make_vae("normal", "delta")}, bits)
    with pytest.raises(SpecError, match="no model"):
        sweep({}, bits)
    with pytest.raises(SpecError, match="mig is given for β = 3, of which there is no model"):
        sweep({1.0: make_vae()}, bits, {3.0: 0.1})


def test_variants_differ_in_beta_alone(few_digits: Splits) -> None:
    network = {"kind": "mlp", "widths": (8,)}
    spec = InferenceSpec(
        epochs=1,
        objective={"kind": "tc"},
        guide={"kind": "diagonal", "encoder": network},
        beta={"kind": "linear", "value": 4.0},
        early_stopping={},
    )
    found = variants(spec, [0.0, 3.0])
    for beta, one in found.items():
        assert one.beta.kind == "constant"
        assert one.beta.value == beta
        assert one.early_stopping is None
        same = {"beta": spec.beta, "early_stopping": spec.early_stopping}
        assert one.model_copy(update=same) == spec
        fit(build(ModelSpec(latent_dim=2, decoder=network), one, few_digits), few_digits)


@pytest.mark.parametrize(
    ("guide", "betas", "message"),
    [
        ("delta", [1.0], "kind = 'delta' is a point"),
        ("diagonal", [-1.0], r"betas = \[-1.0\] must be numbers from 0 up"),
        ("diagonal", [math.inf], "must be numbers from 0 up"),
        ("diagonal", [], "must be numbers from 0 up"),
        ("diagonal", [2.0, 2.0], "names a β twice"),
    ],
)
def test_what_has_no_variants_is_refused(guide: str, betas: list[float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        variants(InferenceSpec(guide={"kind": guide}), betas)
