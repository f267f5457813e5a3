"""The guide's loss on data drawn from the model, and training with the model frozen."""

from __future__ import annotations

from typing import Any

import pyro
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from pyrovae import InferenceSpec, ModelSpec, Splits, Training, build, fit
from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch, Dataset
from pyrovae.errors import SpecError
from pyrovae.objectives import SampledELBO
from pyrovae.parts.families import DeltaFamily
from pyrovae.training.parameters import guide_parameters, model_parameters, trained_parameters
from pyrovae.training.simulated import SimulatedLoss
from pyrovae.training.step import Step

BUDGET: dict[str, Any] = {
    "epochs": 250,
    "batch_size": 512,
    "frozen": "model",
    "optimiser": {"kind": "adam", "learning_rate": 5e-2},
    "learning_rate_schedule": {"kind": "cosine"},
}


def names_of(vae: Any, parameters: Any) -> set[str]:
    known = {id(parameter) for parameter in parameters}
    return {name.split(".")[0] for name, p in vae.named_parameters() if id(p) in known}


def spoiled(oracle: Any) -> Any:
    """A guide that starts far from the posterior."""
    with torch.no_grad():
        for parameter in oracle.vae.posterior.family.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return oracle.vae


def splits_of(oracle: Any, count: int = 512) -> Splits:
    """Data from the model, which becomes one of single precision, as data are."""
    x = oracle.vae.float().sample(count)
    train, few = (Dataset("drawn", x, torch.arange(n), None, None) for n in (count, 20))
    return Splits(train, few, few)


def fitted(oracle: Any, loss: str, share: float) -> Any:
    vae = spoiled(oracle)
    spec = InferenceSpec(simulated={"share": share, "loss": loss}, **BUDGET)
    data = splits_of(oracle)
    before = {name: value.clone() for name, value in vae.decoder.state_dict().items()}
    Training(vae, data, spec).run()
    assert all(torch.equal(before[name], v) for name, v in vae.decoder.state_dict().items())
    return vae.double().encode(oracle.x)


@pytest.mark.parametrize(("loss", "share"), [("forward_kl", 1.0), ("objective", 0.5)])
def test_a_family_that_contains_the_posterior_reaches_it(
    make_linear_gaussian: Any, loss: str, share: float
) -> None:
    oracle = make_linear_gaussian("full_rank")
    found = fitted(oracle, loss, share)
    assert kl_divergence(found, oracle.posterior).max() < 0.02


def test_the_forward_kl_of_independent_normals_keeps_the_marginals(
    make_linear_gaussian: Any,
) -> None:
    oracle = make_linear_gaussian("full_rank")
    posterior = oracle.posterior
    vae = make_linear_gaussian("diagonal").vae
    oracle.vae.posterior = vae.posterior
    found = fitted(oracle, "forward_kl", 1.0)
    variance = posterior.covariance_matrix.diagonal(dim1=-2, dim2=-1)
    best = Independent(Normal(posterior.mean, variance.sqrt()), 1)
    assert kl_divergence(found, best).max() < 0.02
    # The reverse KL would have these, which are smaller.
    conditional = 1 / torch.linalg.inv(posterior.covariance_matrix).diagonal(dim1=-2, dim2=-1)
    assert (found.variance > 1.5 * conditional).any()


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_parameters_of_model_and_guide_are_told_apart(make_vae: Any, prior: str) -> None:
    vae = make_vae(prior=prior)
    few = Batch.of(vae.sample(2))
    of_model = {"prior", "decoder"} | ({"posterior"} if prior == "vamp" else set())
    assert names_of(vae, model_parameters(vae, few)) == of_model
    assert names_of(vae, guide_parameters(vae, few)) == {"posterior"}


