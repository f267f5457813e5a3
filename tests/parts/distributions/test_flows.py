"""Flows are densities of what they draw, with the right gradients; zuko leaves no trace."""

from __future__ import annotations

import ast
import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform

import pyrovae
from pyrovae.parts.distributions.flows import FlowDistribution, autoregressive

EXACT = {"rtol": 1e-9, "atol": 1e-9}  # inverted dimension by dimension, in float64
DIMS, CONTEXT = 3, 2
FAMILIES = {
    "affine": {"univariate": "affine"},
    "spline": {"univariate": "spline"},
    "coupling": {"univariate": "spline", "coupling": True},
}


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def family(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every kind of flow."""
    return request.param


def bent(family: dict[str, Any], dims: int = DIMS, context: int = CONTEXT) -> nn.Module:
    """A flow of two layers whose networks all have a say, in float64."""
    flow = autoregressive(features=dims, context=context, layers=2, widths=(12, 12), **family)
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=0.3)
    return flow.double()


def noise(dims: int = DIMS, batch: tuple[int, ...] = ()) -> Any:
    shape = (*batch, dims)
    return dist.Normal(torch.zeros(shape).double(), torch.ones(shape).double()).to_event(1)


def passes(flow: nn.Module, run: Callable[[], Any]) -> int:
    """How often a flow's first network is asked while something runs."""
    count = 0

    def increase(*_: Any) -> None:
        nonlocal count
        count += 1

    handle = flow.transforms[0].hyper.register_forward_hook(increase)
    run()
    handle.remove()
    return count


def test_an_affine_flow_is_the_normal_it_stands_for() -> None:
    loc, scale = torch.randn(4, DIMS).double(), torch.rand(4, DIMS).double() + 0.1
    q = FlowDistribution(noise(), [AffineTransform(loc, scale, event_dim=1)])
    normal = dist.Normal(loc, scale).to_event(1)
    assert (q.batch_shape, q.event_shape) == (normal.batch_shape, normal.event_shape)
    for z in (q.rsample(), torch.randn(5, 4, DIMS).double()):
        torch.testing.assert_close(q.log_prob(z), normal.log_prob(z), **EXACT)


def test_a_flow_starts_as_the_identity(family: dict[str, Any]) -> None:
    flow = autoregressive(features=DIMS, context=CONTEXT, layers=3, widths=(8,), **family)
    x = 3 * torch.randn(50, DIMS)
    torch.testing.assert_close(flow(torch.randn(50, CONTEXT))(x), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [1, 2, 3, 4])
def test_a_flow_gives_back_the_noise_it_was_given(family: dict[str, Any], dims: int) -> None:
    transform = bent(family, dims)(torch.randn(50, CONTEXT).double())
    x = 2 * torch.randn(50, dims).double()
    y = transform(x)
    assert ((y - x).abs().amax(0) > 0.01).all()
    torch.testing.assert_close(transform.inv(y), x, rtol=1e-6, atol=1e-6)


def test_the_density_is_that_of_the_noise_over_the_jacobian(family: dict[str, Any]) -> None:
    flow = bent(family, context=0)
    q = FlowDistribution(noise(), [flow(None)])
    for point in torch.randn(5, DIMS).double():
        jacobian = torch.autograd.functional.jacobian(flow(None), point)
        expected = noise().log_prob(point) - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(q.log_prob(flow(None)(point)), expected, **EXACT)


def test_a_draw_has_the_density_that_an_equal_tensor_has(family: dict[str, Any]) -> None:
    q = FlowDistribution(noise(batch=(4,)), [bent(family)(torch.randn(4, CONTEXT).double())])
    for distribution in (q, q.expand((3, 4))):
        for shape in ((), (6,)):
            z = distribution.rsample(shape)
            assert z.shape == (*shape, *distribution.batch_shape, DIMS)
            own = distribution.log_prob(z)
            assert own.shape == z.shape[:-1]
            torch.testing.assert_close(own, distribution.log_prob(z.clone()), **EXACT)


def test_an_earlier_draw_is_not_taken_for_the_last(family: dict[str, Any]) -> None:
    q = FlowDistribution(noise(), [bent(family, context=0)(None)])
    first, second = q.rsample(), q.rsample()
    assert not torch.isclose(q.log_prob(first), q.log_prob(second))
    torch.testing.assert_close(q.log_prob(first), q.log_prob(first.clone()), **EXACT)


def test_batches_of_contexts_broadcast_against_values(family: dict[str, Any]) -> None:
    flow, context = bent(family), torch.randn(4, CONTEXT).double()
    affine = AffineTransform(torch.randn(4, DIMS).double(), 0.5, event_dim=1)
    q = FlowDistribution(noise(), [flow(context), affine])
    z = torch.randn(7, 1, DIMS).double()
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.expand(7, 4, DIMS)), **EXACT)
    mixture = dist.MixtureSameFamily(dist.Categorical(torch.ones(4).double()), q)
    expected = q.log_prob(z).logsumexp(-1) - torch.tensor(4.0).double().log()
    torch.testing.assert_close(mixture.log_prob(z[:, 0]), expected, **EXACT)


