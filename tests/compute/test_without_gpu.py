"""All that runs on a GPU, on machines without one: it stays on its device, and nothing waits.

Twice: on the pretended device of conftest.py, with numbers, forwards and backwards; and with
tensors that have shapes only but are CUDA's to torch, which then knows what cannot be mixed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from pyrovae import VAE, InferenceSpec, ModelSpec, Splits, build, fit, local_posterior
from pyrovae.compute.randomness import seeded
from pyrovae.data import Dataset, load_data
from pyrovae.data.arrays import from_arrays
from pyrovae.diagnosis import diagnose
from pyrovae.evaluation.annealed_importance import anneal
from pyrovae.evaluation.bound import evaluate
from pyrovae.evaluation.chains import sample
from pyrovae.evaluation.encoding import encode
from pyrovae.evaluation.evidence import log_evidence
from pyrovae.evaluation.hamiltonian import guide_scale, posterior_density
from pyrovae.evaluation.hidden_units import hidden_units
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.reconstruction import prior_means, reconstruct
from pyrovae.exploration.completeness import sample_both
from pyrovae.exploration.interpolation import interpolate
from pyrovae.exploration.manifold import manifold
from pyrovae.exploration.outliers import score_outliers
from pyrovae.exploration.traversal import traverse
from pyrovae.parts.priors import NormalPrior
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs.objectives import ObjectiveSpec
from pyrovae.specs.own import members
from pyrovae.training.before_training import check_once
from pyrovae.training.step import Step

Make = Callable[[], tuple[Autoencoder, Splits]]
BATCH = torch.arange(4)


def step_of(autoencoder: Autoencoder, data: Splits, **inference: Any) -> Step:
    """A step that is about to be taken, as training takes it."""
    spec = InferenceSpec.model_validate({"clip_norm": 100.0, **inference})
    data = autoencoder.contract.apply(data)
    pyro.enable_validation(True)
    objective, layout = check_once(autoencoder, data, spec.objective)
    pyro.enable_validation(False)
    step = Step(autoencoder.train(), objective, data.train, spec, layout)
    step.set((0.7, 1e-3, 1.0))
    return step


def assert_stays_away(
    make: Make, away: Any, *, waits_never: bool = True, **inference: Any
) -> None:
    """A step there has the numbers of a step here, leaves nothing here, and waits for nothing."""
    steps = []
    for device in ("cpu", away.name):
        with seeded(0):
            autoencoder, data = make()
            step = step_of(autoencoder.to(device), data.to(device), **inference)
        index = BATCH.to(device)
        with seeded(0), away.no_waiting() if waits_never else nullcontext():
            step(index)
        assert {parameter.device.type for parameter in step.parameters} == {device}
        steps.append(step)
    here, there = steps
    for mine, theirs in zip(here.parameters, there.parameters, strict=True):
        torch.testing.assert_close(theirs.detach().cpu(), mine.detach())
    torch.testing.assert_close(there.tally.sums.cpu(), here.tally.sums)


def assert_is_all_on_cuda(make: Make, *, waits_never: bool = True, **inference: Any) -> None:
    """As torch sees it, on a GPU; its gradients are zeros, as these need a real one."""
    del waits_never  # torch's shapes do not tell
    autoencoder, data = make()
    step = step_of(autoencoder, data, **inference)
    shapes = FakeTensorMode()

    def moved(values: Tensor) -> Tensor:
        return shapes.from_tensor(values).to("cuda")

    with shapes, pytest.MonkeyPatch.context() as patch:
        autoencoder._apply(moved)
        there = Step(
            autoencoder, step.objective, step.data.changed(moved), step.spec, step.tally.layout
        )
        zeros = [torch.zeros_like(parameter) for parameter in there.parameters]
        patch.setattr(torch.autograd, "grad", lambda *_, **__: zeros)
        there.set((0.7, 1e-3, 1.0))
        batch = there.batch(torch.arange(4, device="cuda"))
        total, *_ = there.differentiate(*there.inputs(*batch))
        there.tally.add(total, 4)
        assert there.tally.sums.is_cuda


@pytest.fixture(params=["there", "cuda"])
def assert_runs(request: pytest.FixtureRequest) -> Any:
    """Either check of a step."""
    if request.param == "cuda":
        return assert_is_all_on_cuda
    away = request.getfixturevalue("away")
    return lambda make, **inference: assert_stays_away(make, away, **inference)


@pytest.fixture
def small(make_vae: Any) -> Callable[..., Make]:
    """From parts to a function that makes an autoencoder of them, and eight data of its own."""

    def of(*parts: Any, **options: Any) -> Make:
        def make() -> tuple[Autoencoder, Splits]:
            vae = make_vae(*parts, **options).float()
            data = Dataset("its own", vae.sample(8), torch.arange(8), None, None)
            return vae, Splits(data, data, data)

        return make

    return of


# Torch's Student's t makes a chi-squared distribution of a number, which it copies in each step
# that is not captured.
COPIES_A_NUMBER = {"student_t"}


def test_every_prior_and_every_guide(
    assert_runs: Any, small: Any, each_part: tuple[str, str]
) -> None:
    prior, _ = each_part
    options = {"waits_never": False} if prior in COPIES_A_NUMBER else {}
    assert_runs(small(*each_part), **options)


def test_every_likelihood(assert_runs: Any, small: Any, likelihoods: list[dict[str, Any]]) -> None:
    for likelihood in {options["kind"]: options for options in likelihoods}.values():
        assert_runs(small(likelihood=likelihood))


def test_networks_of_images(assert_runs: Any, small: Any) -> None:
    for network in ({"kind": "conv", "widths": [4, 3]}, {"kind": "residual", "widths": [4, 4]}):
        assert_runs(small(network=network, shape=(1, 8, 8)))


OBJECTIVES: list[dict[str, Any]] = [
    {"kind": "elbo", "kl": "auto"},
    {"kind": "elbo", "kl": "sampled", "particles": 3},
    *({"kind": "iwae", "particles": 3, "gradient": how} for how in ("plain", "stl", "dreg")),
    {"kind": "renyi", "particles": 3},
    *({"kind": "free_bits", "groups": groups} for groups in ("dimensions", "site")),
    *({"kind": kind} for kind in ("capacity", "tc", "mmd", "enumerated")),
]


def test_every_objective(assert_runs: Any, small: Any) -> None:
    kinds = {member.model_fields["kind"].default for member in members(ObjectiveSpec)}
    assert {objective["kind"] for objective in OBJECTIVES} == kinds
    for objective in OBJECTIVES:
        assert_runs(small(), objective=objective)


INFERENCES: list[dict[str, Any]] = [
    {"optimiser": {"kind": "adamw"}},
    {"frozen": "model"},
    {"simulated": {"share": 0.5}},
]


def test_other_inferences(away: Any, small: Any) -> None:
    for inference in INFERENCES:
        assert_stays_away(small(), away, **inference)


def test_bits_that_are_drawn_and_values_that_are_not_known(
    assert_runs: Any, few_digits: Splits
) -> None:
    bits = ModelSpec(binarisation="dynamic", likelihood={"kind": "bernoulli"})
    assert_runs(lambda: (build(bits, InferenceSpec(), few_digits), few_digits))
    rng = np.random.default_rng(0)
    table = from_arrays(rng.random((60, 5)), variables={"x_known": rng.random((60, 5)) < 0.8})
    assert_runs(lambda: (build(ModelSpec(latent_dim=2), InferenceSpec(), table), table))


RNG = np.random.default_rng(0)
BITS, CLASSES = RNG.integers(0, 2, (60, 8, 8)).astype(np.uint8), RNG.integers(0, 10, 60)
PROGRAMS: dict[str, tuple[str, Callable[[], Splits], dict[str, Any]]] = {
    "handwritten": ("svi", lambda: load_data("digits"), {}),
    "cvae": ("svi", lambda: from_arrays(BITS, CLASSES), {"width": 8}),
    "m2": (
        "enumerated",
        lambda: from_arrays(BITS, CLASSES, variables={"y_known": np.arange(60) % 2 == 0}),
        {"pixels": 64, "latent_dim": 2, "width": 8, "label_weight": 3.0},
    ),
    "dmm": (
        "svi",
        lambda: from_arrays(
            RNG.integers(0, 2, (40, 3, 4)), variables={"lengths": RNG.integers(1, 4, 40)}
        ),
        {"keys": 4, "latent_dim": 2, "width": 4, "hidden": 4},
    ),
    "prodlda": (
        "svi",
        lambda: from_arrays(RNG.integers(0, 9, (60, 7))),
        {"words": 7, "topics": 3},
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_of_the_shelf(assert_runs: Any, name: str) -> None:
    if name == "dmm" and assert_runs is assert_is_all_on_cuda:
        pytest.skip("torch asks cuDNN about recurrent networks, which needs a driver")
    inference, make_data, sizes = PROGRAMS[name]
    data = make_data()
    keys = {f"program.{key}": n for key, n in sizes.items()}
    objective = "enumerated" if inference == "enumerated" else "elbo"
    assert_runs(lambda: (build(name, inference, data, keys), data), objective={"kind": objective})


def left_on_the_cpu(self: Any, guide: Any) -> Any:
    return dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1)


def read_as_a_number(self: Any, guide: Any) -> Any:
    loc = next(guide.parameters()).new_zeros(2)
    return dist.Normal(loc, torch.full_like(loc, 1.0 + loc.sum().item())).to_event(1)


def chosen_by_a_mask(self: Any, guide: Any) -> Any:
    loc = next(guide.parameters()).new_zeros(4)
    loc = loc[loc < 1].reshape(2, 2)[0]
    return dist.Normal(loc, torch.ones_like(loc)).to_event(1)


@pytest.mark.parametrize("wrong", [left_on_the_cpu, read_as_a_number, chosen_by_a_mask])
def test_what_goes_wrong_on_a_gpu_is_found(
    assert_runs: Any, small: Any, monkeypatch: pytest.MonkeyPatch, wrong: Any
) -> None:
    monkeypatch.setattr(NormalPrior, "forward", wrong)
    with pytest.raises(Exception, match=r"mixes|same device|waits|_local_scalar|nonzero|CPU"):
        assert_runs(small())


@pytest.fixture
def here_and_there(few_digits: Splits, away: Any) -> dict[str, tuple[VAE, Dataset]]:
    """The same autoencoder and its test data, on the CPU and on the pretended device."""
    model, inference = ModelSpec(latent_dim=2), InferenceSpec()
    found = {}
    for device in ("cpu", away.name):
        with seeded(0):
            vae = build(model, inference, few_digits)
        data = vae.contract.apply(few_digits).test
        found[device] = (
            vae.to(device),
            replace(data, rows=data.rows.repeat(2)).first(50).to(device),
        )
    return found


def x_of(data: Dataset, count: int = 8) -> Tensor:
    return data.batch(torch.arange(count)).x


def chains_of(vae: VAE, data: Dataset) -> list[Any]:
    local = LocalPosterior(vae, x_of(data, 2))
    z, scale = local.draw_guide(2).detach(), guide_scale(local)
    return [sample(local, posterior_density(local), z, scale, warmup=1, draws=1).z]


def as_array(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


SLOW = ("anneal", "diagnose", "outliers")  # thousands of gradients
# Other numbers of draws at once than on the CPU, so that the draws are others.
DRAWN_OTHERWISE = ("log_evidence", "anneal", "diagnose", "outliers", "chains", "local_posterior")
LOOKS: dict[str, Callable[[VAE, Dataset], Any]] = {
    "bound": lambda vae, data: [evaluate(vae, data).elbo],
    "sample": lambda vae, data: [vae.sample(3)],
    "reconstruct": lambda vae, data: [reconstruct(vae, x_of(data)), vae.reconstruct(x_of(data))],
    "prior_means": lambda vae, data: [prior_means(vae, x_of(data))],
    "encode": lambda vae, data: [site.mean for site in encode(vae, data).values()],
    "embed": lambda vae, data: [vae.embed(data)],
    "hidden_units": lambda vae, data: list(hidden_units(vae, x_of(data))),
    "log_evidence": lambda vae, data: list(log_evidence(vae, data.first(5), 20)),
    "anneal": lambda vae, data: list(anneal(vae, x_of(data, 2), steps=2, chains=2)),
    "local_posterior": lambda vae, data: [
        local_posterior(vae, data.first(2), refine_steps=2, draws=100).mean
    ],
    "chains": chains_of,
    "diagnose": lambda vae, data: [diagnose(vae, data, num=50, draws=100).draws.log_weight],
    "traverse": lambda vae, data: [traverse(vae, x_of(data, 20)).images],
    "interpolate": lambda vae, data: [interpolate(vae, x_of(data)).images],
    "manifold": lambda vae, data: [manifold(vae, x_of(data), size=3).images],
    "samples": lambda vae, data: [n.value for n in sample_both(vae, data).numbers()],
    "outliers": lambda vae, data: [
        n.value for n in score_outliers(vae, data, data, data, samples=5, steps=1).numbers()
    ],
}


@pytest.mark.parametrize(
    "look", [pytest.param(look, marks=[pytest.mark.slow] * (look in SLOW)) for look in LOOKS]
)
def test_what_a_fitted_model_is_asked_has_the_same_answer(
    here_and_there: dict[str, tuple[VAE, Dataset]], look: str
) -> None:
    answers = []
    for vae, data in here_and_there.values():
        with seeded(1):
            found = LOOKS[look](vae, data)
        answers.append([as_array(value) for value in found])
    for here, there in zip(*answers, strict=True):
        assert np.isfinite(there).all()
        if look not in DRAWN_OTHERWISE:
            np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-5)


def test_a_whole_fit_is_the_same(few_digits: Splits, away: Any) -> None:
    spec = InferenceSpec(epochs=2, batch_size=16, resampling={"kind": "histogram"})
    found = []
    for device in ("cpu", away.name):
        with seeded(0):
            vae = build(ModelSpec(), spec, few_digits).to(device)
        history = fit(vae, few_digits, spec)
        found.append([value for record in history for value in (record.elbo, record.loss)])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
