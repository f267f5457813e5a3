"""The densities that priors are named after, and the limits in which they are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from pyrovae import VAE, InferenceSpec, ModelSpec, Splits, Training, build, load_data
from pyrovae.compute.capture import capture
from pyrovae.data import from_arrays
from pyrovae.parts.distributions.flows import FlowDistribution
from pyrovae.parts.distributions.positive import positive
from pyrovae.parts.families import DiagonalNormal
from pyrovae.parts.guides import Guide
from pyrovae.parts.networks import MLPEncoder
from pyrovae.parts.priors import (
    FlowPrior,
    LaplacePrior,
    NormalPrior,
    Prior,
    StudentTPrior,
    VampPrior,
)
from pyrovae.parts.priors.building import build_prior
from pyrovae.specs.computation import Computation
from pyrovae.specs.files import validate
from pyrovae.specs.inference import AdamaxSpec, AdamSpec, AdamWSpec, OptimiserSpec
from pyrovae.training.optimisers import Optimiser

EXACT = {"rtol": 1e-10, "atol": 1e-10}  # float64
GUIDE = Guide(MLPEncoder((4,), (5,)), DiagonalNormal(5, 3))
STANDARD = {
    "normal": (NormalPrior, stats.norm()),
    "laplace": (LaplacePrior, stats.laplace()),
    "student_t": (StudentTPrior, stats.t(5.0)),
}
location_scale = pytest.mark.parametrize(
    ("family", "reference"), STANDARD.values(), ids=STANDARD.keys()
)


def log_prob(prior: Prior, z: Tensor) -> Tensor:
    return prior.double()(GUIDE).log_prob(z)


@pytest.fixture
def z() -> Tensor:
    """Codes in the middle and far out, ``(40, 3)``."""
    return 3 * torch.randn(40, 3).double()


@location_scale
def test_a_standard_prior_has_the_density_of_its_name(
    family: Any, reference: Any, z: Tensor
) -> None:
    expected = torch.from_numpy(np.sum(reference.logpdf(z.numpy()), axis=-1))
    torch.testing.assert_close(log_prob(family(3), z), expected, **EXACT)


@location_scale
def test_a_learned_prior_starts_as_the_standard_one(
    family: Any, reference: Any, z: Tensor
) -> None:
    learned, standard = family(3, learned=True), family(3)
    # The raw scale of one is rounded to float32.
    torch.testing.assert_close(log_prob(learned, z), log_prob(standard, z), rtol=0, atol=1e-4)
    assert {name for name, _ in learned.named_parameters()} == {"loc", "raw_scale"}


@location_scale
def test_a_learned_prior_is_the_standard_one_shifted_and_stretched(
    family: Any, reference: Any, z: Tensor
) -> None:
    prior = family(3, learned=True).double()
    nn.init.normal_(prior.loc)
    nn.init.normal_(prior.raw_scale)
    scale = positive(prior.raw_scale)
    expected = log_prob(family(3), (z - prior.loc) / scale) - scale.log().sum()
    torch.testing.assert_close(log_prob(prior, z), expected, **EXACT)


@location_scale
def test_a_standard_prior_has_nothing_to_learn_and_nothing_to_save(
    family: Any, reference: Any
) -> None:
    prior = family(3)
    assert list(prior.parameters()) == []
    assert prior.state_dict() == {}
    assert dict(prior.named_buffers()).keys() == {"loc", "scale"}


@pytest.mark.parametrize("df", [1.0, 3.5, 30.0])
def test_the_degrees_of_freedom_are_those_asked_for(df: float, z: Tensor) -> None:
    expected = torch.from_numpy(stats.t(df).logpdf(z.numpy()).sum(-1))
    torch.testing.assert_close(log_prob(StudentTPrior(3, df), z), expected, **EXACT)


def test_students_t_of_many_degrees_of_freedom_is_the_normal(z: Tensor) -> None:
    # log t - log N = (z⁴ - 2 z² - 1) / 4ν + O(1/ν²) in each dimension.
    df = 1e6
    first_order = ((z**4 - 2 * z**2 - 1) / (4 * df)).sum(-1)
    difference = log_prob(StudentTPrior(3, df), z) - log_prob(NormalPrior(3), z)
    torch.testing.assert_close(difference, first_order, rtol=1e-2, atol=1e-8)


def bent(transform: Any, latent_dim: int = 3) -> FlowPrior:
    prior = FlowPrior(latent_dim, transform, layers=2, widths=(12, 12)).double()
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.3)
    return prior


transforms = pytest.mark.parametrize("transform", ["spline", "autoregressive"])


@transforms
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_a_flow_prior_starts_as_the_standard_normal(transform: Any, latent_dim: int) -> None:
    z = 3 * torch.randn(40, latent_dim).double()
    expected = log_prob(NormalPrior(latent_dim), z)
    torch.testing.assert_close(log_prob(FlowPrior(latent_dim, transform), z), expected, **EXACT)


@transforms
@torch.no_grad()
def test_a_flow_prior_of_one_dimension_integrates_to_one(transform: Any) -> None:
    z = torch.linspace(-60, 60, 400_001).double()[:, None]
    density = log_prob(bent(transform, latent_dim=1), z).exp()
    assert (density - log_prob(NormalPrior(1), z).exp()).abs().max() > 0.01
    assert torch.trapezoid(density, z[:, 0]).item() == pytest.approx(1.0, abs=1e-6)


def test_outside_of_its_knots_a_spline_is_the_identity() -> None:
    z = torch.tensor([[6.0, -7.0, 5.5], [-5.1, 9.0, -6.0]]).double()
    inside = torch.tensor([[0.3, -1.0, 0.5]]).double()
    prior, normal = bent("spline"), NormalPrior(3)
    torch.testing.assert_close(log_prob(prior, z), log_prob(normal, z), **EXACT)
    assert not torch.isclose(log_prob(prior, inside), log_prob(normal, inside), atol=1e-2)


@transforms
def test_the_density_of_codes_under_a_flow_prior_takes_one_pass(transform: Any, z: Tensor) -> None:
    prior, calls = bent(transform), []
    prior.transform.transforms[0].hyper.register_forward_hook(lambda *_: calls.append(1))
    log_prob(prior, z)
    assert len(calls) == 1


def test_the_two_transforms_are_two_families() -> None:
    # Affine given what precedes it: the first dimension of the last layer to move stays normal.
    noise = torch.randn(9, 3).double()
    for transform, straight in (("autoregressive", True), ("spline", False)):
        layer = bent(transform).transform.transforms[0](None)
        line = torch.stack([noise, noise + torch.eye(3)[0], noise + 2 * torch.eye(3)[0]])
        first = layer(line)[..., 0]
        bends = (first[2] - 2 * first[1] + first[0]).abs().max()
        assert (bends < 1e-9) == straight


SPECS: dict[str, tuple[dict[str, Any], Any]] = {
    "normal": ({"learned": True}, lambda prior: prior.learned),
    "laplace": ({"learned": True}, lambda prior: prior.learned),
    "student_t": ({"df": 7.0, "learned": True}, lambda prior: prior.df == 7 and prior.learned),
    "flow": (
        {"transform": "autoregressive", "layers": 2, "widths": [9, 8]},
        lambda prior: (
            "masked" in prior.formula
            and len(prior.transform.transforms) == 2
            and prior.transform.transforms[0].hyper[0].out_features == 9
        ),
    ),
}


@pytest.mark.parametrize("kind", SPECS)
def test_a_prior_is_built_with_the_options_of_its_specification(kind: str) -> None:
    options, fits = SPECS[kind]
    spec = ModelSpec.model_validate({"prior": {"kind": kind, **options}}).prior
    assert fits(build_prior(spec, 3, (4,), None, None))
    default = ModelSpec.model_validate({"prior": {"kind": kind}}).prior
    assert not fits(build_prior(default, 3, (4,), None, None))


def test_a_flow_prior_says_its_density_for_its_own_draws() -> None:
    p = bent("spline")(GUIDE)
    assert isinstance(p, FlowDistribution)
    z = p.rsample((7,))
    torch.testing.assert_close(p.log_prob(z), p.log_prob(z.clone()), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("levels", [1.0, 255.0])
def test_pseudo_inputs_at_the_ends_of_the_data_have_the_gradient_of_the_loss(
    levels: float,
) -> None:
    prior = VampPrior(2, torch.tensor([[0.0, 1.0, 0.3, 0.0, 1.0, 0.7]]) * levels, levels)
    slope = torch.tensor([[2.0, 3.0, -1.0, -0.1, -4.0, 0.0]])  # inwards and outwards
    (slope * prior.data()).sum().backward()
    torch.testing.assert_close(prior.pseudo_inputs.grad, slope * levels)


def test_pseudo_inputs_outside_of_the_data_have_the_gradient_that_leads_back() -> None:
    prior = VampPrior(2, torch.tensor([[-1e-6, -3.0, 1.5, 1.00001]]), 1.0)
    back = torch.tensor([[-1.0, -2.0, 3.0, 4.0]])
    for slope, expected in ((back, back), (-back, torch.zeros(1, 4))):
        (gradient,) = torch.autograd.grad((slope * prior.data()).sum(), prior.pseudo_inputs)
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("spec", [AdamSpec(), AdamWSpec(), AdamaxSpec()], ids=lambda s: s.kind)
def test_pseudo_inputs_pressed_outside_of_the_data_come_back(spec: OptimiserSpec) -> None:
    prior = VampPrior(2, torch.tensor([[0.0, 16.0, 0.16, 15.84]]), 16.0)
    optimiser, inwards = Optimiser(spec, [prior.pseudo_inputs]), torch.tensor([1, -1, 1, -1])

    def pressed(direction: Tensor, steps: int) -> Tensor:
        """The values after each step, ``(steps, 1, 4)``."""
        values = []
        for _ in range(steps):
            loss = -(direction * prior.data()).sum()
            optimiser.update(torch.autograd.grad(loss, [prior.pseudo_inputs]), rate=0.01)
            values.append(prior.data().detach())
        return torch.stack(values)

    assert torch.equal(pressed(-inwards, 500)[-1], torch.tensor([[0.0, 16.0, 0.0, 16.0]]))
    # However long it was pressed, it has not gone far.
    back = pressed(inwards, 50)
    assert ((back > 0) & (back < 16)).any(0).all()


@pytest.fixture
def bits() -> Splits:
    """Two hundred digits in black and white."""
    digits = load_data("digits").train.batch(torch.arange(200)).x
    return from_arrays((digits >= 8).float())


@pytest.fixture
def on_bits(bits: Splits) -> tuple[VAE, Training]:
    """A VampPrior of ten pseudo-inputs, and its training."""
    inference = validate({"epochs": 15, "batch_size": 20}, InferenceSpec, "inference")
    model = {
        "latent_dim": 2,
        "prior": {"kind": "vamp", "pseudo_inputs": 10},
        "decoder": {"kind": "mlp", "widths": [50]},
        "likelihood": {"kind": "bernoulli"},
    }
    vae = build(validate(model, ModelSpec, "model"), inference, bits)
    return vae, Training(vae, bits, inference, Computation(compile="off"))


def test_pseudo_inputs_that_start_at_bits_move_and_are_seen_inside(
    on_bits: tuple[VAE, Training],
) -> None:
    vae, training = on_bits
    start, seen = vae.prior.data().detach().clone(), []
    assert ((start == 0) | (start == 1)).all()
    vae.posterior.encoder.register_forward_pre_hook(
        lambda _, inputs: seen.append((inputs[0].min().item(), inputs[0].max().item()))
    )
    training.run()
    moved = (vae.prior.data() - start).abs() > 1e-3
    assert moved.float().mean() > 0.2
    assert min(seen)[0] == 0
    assert max(high for _, high in seen) == 1


def test_captured_pseudo_inputs_have_the_same_gradient(on_bits: tuple[VAE, Training]) -> None:
    vae, training = on_bits
    x = training.take_step.data.batch(torch.arange(20)).x
    with pyro.validation_enabled(False):  # as in training
        graph = capture(training.take_step.differentiate, vae, [x], [1 - x])
        for shift in (0.0, -0.3, 0.6):  # the graph is made once, and has to look again
            with torch.no_grad():
                vae.prior.pseudo_inputs[:5] += shift
            found = []
            for differentiate in (graph, training.take_step.differentiate):
                torch.manual_seed(3)
                found.append(differentiate(x))
            for captured, expected in zip(*found, strict=True):
                torch.testing.assert_close(captured, expected)
