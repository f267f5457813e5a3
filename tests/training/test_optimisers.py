"""The optimisers are torch's, step by step, and go on from a state."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pyrovae import InferenceSpec
from pyrovae.errors import SpecError
from pyrovae.specs.inference import AdamaxSpec, AdamSpec, AdamWSpec, OptimiserSpec
from pyrovae.training.optimisers import Optimiser, TorchOptimiser, build_optimiser, grouped

SPECS: list[tuple[OptimiserSpec, type[torch.optim.Optimizer]]] = [
    (AdamSpec(), torch.optim.Adam),
    (AdamSpec(betas=(0.5, 0.9), eps=1e-3, weight_decay=0.3), torch.optim.Adam),
    (AdamWSpec(weight_decay=0.3), torch.optim.AdamW),
    (AdamWSpec(betas=(0.0, 0.99), weight_decay=0.0), torch.optim.AdamW),
    (AdamaxSpec(), torch.optim.Adamax),
    (AdamaxSpec(betas=(0.8, 0.95), weight_decay=0.3), torch.optim.Adamax),
]
specs = pytest.mark.parametrize(
    ("spec", "family"), SPECS, ids=[f"{s.kind}-{s.weight_decay:g}" for s, _ in SPECS]
)
RATES = [0.1, 0.05, 0.05, 0.3, 1e-3]
ROUNDING: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-14}


@pytest.fixture
def parameters() -> list[nn.Parameter]:
    """A matrix, a vector and a number."""
    return [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in ((3, 4), (5,), ())]


def gradients_of(parameters: list[nn.Parameter], count: int) -> list[list[Tensor]]:
    """As many as there are steps, of very different sizes; one is of zeros."""
    sizes = torch.logspace(-3, 3, count).tolist()
    drawn = [[size * torch.randn_like(p) for p in parameters] for size in sizes]
    return [*drawn[:2], [torch.zeros_like(p) for p in parameters], *drawn[3:]]


@specs
def test_a_step_is_that_of_torchs_class(
    parameters: list[nn.Parameter], spec: OptimiserSpec, family: Any
) -> None:
    theirs = copy.deepcopy(parameters)
    stock = family(theirs, lr=1.0, betas=spec.betas, eps=spec.eps, weight_decay=spec.weight_decay)
    optimiser = Optimiser(spec, parameters)
    for rate, gradients in zip(RATES, gradients_of(parameters, len(RATES)), strict=True):
        stock.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        stock.step()
        kept = [gradient.clone() for gradient in gradients]
        optimiser.update(gradients, rate)
        torch.testing.assert_close(parameters, theirs, **ROUNDING)
        assert all(map(torch.equal, gradients, kept))
        assert all(parameter.grad is None for parameter in parameters)


@specs
def test_the_first_step_has_the_length_of_the_rate(spec: OptimiserSpec, family: Any) -> None:
    # Kingma and Ba (2015), section 2.1: whatever the gradient's size, but for eps.
    parameter = nn.Parameter(torch.zeros(4, dtype=torch.float64))  # nothing to decay
    optimiser = Optimiser(spec, [parameter])
    gradient = torch.tensor([-1e5, -1e4, 1e4, 1e5], dtype=torch.float64)
    optimiser.update([gradient], 0.25)
    torch.testing.assert_close(parameter.detach(), -0.25 * gradient.sign(), rtol=1e-6, atol=0)


@specs
@pytest.mark.parametrize("before", [0, 1, 3])
def test_another_optimiser_goes_on_from_the_state(
    parameters: list[nn.Parameter], spec: OptimiserSpec, family: Any, before: int
) -> None:
    optimiser = Optimiser(spec, parameters)
    gradients = gradients_of(parameters, len(RATES))
    steps = list(zip(gradients, RATES, strict=True))
    for step in steps[:before]:
        optimiser.update(*step)
    state, others = optimiser.state_dict(), copy.deepcopy(parameters)
    for step in steps[before:]:
        optimiser.update(*step)  # a state is a copy
    gone_on = Optimiser(spec, others)
    gone_on.update([torch.ones_like(p) for p in others], 0.0)  # leaves something to overwrite
    kept = gone_on.tensors()
    gone_on.load_state_dict(state)
    assert all(mine is theirs for mine, theirs in zip(gone_on.tensors(), kept, strict=True))
    for step in steps[before:]:
        gone_on.update(*step)
    assert all(map(torch.equal, others, parameters))
    assert all(map(torch.equal, gone_on.tensors(), optimiser.tensors()))


@specs
def test_a_gradient_of_zeros_moves_a_parameter_by_its_decay_alone(
    parameters: list[nn.Parameter], spec: OptimiserSpec, family: Any
) -> None:
    """What no gradient reaches has zeros (as ``materialize_grads`` makes them)."""
    before = [parameter.detach().clone() for parameter in parameters]
    optimiser = Optimiser(spec, parameters)
    for _ in range(3):
        optimiser.update([torch.zeros_like(p) for p in parameters], 0.1)
    for mine, was in zip(parameters, before, strict=True):
        assert torch.equal(mine, was) == (spec.weight_decay == 0)
        assert (mine.abs() <= was.abs()).all()


def test_what_is_remembered_is_copied_with_the_step() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    optimiser = Optimiser(AdamSpec(), [parameter])
    for _ in range(4):
        optimiser.update([torch.ones(2)], 0.1)
    state = optimiser.state_dict()
    assert state["step"] == 4
    torch.testing.assert_close(state["first"][0], torch.full((2,), 1 - 0.9**4))
    torch.testing.assert_close(state["second"][0], torch.full((2,), 1 - 0.999**4))


@specs
def test_one_of_torchs_own_takes_the_same_steps_and_goes_on_from_a_state(
    parameters: list[nn.Parameter], spec: OptimiserSpec, family: Any
) -> None:
    def make(given: Any) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = family(
            given, lr=0.5, betas=spec.betas, eps=spec.eps, weight_decay=spec.weight_decay
        )
        return made

    own, others = copy.deepcopy(parameters), copy.deepcopy(parameters)
    mine, theirs = Optimiser(spec, parameters), TorchOptimiser(make, own, rate=1.0)
    steps = list(zip(gradients_of(parameters, len(RATES)), RATES, strict=True))
    for gradients, rate in steps[:2]:
        theirs.update(gradients, 2 * rate)  # half of which is the rate
    state, weights = theirs.state_dict(), copy.deepcopy(own)
    for gradients, rate in steps[2:]:
        theirs.update(gradients, 2 * rate)
    for gradients, rate in steps:
        mine.update(gradients, rate)
    torch.testing.assert_close(own, parameters, **ROUNDING)
    again = TorchOptimiser(make, others, rate=1.0)
    again.load_state_dict(state)
    with torch.no_grad():
        for parameter, weight in zip(others, weights, strict=True):
            parameter.copy_(weight)
    for gradients, rate in steps[2:]:
        again.update(gradients, 2 * rate)
    assert all(map(torch.equal, others, own))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: torch.optim.SGD(p, lr=-1.0), "optimiser: Invalid learning rate"),
        (lambda p: "sgd", "optimiser gave 'sgd': give a function"),
        (torch.optim.LBFGS, "LBFGS evaluates the loss several times"),
    ],
)
def test_what_is_no_optimiser_is_refused(
    parameters: list[nn.Parameter], make: Any, words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        TorchOptimiser(make, parameters, rate=1.0)


def test_parts_have_learning_rates_of_their_own() -> None:
    """The longest name counts; by SGD the step is the rate times the gradient."""
    names = ["decoder.last.weight", "posterior.encoder.bias", "posterior.family.loc", "prior"]
    rates = {"posterior": 0.5, "posterior.encoder": 0.25, "prior": 1.0}
    expected = [0.125, 0.25, 0.5, 1.0]
    own: dict[str, Any] = {"kind": "torch.optim:SGD", "learning_rate": 0.125}
    specs = [
        InferenceSpec.model_validate({"optimiser": {**kind, "learning_rates": rates}}).optimiser
        for kind in (own, {"kind": "adam", "learning_rate": 0.125, "eps": 1e-30})
    ]
    for spec in specs:
        named = {name: nn.Parameter(torch.zeros(2, dtype=torch.float64)) for name in names}
        optimiser = build_optimiser(spec, named)
        for scale in (1.0, 0.5):  # of a schedule; Adam's first steps have the size of the rate
            before = [parameter.detach().clone() for parameter in named.values()]
            optimiser.update([torch.ones(2).double() for _ in names], 0.125 * scale)
            for parameter, was, rate in zip(named.values(), before, expected, strict=True):
                moved = was - parameter.detach()
                torch.testing.assert_close(moved, torch.full_like(moved, scale * rate))


def test_rates_of_parts_are_written_with_dots_and_name_parts_that_exist() -> None:
    nested = {"posterior": {"encoder": 1e-4}}
    spec = AdamSpec.model_validate({"learning_rates": nested})
    assert spec.learning_rates == {"posterior.encoder": 1e-4}
    said = r"learning_rates.decodr: no parameter .*; did you mean 'decoder'"
    with pytest.raises(SpecError, match=said):
        grouped(AdamSpec(learning_rates={"decodr": 1e-3}), ["decoder.weight"])
    for wrong in ({"decoder": -1.0}, {"decoder": "fast"}, {}):
        with pytest.raises(SpecError, match="learning_rates"):
            InferenceSpec.model_validate({"optimiser": {"learning_rates": wrong, "kind": "adam"}})
