"""All checks together: on the exact posterior, on planted faults, and on every part."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from pyrovae import VAE
from pyrovae.compute.capture import Captured
from pyrovae.data import Batch, Dataset
from pyrovae.diagnosis import Diagnosis, diagnose
from pyrovae.diagnosis.bound import Bound
from pyrovae.diagnosis.mcmc import check_mcmc
from pyrovae.diagnosis.predictive_draws import MOST_DRAWS, MOST_VALUES, how_many
from pyrovae.diagnosis.sandwich import check_sandwich
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.annealed_importance import anneal
from pyrovae.evaluation.results import Check, NotApplicable

QUICK = [
    "bound",
    "importance weights",
    "calibration",
    "latent dimensions",
    "aggregated posterior",
    "prior predictive",
]
FULL = [*QUICK, "log p(x)", "inference gap", "chains"]
NOT_OF_POINTS = {"bound", "importance weights", "calibration", "inference gap"}


class Data(Dataset):
    """Rows as they are, in whatever precision."""

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.x[index])


def as_data(x: Tensor) -> Dataset:
    return Data("rows", x, torch.arange(len(x)), None, None)


def skipped(diagnosis: Diagnosis) -> list[NotApplicable]:
    """The checks that do not apply, but for convergence, as no history is given."""
    first, *others = diagnosis.outcomes
    assert isinstance(first, NotApplicable)
    assert first.question == "convergence"
    return [outcome for outcome in others if isinstance(outcome, NotApplicable)]


def grades(diagnosis: Diagnosis) -> dict[str, str]:
    return {check.question: check.verdict().grade for check in diagnosis.checks}


@pytest.fixture
def oracle(make_linear_gaussian: Any) -> Any:
    return make_linear_gaussian("full_rank", data=200)


@pytest.mark.parametrize("guide", ["diagonal", "full_rank"])
def test_nothing_speaks_against_the_exact_posterior(make_linear_gaussian: Any, guide: str) -> None:
    oracle = make_linear_gaussian(guide, data=200)
    diagnosis = diagnose(oracle.vae, as_data(oracle.x), num=200, draws=200)
    assert grades(diagnosis) == dict.fromkeys(QUICK, "ok")
    assert diagnosis.grade == "ok"
    bound = diagnosis.checks[0]
    assert isinstance(bound, Bound)
    torch.testing.assert_close(bound.gap, torch.zeros(200).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(bound.elbo, oracle.evidence, rtol=0, atol=1e-9)


def test_nor_does_what_takes_minutes(
    make_linear_gaussian: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = "pyrovae.diagnosis.diagnosis"
    monkeypatch.setattr(f"{here}.check_mcmc", partial(check_mcmc, warmup=100, draws=400))
    monkeypatch.setattr(f"{here}.CHAINED", 8)
    monkeypatch.setattr(f"{here}.SIMULATED", 30)
    monkeypatch.setattr(f"{here}.anneal", partial(anneal, steps=10))
    monkeypatch.setattr(f"{here}.check_sandwich", partial(check_sandwich, steps=10))
    monkeypatch.setattr("pyrovae.diagnosis.gap.STEPS", 20)
    monkeypatch.setattr("pyrovae.compute.chunks.CODES", 10_000)
    # What is called often is captured soon, and not compiled, which takes seconds.
    monkeypatch.setattr("pyrovae.compute.compiled.PAYS_BEFOREHAND", 400)
    monkeypatch.setattr(Captured, "compiled", lambda captured, _: captured)
    oracle = make_linear_gaussian("full_rank", data=50)
    told: list[Any] = []
    diagnosis = diagnose(
        oracle.vae, as_data(oracle.x), num=50, draws=100, full=True, tell=told.append
    )
    found = grades(diagnosis)
    assert list(found) == FULL
    assert {question: found[question] for question in FULL[6:]} == dict.fromkeys(FULL[6:], "ok")
    assert told == list(diagnosis.outcomes)
    chains = diagnosis.chain_tree()
    assert chains is not None
    z = chains["posterior"]["z"]
    assert z.dims == ("chain", "draw", "obs", "latent")
    mean = torch.as_tensor(z.mean(("chain", "draw")).to_numpy())
    torch.testing.assert_close(mean.double(), oracle.posterior.mean[:8], rtol=0, atol=0.15)


def shift(vae: VAE) -> None:
    """By half of a standard deviation."""
    q: Any = vae.encode(torch.zeros(1, 5).double())
    vae.posterior.family.loc.bias += 0.5 * q.variance[0].sqrt()


def narrow(vae: VAE) -> None:
    """By a fifth."""
    from pyrovae.parts.distributions.positive import positive, raw_scale

    scales = positive(vae.posterior.family.scale.bias).tolist()
    vae.posterior.family.scale.bias.copy_(torch.tensor([raw_scale(0.8 * s) for s in scales]))


def posterior_marginals(oracle: Any) -> Normal:
    """Of the first datum; the dimensions are independent."""
    posterior = oracle.posterior
    return Normal(posterior.mean[:1], posterior.variance[:1].sqrt())


@pytest.mark.parametrize("fault", [shift, narrow], ids=lambda fault: fault.__name__)
def test_a_planted_fault_of_the_guide_is_found(make_linear_gaussian: Any, fault: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=200)
    with torch.no_grad():
        fault(oracle.vae)
    diagnosis = diagnose(oracle.vae, as_data(oracle.x), num=200, draws=200)
    assert grades(diagnosis)["calibration"] == "FAIL"
    assert diagnosis.grade == "FAIL"
    bound = diagnosis.checks[0]
    assert isinstance(bound, Bound)
    divergence = kl_divergence(
        oracle.vae.encode(oracle.x[:1]).base_dist, posterior_marginals(oracle)
    )
    assert bound.gap.mean().item() == pytest.approx(divergence.sum().item(), rel=0.1)


def test_a_decoder_with_twice_the_noise_is_found(oracle: Any) -> None:
    from pyrovae.parts.distributions.positive import raw_scale

    with torch.no_grad():
        oracle.vae.likelihood.raw_scale.fill_(raw_scale(1.0))
    found = grades(diagnose(oracle.vae, as_data(oracle.x), num=200, draws=200))
    assert found["prior predictive"] == "FAIL"


def answers(diagnosis: Diagnosis) -> None:
    """Every question has an answer, or a sentence that says why not."""
    for outcome in diagnosis.outcomes:
        if isinstance(outcome, NotApplicable):
            assert outcome.why.count("\n") == 0
            assert len(outcome.why) > 20
            continue
        assert isinstance(outcome, Check)
        assert outcome.verdict().grade in {"ok", "WARN", "FAIL"}
        assert outcome.numbers()
        for variable in outcome.variables().values():
            assert len(variable.dims) == np.ndim(variable.values)
    tree = diagnosis.tree({"run": "a"})
    assert tree["posterior"]["z"].shape[2] == len(diagnosis.x)
    assert tree["observed_data"]["x"].shape == tuple(diagnosis.x.shape)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All data at once: with four at a time most seconds are overhead."""
    monkeypatch.setattr("pyrovae.compute.chunks.CODES", 50_000)


