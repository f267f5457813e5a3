"""The objectives against Pyro's own, against formulas, and against enumeration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import ELBO, SVI, Trace_ELBO, TraceMeanField_ELBO
from pyro.optim import Adam
from torch import Tensor, nn
from torch.distributions import kl_divergence

from pyrovae import VAE, Autoencoder
from pyrovae.errors import SpecError
from pyrovae.objectives import (
    AnalyticELBO,
    Objective,
    SampledELBO,
    build_objective,
)
from pyrovae.objectives.abstract import LatentScale
from pyrovae.parts.distributions.kl import exact_kl, exact_kl_per_dim
from pyrovae.programs.autoencoder import Formulas
from pyrovae.specs.objectives import ELBOSpec

# The same sums in another order, in float64.
ROUNDING = {"rtol": 1e-9, "atol": 1e-12}
BETAS = (0.0, 0.5, 1.0, 4.0)
ONE = {"num_particles": 1}
LOOPED = {"num_particles": 3}
VECTORISED = {"num_particles": 3, "max_plate_nesting": 1, "vectorize_particles": True}

estimators = pytest.mark.parametrize("estimator", [SampledELBO, AnalyticELBO])
# Under the standard normal prior.
known_kl = pytest.mark.parametrize("guide", ["diagonal", "laplace", "low_rank", "full_rank"])
betas = pytest.mark.parametrize("beta", BETAS)
PARTICLES = [ONE, LOOPED, VECTORISED]
particles = pytest.mark.parametrize("particles", PARTICLES, ids=["one", "looped", "vectorised"])


class Programs(Autoencoder):
    """Two functions with the module that owns their parameters."""

    vectorisable = True

    def __init__(
        self,
        model: Callable[[Tensor], None],
        guide: Callable[[Tensor], None],
        parts: nn.Module,
    ) -> None:
        super().__init__()
        self.parts = parts
        self._model, self._guide = model, guide

    def model(self, x: Tensor) -> None:
        self._model(x)

    def guide(self, x: Tensor) -> None:
        self._guide(x)

    def formulas(self) -> Formulas:
        return Formulas("p(z)", "p(x | z)", "q(z | x)")


def gradients(loss: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """Gradients of a loss for each parameter, zero where it does not depend on one."""
    module.zero_grad()
    loss.backward()
    return {name: gradient_of(parameter) for name, parameter in module.named_parameters()}


def gradient_of(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()


def assert_same(first: tuple[Tensor, Any], second: tuple[Tensor, Any]) -> None:
    """Same loss and same gradients."""
    torch.testing.assert_close(first[0].detach(), second[0].detach(), **ROUNDING)
    torch.testing.assert_close(first[1], second[1], **ROUNDING)


def seeded_loss(loss: Callable[[], Tensor], vae: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(3)
    value = loss()
    return value, gradients(value, vae)


def assert_agrees_with_pyro(vae: VAE, ours: Objective, theirs: ELBO) -> None:
    x = vae.sample(4)
    mine = seeded_loss(lambda: ours.loss_and_terms(vae, x)[0] * len(x), vae)
    assert_same(mine, seeded_loss(lambda: ours.differentiable_loss(vae.model, vae.guide, x), vae))
    torch.manual_seed(3)
    vae.zero_grad()
    loss = theirs.loss_and_grads(vae.model, vae.guide, x)
    stock = {name: gradient_of(parameter) for name, parameter in vae.named_parameters()}
    assert_same(mine, (torch.tensor(loss, dtype=torch.float64), stock))


def test_the_sampled_objective_is_pyros_in_loss_and_gradients(
    make_vae: Any, prior_and_guide: tuple[str, str]
) -> None:
    vae = make_vae(*prior_and_guide)
    assert_agrees_with_pyro(vae, SampledELBO(**VECTORISED), Trace_ELBO(**VECTORISED))


@pytest.mark.parametrize("particles", [ONE, LOOPED], ids=["one", "looped"])
def test_so_it_is_for_one_particle_and_for_several_in_turn(
    make_vae: Any, covering_pair: tuple[str, str], particles: dict[str, Any]
) -> None:
    vae = make_vae(*covering_pair)
    assert_agrees_with_pyro(vae, SampledELBO(**particles), Trace_ELBO(**particles))


@known_kl
@particles
def test_the_analytic_objective_is_pyros_in_loss_and_gradients(
    make_vae: Any, guide: str, particles: dict[str, Any]
) -> None:
    vae = make_vae("normal", guide)
    assert_agrees_with_pyro(vae, AnalyticELBO(**particles), TraceMeanField_ELBO(**particles))


@estimators
@particles
def test_an_objective_is_a_loss_for_svi(
    make_vae: Any, estimator: type[Objective], particles: dict[str, Any]
) -> None:
    vae, objective = make_vae(), estimator(**particles)
    x = vae.sample(4)
    torch.manual_seed(3)
    expected = objective.loss_and_terms(vae, x)[0].item() * len(x)
    torch.manual_seed(3)
    assert objective.loss(vae.model, vae.guide, x) == pytest.approx(expected, rel=1e-9)
    torch.manual_seed(3)
    step = SVI(vae.model, vae.guide, Adam({"lr": 1e-3}), loss=objective).step(x)
    assert step == pytest.approx(expected, rel=1e-9)


def by_hand(vae: VAE, x: Tensor, beta: float, *, analytic: bool, draws: int = 1) -> Tensor:
    """The loss in nats per datum from the three distributions, at the guide's next draw."""
    q, p = vae.encode(x), vae.prior(vae.posterior)
    z = q.expand((draws, len(x))).rsample()
    sampled = q.log_prob(z) - p.log_prob(z)
    kl = normal_kl(q.mean, q.variance) if analytic else sampled
    return (beta * kl - vae.decode(z).log_prob(x)).mean()


