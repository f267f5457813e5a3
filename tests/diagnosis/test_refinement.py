"""``refine`` from Python: the same model, a better guide."""

from __future__ import annotations

from typing import Any

import pyro
import pytest
import torch

from pyrovae import InferenceSpec, build, fit, load_data
from pyrovae.data import Batch
from pyrovae.diagnosis import refine
from pyrovae.diagnosis.agreement import Agreement, agreement
from pyrovae.errors import SpecError
from pyrovae.evaluation.divergence import Divergence


@pytest.fixture(scope="module")
def fitted() -> Any:
    """Two latents and a guide that has hardly learned anything."""
    data = load_data("digits")
    small = {"model.latent_dim": 2, "model.decoder.widths": [16]}
    vae = build("vae", "svi", data, small)
    fit(vae, data, InferenceSpec(epochs=2))
    return vae, data


def test_the_divergence_falls_and_the_model_stays(fitted: Any) -> None:
    vae, data = fitted
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    spec = InferenceSpec(epochs=10, guide={"kind": "full_rank"}, simulated={"share": 1.0})
    found = refine(vae, data, spec, until=None)
    assert found.before is not None
    (old, old_error), (new, new_error) = found.before.divergence, found.after.divergence
    assert old - new > 3 * (old_error + new_error)
    assert len(found.history) == 20
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
    theirs = found.autoencoder.state_dict()
    of_model = [name for name in before if not name.startswith("posterior.")]
    assert all(torch.equal(before[name], theirs[name]) for name in of_model)


def test_measuring_a_budget_in_minutes_leaves_nothing_behind(fitted: Any) -> None:
    vae, data = fitted
    stream = torch.get_rng_state()
    pyro.clear_param_store()
    found = refine(vae, data, until=None, minutes=0.01)
    assert torch.equal(torch.get_rng_state(), stream)
    # The two that are judged, and not the one whose steps were measured.
    stored = {id(value) for _, value in pyro.get_param_store().named_parameters()}
    judged = [*vae.parameters(), *found.autoencoder.parameters()]
    assert stored <= {id(parameter) for parameter in judged}


def test_an_exact_guide_agrees(make_linear_gaussian: Any) -> None:
    vae = make_linear_gaussian().vae
    found = agreement(vae, Batch.of(vae.sample(100)))
    assert found.calibrated
    assert found.reaches("calibrated")
    assert found.reaches(1e-6)


def test_a_narrow_guide_does_not(make_linear_gaussian: Any) -> None:
    vae = make_linear_gaussian().vae
    with torch.no_grad():
        vae.posterior.family.scale.bias -= 0.7
    found = agreement(vae, Batch.of(vae.sample(100)))
    assert not found.reaches("calibrated")
    assert not found.reaches(1e-6)
    assert max(found.coverage.values()) < 0.8


def test_a_goal_in_nats_is_one_of_the_divergence() -> None:
    found = Agreement(Divergence(0.4, 0.1), {}, calibrated=False)
    assert found.reaches(0.4)
    assert not found.reaches(0.39)


def test_an_autoencoder_of_own_parts_is_refused(make_linear_gaussian: Any) -> None:
    with pytest.raises(SpecError, match="frozen='model'"):
        refine(make_linear_gaussian().vae, load_data("digits"))