def test_draws_change_the_gradient_of_the_guide_alone(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    data = splits_of(oracle).train
    found: dict[float | None, list[Tensor]] = {}
    for share in (None, 0.25):
        simulated = None if share is None else {"share": share}
        spec = InferenceSpec(simulated=simulated)
        training = Training(oracle.vae, Splits(data, data, data), spec)
        torch.manual_seed(3)
        _, *found[share] = training.take_step.differentiate(data.x)
    names = [name for name, _ in oracle.vae.named_parameters()]
    for name, plain, mixed in zip(names, found[None], found[0.25], strict=True):
        assert torch.equal(plain, mixed) == (not name.startswith("posterior")), name


def test_a_share_of_the_gradient_is_that_of_the_draws(make_linear_gaussian: Any) -> None:
    vae = make_linear_gaussian().vae
    x = vae.sample(8)
    spec = InferenceSpec(simulated={"share": 0.25}).simulated
    assert spec is not None
    loss = SimulatedLoss(vae, SampledELBO(), Batch.of(x), spec)
    parameters = [*vae.posterior.parameters()]
    torch.manual_seed(0)
    own = torch.autograd.grad(loss(Batch.of(x), 1.0), parameters)
    torch.manual_seed(0)
    zeros = [torch.zeros_like(p) for p in parameters]
    mixed = loss.mixed(parameters, zeros, loss(Batch.of(x), 1.0))
    for expected, got in zip(own, mixed, strict=True):
        torch.testing.assert_close(got, 0.25 * expected)


def test_the_loss_of_an_exact_guide_is_the_entropy_of_the_posterior(
    make_linear_gaussian: Any,
) -> None:
    oracle = make_linear_gaussian()
    spec = InferenceSpec(simulated={"share": 1.0}).simulated
    assert spec is not None
    like = Batch.of(oracle.vae.sample(4000))
    torch.manual_seed(0)
    loss = SimulatedLoss(oracle.vae, SampledELBO(), like, spec)(like, 1.0).item()
    entropy = oracle.posterior.entropy()[0].item()
    # The spread of log q is that of a chi-squared variable over two dimensions.
    assert abs(loss - entropy) < 5 / 4000**0.5


def test_a_point_is_refused(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    oracle.vae.posterior.family = DeltaFamily(5, 2)
    with pytest.raises(SpecError, match="is a point"):
        Training(oracle.vae, splits_of(oracle), InferenceSpec(simulated={"share": 0.5}))


def test_a_model_that_holds_the_guide_leaves_nothing_to_fit(make_vae: Any) -> None:
    vae = make_vae(prior="vamp")
    few = Batch.of(vae.sample(2))
    with pytest.raises(SpecError, match="leaves nothing to be fitted"):
        trained_parameters(vae, few, InferenceSpec(frozen="model"))


def test_a_step_on_draws_can_be_captured(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    spec = InferenceSpec(simulated={"share": 0.5}, frozen="model", batch_size=64)
    step: Step = Training(oracle.vae, splits_of(oracle), spec).take_step
    inputs = step.inputs(*step.batch(torch.arange(64)))
    with pyro.validation_enabled(False):
        torch.manual_seed(1)
        expected = step.differentiate(*inputs)
        captured = step.capture(64)
        torch.manual_seed(1)
        for got, wanted in zip(captured(*inputs), expected, strict=True):
            torch.testing.assert_close(got, wanted)


class Square(nn.Module):
    """x = z² and noise: a posterior of two modes, as far from zero."""

    def forward(self, z: Tensor) -> Tensor:
        return z.square()


def mass_of_the_smaller_mode(share: float | None) -> float:
    x = torch.full((400, 1), 2.0) + 0.1 * torch.randn(400, 1)
    settings: dict[str, Any] = {
        "model.latent_dim": 1,
        "model.likelihood": {"kind": "normal", "noise": "fixed", "scale": 0.3},
        "inference.guide.kind": "mixture",
        "inference.guide.components": 2,
    }
    with seeded(0):
        vae = build(ModelSpec(), InferenceSpec(), x, settings, decoder=Square())
        for standardisation in {
            vae.likelihood.standardisation,
            vae.posterior.encoder.standardisation,
        }:
            standardisation.loc.zero_()
            standardisation.scale.fill_(1.0)
        with torch.no_grad():  # both components begin at one mode
            vae.posterior.family.loc.bias.fill_(1.4)
    simulated = None if share is None else {"share": share}
    spec = InferenceSpec(
        epochs=80,
        frozen="model",
        simulated=simulated,
        optimiser={"kind": "adam", "learning_rate": 3e-2},
    )
    fit(vae, x, spec, progress=False)
    z = vae.encode(torch.full((1, 1), 2.0)).sample((4000,))
    return min((z > 0).double().mean().item(), (z < 0).double().mean().item())


def test_the_forward_kl_finds_the_mode_that_the_elbo_misses() -> None:
    assert mass_of_the_smaller_mode(None) < 0.01
    assert mass_of_the_smaller_mode(1.0) > 0.3