def normal_kl(mean: Tensor, variance: Tensor) -> Tensor:
    """KL(N(mean, diag variance), N(0, I)): Kingma and Welling (2014), appendix B."""
    return 0.5 * (mean.square() + variance - 1 - variance.log()).sum(-1)


def test_beta_weighs_the_sampled_kl_and_nothing_else(
    make_vae: Any, prior_and_guide: tuple[str, str]
) -> None:
    vae = make_vae(*prior_and_guide)
    x = vae.sample(4)
    ours = SampledELBO(**VECTORISED)

    def loss(beta: float) -> Tensor:
        return ours.loss_and_terms(vae, x, beta)[0]

    def expected(beta: float) -> Tensor:
        return by_hand(vae, x, beta, analytic=False, draws=3)

    for beta in BETAS:
        assert_same(
            seeded_loss(partial(loss, beta), vae), seeded_loss(partial(expected, beta), vae)
        )


@betas
@pytest.mark.parametrize("draws", [1, 3])
def test_beta_weighs_the_analytic_kl_and_nothing_else(
    make_vae: Any, beta: float, draws: int
) -> None:
    vae = make_vae()
    x = vae.sample(4)
    ours = AnalyticELBO(**VECTORISED | {"num_particles": draws})
    assert_same(
        seeded_loss(lambda: ours.loss_and_terms(vae, x, beta)[0], vae),
        seeded_loss(lambda: by_hand(vae, x, beta, analytic=True, draws=draws), vae),
    )


@estimators
def test_beta_may_be_a_tensor(make_vae: Any, estimator: type[Objective]) -> None:
    vae = make_vae()
    x = vae.sample(4)
    assert_same(
        seeded_loss(lambda: estimator().loss_and_terms(vae, x, torch.tensor(0.5))[0], vae),
        seeded_loss(lambda: estimator().loss_and_terms(vae, x, 0.5)[0], vae),
    )