class Problem:
    """One draw, whose noise is always the same, and its density as functions of a parameter."""

    def __init__(self, family: dict[str, Any]) -> None:
        self.flow = bent(family)
        self.context = torch.randn(4, CONTEXT).double()
        self.parameter = self.flow.transforms[0].hyper[0].bias
        self.direction = torch.randn_like(self.parameter)

    def distribution(self) -> FlowDistribution:
        return FlowDistribution(noise(batch=(4,)), [self.flow(self.context)])

    def draw(self) -> tuple[FlowDistribution, Tensor]:
        torch.manual_seed(3)
        q = self.distribution()
        return q, q.rsample()

    def slope(self, log_prob: Tensor) -> Tensor:
        """The derivative along the direction, by backward."""
        (gradient,) = torch.autograd.grad(log_prob.sum(), self.parameter)
        return (gradient * self.direction).sum()

    @torch.no_grad()
    def difference(self, log_prob: Callable[[], Tensor], step: float = 1e-6) -> Tensor:
        """The derivative along the direction, by a central difference."""
        self.parameter.add_(step * self.direction)
        above = log_prob().sum()
        self.parameter.sub_(2 * step * self.direction)
        below = log_prob().sum()
        self.parameter.add_(step * self.direction)
        return (above - below) / (2 * step)


@pytest.fixture
def problem(family: dict[str, Any]) -> Problem:
    return Problem(family)


CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # of central differences


def test_the_density_of_a_draw_has_the_total_gradient(problem: Problem) -> None:
    def moving() -> Tensor:
        q, z = problem.draw()
        return q.log_prob(z.clone())

    q, z = problem.draw()
    expected = problem.difference(moving)
    assert expected.abs() > 1e-3
    torch.testing.assert_close(problem.slope(q.log_prob(z)), expected, **CLOSE)
    q, z = problem.draw()
    torch.testing.assert_close(problem.slope(q.log_prob(z.clone())), expected, **CLOSE)


def test_the_density_of_a_detached_draw_has_the_direct_gradient(problem: Problem) -> None:
    q, z = problem.draw()
    z = z.detach()
    expected = problem.difference(lambda: problem.distribution().log_prob(z))
    total = problem.slope(q.log_prob(problem.draw()[1]))
    assert (total - expected).abs() > 1e-3  # the two are not the same thing
    torch.testing.assert_close(problem.slope(q.log_prob(z)), expected, **CLOSE)


@pytest.mark.parametrize("method", ["sample", "rsample"])
def test_what_was_drawn_without_gradients_is_scored_with_them(
    problem: Problem, method: str
) -> None:
    q = problem.distribution()
    with torch.no_grad():
        z = getattr(q, method)()
    assert not z.requires_grad
    expected = problem.difference(lambda: problem.distribution().log_prob(z))
    torch.testing.assert_close(problem.slope(q.log_prob(z)), expected, **CLOSE)


@pytest.mark.parametrize("gradients", [True, False])
def test_a_draw_and_its_density_take_one_pass(family: dict[str, Any], gradients: bool) -> None:
    flow = bent(family, dims=4)
    with torch.set_grad_enabled(gradients):
        q = FlowDistribution(noise(4, (5,)), [flow(torch.randn(5, CONTEXT).double())])
        assert passes(flow, lambda: q.log_prob(q.rsample())) == 1


def test_coupling_layers_are_inverted_in_the_same_number_of_passes_for_any_length() -> None:
    def count(family: dict[str, Any], dims: int) -> int:
        flow = bent(family, dims)
        q = FlowDistribution(noise(dims, (5,)), [flow(torch.randn(5, CONTEXT).double())])
        return passes(flow, lambda: q.log_prob(torch.randn(5, dims).double()))

    assert count(FAMILIES["coupling"], 4) == count(FAMILIES["coupling"], 9)
    assert count(FAMILIES["affine"], 9) - count(FAMILIES["affine"], 4) == 5


def test_values_outside_the_support_are_refused_where_arguments_are_validated() -> None:
    q = FlowDistribution(noise(), [bent(FAMILIES["affine"], context=0)(None)])
    with pytest.raises(ValueError, match="support"):
        q.log_prob(torch.full((DIMS,), torch.nan).double())


def test_a_flow_has_no_mean_that_is_known(family: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError):
        _ = FlowDistribution(noise(), [bent(family, context=0)(None)]).mean


def test_a_copy_of_a_flow_is_the_same_flow_with_parameters_of_its_own(
    family: dict[str, Any],
) -> None:
    flow = bent(family)
    twin = copy.deepcopy(flow)
    context, x = torch.randn(5, CONTEXT).double(), torch.randn(5, DIMS).double()
    before = flow(context)(x).detach()
    assert torch.equal(twin(context)(x), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(flow(context)(x), before)


@pytest.mark.parametrize("validated", [True, False])
def test_importing_pyrovae_leaves_the_validation_of_arguments_as_it_was(validated: bool) -> None:
    program = f"""
from torch.distributions import Distribution
import pyro
Distribution.set_default_validate_args({validated})
import pyrovae.parts.distributions.flows
import sys
assert "zuko" in sys.modules
assert Distribution._validate_args is {validated}
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_only_one_module_imports_zuko() -> None:
    package = Path(pyrovae.__file__).parent
    importing = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if any(name.split(".")[0] == "zuko" for name in imported(path))
        or "contrib.zuko" in path.read_text(encoding="utf-8")
    ]
    assert importing == ["parts/distributions/flows.py"]


def imported(path: Path) -> list[str]:
    """Names of the modules that a module imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names