@pytest.mark.usefixtures("fewer", "at_once")
def test_every_likelihood_can_be_asked(make_vae: Any, covering_likelihood: dict[str, Any]) -> None:
    vae = make_vae(likelihood=covering_likelihood)
    diagnosis = diagnose(vae, as_data(vae.sample(50)), num=50, draws=100)
    answers(diagnosis)
    assert skipped(diagnosis) == []


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short annealing and chains, where only their use is looked at."""
    here = "pyrovae.diagnosis.diagnosis"
    monkeypatch.setattr(f"{here}.SIMULATED", 4)
    monkeypatch.setattr(f"{here}.CHAINED", 2)
    monkeypatch.setattr(f"{here}.anneal", partial(anneal, steps=2))
    monkeypatch.setattr(f"{here}.check_sandwich", partial(check_sandwich, steps=2))
    monkeypatch.setattr(f"{here}.check_mcmc", partial(check_mcmc, warmup=1, draws=4))
    monkeypatch.setattr("pyrovae.evaluation.annealed_importance.PILOT_TRIES", 0)
    monkeypatch.setattr("pyrovae.diagnosis.gap.STEPS", 2)


@pytest.mark.usefixtures("fewer", "short", "at_once")
def test_each_prior_and_each_guide_can_be_asked(make_vae: Any, each_part: tuple[str, str]) -> None:
    vae = make_vae(*each_part)
    diagnosis = diagnose(vae, as_data(vae.sample(50)), num=50, draws=100, full=True)
    assert [outcome.question for outcome in diagnosis.outcomes] == ["convergence", *FULL]
    answers(diagnosis)
    found = {outcome.question for outcome in skipped(diagnosis)}
    assert found == (NOT_OF_POINTS if "delta" in each_part else set())


@pytest.mark.usefixtures("fewer")
def test_it_is_the_same_each_time_and_changes_nothing(make_vae: Any, parameters_of: Any) -> None:
    vae = make_vae("vamp", "full_rank")
    vae.train()
    data = as_data(vae.sample(50))
    parameters, stream = parameters_of(vae), torch.get_rng_state()
    first, second = (diagnose(vae, data, num=50, draws=100) for _ in range(2))
    for one, other in zip(first.checks, second.checks, strict=True):
        assert one.verdict() == other.verdict()
    assert torch.equal(torch.get_rng_state(), stream)
    assert vae.training
    for name, value in parameters_of(vae).items():
        assert torch.equal(value, parameters[name])
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_a_check_that_fails_on_simulated_data_does_not_lose_the_others(
    oracle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Check:
        raise DataError("log p(x, z) is not finite for 3 data")

    monkeypatch.setattr("pyrovae.diagnosis.diagnosis.check_calibration", fail)
    diagnosis = diagnose(oracle.vae, as_data(oracle.x), num=50, draws=100)
    found = skipped(diagnosis)
    assert found == [NotApplicable("calibration", "log p(x, z) is not finite for 3 data")]
    assert len(diagnosis.checks) == len(QUICK) - 1


@pytest.mark.parametrize("shape", [(50, 2), (256, 1, 28, 28), (60_000, 3, 32, 32)])
def test_replicas_are_worth_their_memory(shape: tuple[int, ...]) -> None:
    x = torch.empty(1).expand(shape)
    count = how_many(x)
    assert 1 <= count <= MOST_DRAWS
    assert count == 1 or count * x.numel() <= MOST_VALUES


def test_a_handful_of_data_is_diagnosed_with_wide_intervals(oracle: Any, fewer: None) -> None:
    diagnosis = diagnose(oracle.vae, as_data(oracle.x), num=8, draws=200)
    assert {"bound", "importance weights", "calibration", "prior predictive"} <= set(
        grades(diagnosis)
    )
    (share,) = (
        n
        for c in diagnosis.checks
        for n in c.numbers()
        if n.name.startswith("fraction with k-hat > 0.")
    )
    assert share.interval is not None
    assert share.interval[1] - share.interval[0] > 0.3


def test_too_few_data_or_draws_are_refused(oracle: Any) -> None:
    with pytest.raises(DataError, match="3 data are too few, the checks need 5"):
        diagnose(oracle.vae, as_data(oracle.x), num=3)
    with pytest.raises(SpecError, match=r"draws = 9: the checks need at least 100"):
        diagnose(oracle.vae, as_data(oracle.x), draws=9)