def scaled_programs(vae: VAE, beta: float) -> tuple[Callable[..., None], Callable[..., None]]:
    """The programs with ``poutine.scale`` written around the latent site by hand."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with poutine.scale(scale=beta):
                z = pyro.sample("z", vae.prior(vae.posterior))
            pyro.sample("x", vae.decode(z), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.scale(scale=beta):
            pyro.sample("z", vae.encode(x))

    return model, guide


@pytest.mark.parametrize("beta", [0.5, 4.0])  # poutine.scale refuses zero
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(SampledELBO(), Trace_ELBO()), (AnalyticELBO(), TraceMeanField_ELBO())],
    ids=["sampled", "analytic"],
)
def test_beta_is_poutine_scale_around_the_latent_site(
    make_vae: Any, beta: float, ours: Objective, theirs: ELBO
) -> None:
    vae = make_vae()
    x = vae.sample(4)
    programs = scaled_programs(vae, beta)
    assert_same(
        seeded_loss(lambda: ours.loss_and_terms(vae, x, beta)[0] * len(x), vae),
        seeded_loss(lambda: theirs.differentiable_loss(*programs, x), vae),
    )


@known_kl
@estimators
def test_at_beta_zero_gradients_are_those_of_the_reconstruction(
    make_vae: Any, guide: str, estimator: type[Objective]
) -> None:
    vae = make_vae("normal", guide)
    x = vae.sample(4)

    def reconstruction() -> Tensor:
        return -vae.decode(vae.encode(x).rsample()).log_prob(x).mean()

    zero = seeded_loss(lambda: estimator().loss_and_terms(vae, x, beta=0.0)[0], vae)
    assert all(gradient.isfinite().all() for gradient in zero[1].values())
    assert_same(zero, seeded_loss(reconstruction, vae))


@estimators
@particles
def test_terms_do_not_depend_on_beta(
    make_vae: Any, estimator: type[Objective], particles: dict[str, Any]
) -> None:
    vae = make_vae()
    x = vae.sample(4)

    def terms(beta: float) -> Any:
        torch.manual_seed(3)
        return estimator(**particles).loss_and_terms(vae, x, beta)[1][:3]

    for beta in BETAS:
        torch.testing.assert_close(terms(beta), terms(1.0), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("estimator", "prior"),
    [(SampledELBO, "normal"), (SampledELBO, "mixture"), (AnalyticELBO, "normal")],
)
def test_loss_and_terms_are_per_datum_where_a_plate_stands_for_more_data(
    make_vae: Any, estimator: type[Objective], prior: str
) -> None:
    vae = make_vae(prior)
    x = vae.sample(4)
    for_forty = Programs(lambda x: vae.model(x, 40), lambda x: vae.guide(x, 40), vae)
    torch.manual_seed(3)
    loss, terms = estimator().loss_and_terms(vae, x)
    torch.manual_seed(3)
    scaled_loss, scaled_terms = estimator().loss_and_terms(for_forty, x)
    torch.testing.assert_close(scaled_terms[:3], terms[:3], **ROUNDING)
    torch.testing.assert_close(scaled_loss, loss, **ROUNDING)
    torch.manual_seed(3)
    summed = estimator().differentiable_loss(for_forty.model, for_forty.guide, x)
    torch.testing.assert_close(summed, 40 * loss, **ROUNDING)  # as Pyro's own are


def test_loss_is_beta_kl_minus_reconstruction_of_the_reported_terms(
    make_vae: Any, prior_and_guide: tuple[str, str]
) -> None:
    vae = make_vae(*prior_and_guide)
    x, beta = vae.sample(4), 0.5
    objective = type(build_objective(ELBOSpec(), vae, x))
    for particles in PARTICLES:
        loss, terms = objective(**particles).loss_and_terms(vae, x, beta)
        assert terms.reconstruction.shape == terms.elbo.shape == terms.kl["z"].shape == (len(x),)
        expected = (beta * terms.kl["z"] - terms.reconstruction).mean()
        torch.testing.assert_close(loss.detach(), expected, **ROUNDING)


def test_terms_of_vectorised_particles_are_means_over_them(make_vae: Any, prior: str) -> None:
    vae, draws = make_vae(prior, "full_rank"), 3
    x = vae.sample(4)
    torch.manual_seed(3)
    terms = SampledELBO(**VECTORISED).loss_and_terms(vae, x)[1]
    torch.manual_seed(3)
    q, p = vae.encode(x), vae.prior(vae.posterior)
    z = q.rsample((draws,))
    reconstruction = vae.decode(z).log_prob(x).mean(0).detach()
    torch.testing.assert_close(terms.reconstruction, reconstruction, **ROUNDING)
    assert terms.kl_kind["z"] == ("exact" if prior == "normal" else "sampled")
    if terms.kl_kind["z"] == "sampled":
        sampled = (q.log_prob(z) - p.log_prob(z)).mean(0).detach()
        torch.testing.assert_close(terms.kl["z"], sampled, **ROUNDING)


@particles
def test_the_kl_per_dimension_is_that_of_its_normal(
    make_vae: Any, particles: dict[str, Any]
) -> None:
    vae = make_vae()
    x = vae.sample(4)
    terms = SampledELBO(**particles).loss_and_terms(vae, x)[1]
    q = vae.encode(x)
    per_dim = normal_kl(q.mean[..., None], q.variance[..., None]).detach()
    torch.testing.assert_close(terms.kl_per_dim["z"], per_dim, **ROUNDING)
    torch.testing.assert_close(terms.kl["z"], per_dim.sum(-1), **ROUNDING)


@known_kl
@pytest.mark.parametrize("wanted", ["auto", "analytic"])
def test_the_analytic_objective_is_taken_where_it_can_be_had(
    make_vae: Any, guide: str, wanted: str
) -> None:
    vae = make_vae("normal", guide)
    assert isinstance(build_objective(ELBOSpec(kl=wanted), vae, vae.sample(2)), AnalyticELBO)


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
@pytest.mark.parametrize("wanted", ["auto", "sampled"])
def test_the_sampled_objective_is_taken_where_there_is_no_closed_form(
    make_vae: Any, prior: str, guide_with_density: str, wanted: str
) -> None:
    vae = make_vae(prior, guide_with_density)
    assert isinstance(build_objective(ELBOSpec(kl=wanted), vae, vae.sample(2)), SampledELBO)


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_an_analytic_kl_that_nobody_knows_is_refused_naming_both_sides(
    make_vae: Any, prior: str, guide_with_density: str
) -> None:
    vae = make_vae(prior, guide_with_density)
    x = vae.sample(2)
    with pytest.raises(SpecError) as refusal:
        build_objective(ELBOSpec(kl="analytic"), vae, x)
    assert vae.prior.formula in str(refusal.value)
    assert vae.posterior.formula in str(refusal.value)
    with pytest.raises(SpecError, match="site 'z' has no closed form"):
        AnalyticELBO().loss_and_terms(vae, x)


def with_global_code() -> Programs:
    """One code for all the data, drawn outside the plate."""

    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("z", dist.Normal(0.0, 1.0))

    return Programs(model, guide, nn.Linear(1, 1))


def with_data_outside_the_plate() -> Programs:
    """Codes in the plate, and the data not."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(torch.zeros_like(x), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    return Programs(model, guide, nn.Linear(1, 1))


@estimators
@pytest.mark.parametrize(
    ("programs", "site"), [(with_global_code, "z"), (with_data_outside_the_plate, "x")]
)
def test_a_site_outside_the_plate_is_refused(
    programs: Callable[[], Programs], site: str, estimator: type[Objective]
) -> None:
    with pytest.raises(SpecError, match=f"site '{site}'.*inside pyro.plate"):
        estimator().loss_and_terms(programs(), torch.randn(4))


class Switch(nn.Module):
    """The parameters of a binary code: p(z), p(x | z) and q(z | x)."""

    def __init__(self) -> None:
        super().__init__()
        self.prior_logit = nn.Parameter(torch.tensor(-0.8))
        self.locs = nn.Parameter(torch.tensor([-1.0, 1.5]))
        self.slope = nn.Parameter(torch.tensor(0.7))
        self.offset = nn.Parameter(torch.tensor(-0.2))

    def prior(self) -> dist.Bernoulli:
        return dist.Bernoulli(logits=self.prior_logit)

    def likelihood(self, z: Tensor) -> dist.Normal:
        return dist.Normal(self.locs[z.long()], 1.0)

    def posterior(self, x: Tensor) -> dist.Bernoulli:
        return dist.Bernoulli(logits=self.slope * x + self.offset)

    def exact_loss(self, x: Tensor, beta: float) -> Tensor:
        """The loss by enumeration of both codes, in nats per datum."""
        loss = torch.zeros_like(x)
        for z in (torch.zeros_like(x), torch.ones_like(x)):
            log_q = self.posterior(x).log_prob(z)
            kl = log_q - self.prior().log_prob(z)
            loss = loss + log_q.exp() * (beta * kl - self.likelihood(z).log_prob(x))
        return loss.mean()


@pytest.fixture
def binary_code() -> Programs:
    switch = Switch().double()

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", switch.prior())
            pyro.sample("x", switch.likelihood(z), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", switch.posterior(x))

    return Programs(model, guide, switch)


@pytest.mark.parametrize(
    ("beta", "particles"), [(0.0, ONE), (0.5, VECTORISED), (1.0, ONE), (4.0, VECTORISED)]
)
def test_a_code_that_cannot_be_reparametrised_has_an_unbiased_loss_and_gradient(
    binary_code: Programs, z_score: Any, beta: float, particles: dict[str, Any]
) -> None:
    x = torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64)
    repeated = x.repeat(20)  # many independent draws of the code in one batch
    exact = binary_code.parts.exact_loss(x, beta)
    expected = torch.cat([exact[None], *flat(gradients(exact, binary_code))]).detach()
    draws = []
    for _ in range(150):
        loss = SampledELBO(**particles).loss_and_terms(binary_code, repeated, beta)[0]
        draws.append(torch.cat([loss[None], *flat(gradients(loss, binary_code))]).detach())
    stacked = torch.stack(draws)
    random = stacked.std(0) > 1e-12  # at β = 0 the prior's gradient is zero in every draw
    assert z_score(stacked[:, random], expected[random]) < 5
    torch.testing.assert_close(stacked[0, ~random], expected[~random], **ROUNDING)


@betas
@pytest.mark.parametrize("particles", [ONE, VECTORISED], ids=["one", "vectorised"])
@pytest.mark.parametrize("also", [False, True], ids=["alone", "beside a code that can be"])
def test_the_score_function_estimator_is_pyros(
    beta: float, particles: dict[str, Any], also: bool
) -> None:
    switch = Switch().double()

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", switch.prior())
            w = pyro.sample("w", dist.Normal(z, 1.0)) if also else 0.0
            pyro.sample("x", dist.Normal(switch.likelihood(z).mean + w, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", switch.posterior(x))
            if also:
                pyro.sample("w", dist.Normal(switch.slope * x + z, switch.slope.exp()))

    programs = Programs(model, guide, switch)
    x = torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64)
    torch.manual_seed(3)
    loss = SampledELBO(**particles).loss_and_terms(programs, x, beta)[0] * len(x)
    mine = loss, gradients(loss, programs)
    torch.manual_seed(3)
    scaled = LatentScale(beta)
    stock = Trace_ELBO(**particles).differentiable_loss(scaled(model), scaled(guide), x)
    assert_same(mine, (stock, gradients(stock, programs)))


def test_a_code_that_cannot_be_reparametrised_is_sampled_though_its_kl_is_known(
    binary_code: Programs,
) -> None:
    x = torch.tensor([-1.0, 0.3], dtype=torch.float64)
    assert SampledELBO().loss_and_terms(binary_code, x)[1].kl_kind == {"z": "exact"}
    assert isinstance(build_objective(ELBOSpec(), binary_code, x), SampledELBO)
    with pytest.raises(SpecError, match="cannot be reparameterised at site 'z'"):
        build_objective(ELBOSpec(kl="analytic"), binary_code, x)


def flat(by_name: dict[str, Tensor]) -> list[Tensor]:
    return [tensor.flatten() for tensor in by_name.values()]


@pytest.fixture
def full_rank_pair() -> tuple[dist.MultivariateNormal, dist.Independent]:
    """A batch of correlated normals and one of independent dimensions, neither standard."""
    raw = torch.randn(4, 3, 3, dtype=torch.float64)
    scale_tril = raw.tril(-1) + (0.1 + raw.diagonal(dim1=-2, dim2=-1).abs()).diag_embed()
    q = dist.MultivariateNormal(torch.randn(4, 3).double(), scale_tril=scale_tril)
    return q, dist.Normal(torch.randn(3).double(), 0.3 + torch.rand(3).double()).to_event(1)


def test_the_full_rank_kl_is_torchs_between_multivariate_normals(full_rank_pair: Any) -> None:
    q, p = full_rank_pair
    same_p = dist.MultivariateNormal(p.mean, p.variance.diag_embed())
    torch.testing.assert_close(exact_kl(q, p), kl_divergence(q, same_p), **ROUNDING)


def test_the_full_rank_kl_is_refused_where_the_other_is_no_vector_of_normals(
    full_rank_pair: Any,
) -> None:
    q, p = full_rank_pair
    assert exact_kl(q, dist.Laplace(p.mean, p.stddev).to_event(1)) is None
    assert exact_kl(q, dist.Normal(q.mean.expand(2, 4, 3), 1.0).to_event(2)) is None


def test_the_kl_per_dimension_sums_to_torchs_kl() -> None:
    q = dist.Normal(torch.randn(4, 3), 0.5 + torch.rand(4, 3)).to_event(1)
    p = dist.Normal(torch.randn(3), 0.5 + torch.rand(3)).to_event(1)
    torch.testing.assert_close(exact_kl(q, p), kl_divergence(q, p))
    torch.testing.assert_close(exact_kl_per_dim(q, p).sum(-1), kl_divergence(q, p))
