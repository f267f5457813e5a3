"""Every prior with every guide, likelihood and objective: it works, or a sentence says why not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyrovae import VAE, InferenceSpec
from pyrovae.errors import SpecError
from pyrovae.objectives import FreeBitsELBO, build_objective
from pyrovae.programs.autoencoder import Formulas
from pyrovae.specs.guides import GuideSpec
from pyrovae.specs.inference import AdamSpec
from pyrovae.specs.objectives import ObjectiveSpec
from pyrovae.specs.own import members
from pyrovae.specs.priors import PriorSpec
from pyrovae.training.optimisers import Optimiser

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "elbo": [{"kl": kl} for kl in ("auto", "analytic", "sampled")],
    "iwae": [{"gradient": gradient} for gradient in ("plain", "stl", "dreg")],
    "renyi": [{"gradient": gradient} for gradient in ("plain", "stl", "dreg")],
    "free_bits": [{"groups": groups} for groups in ("dimensions", "site")],
}


def kinds(union: Any) -> list[str]:
    return [member.model_fields["kind"].default for member in members(union)]


OBJECTIVES = [
    {"kind": kind, **options}
    for kind in kinds(ObjectiveSpec)
    for options in VARIANTS.get(kind, [{}])
]
SPHERE = {"hyperspherical", "von_mises_fisher"}
FACTORISED = {"normal", "laplace", "student_t", "diagonal"}
NEED_DENSITY = {"iwae", "renyi", "free_bits", "capacity", "tc"}
KNOWN_MARGINALS = {"diagonal", "laplace", "low_rank", "full_rank", "mixture"}


class Combination(NamedTuple):
    prior: str
    guide: str
    likelihood: dict[str, Any]
    objective: dict[str, Any]


def can_work(prior: str, guide: str, objective: dict[str, Any]) -> bool | None:
    """What mathematics says; None where it depends on which integrals somebody has solved."""
    kind = objective["kind"]
    if guide == "delta" and (prior == "vamp" or kind in NEED_DENSITY):
        return False
    if prior != "vamp" and (prior in SPHERE) != (guide in SPHERE):
        return False
    if objective.get("groups") == "dimensions":
        return {prior, guide} <= FACTORISED
    if kind == "tc":
        return guide in KNOWN_MARGINALS
    return None if objective.get("kl") == "analytic" else True


ROLES = ("prior", "guide", "likelihood", "objective")


def of_each_kind(variants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last variant of each kind."""
    return list({options["kind"]: options for options in variants}.values())


def together(roles: tuple[str, str], likelihoods: list[dict[str, Any]]) -> Iterator[Combination]:
    """All parts of two roles, the other two such that they need not be in the way.

    A likelihood's noise and an objective's gradient are nothing to each other, so that there one
    of each kind will do; so it will for priors and guides, which know nothing of noise.
    """
    of_kinds = of_each_kind(likelihoods)
    parts: dict[str, list[Any]] = {
        "prior": kinds(PriorSpec),
        "guide": kinds(GuideSpec),
        "likelihood": of_kinds,
        "objective": of_each_kind(OBJECTIVES) if "likelihood" in roles else OBJECTIVES,
    }
    for pair in itertools.product(*(parts[role] for role in roles)):
        chosen = dict(zip(roles, pair, strict=True))
        on_sphere = not SPHERE.isdisjoint({chosen.get("prior"), chosen.get("guide")})
        chosen.setdefault("prior", "hyperspherical" if on_sphere else "normal")
        chosen.setdefault("guide", "von_mises_fisher" if on_sphere else "diagonal")
        chosen.setdefault("likelihood", {"kind": "bernoulli"})
        chosen.setdefault("objective", {"kind": "elbo", "kl": "auto"})
        yield Combination(**chosen)


def outcome(make_vae: Any, combination: Combination) -> str:
    """ "works" or "refused"; anything else fails."""
    prior, guide, likelihood, objective = combination
    torch.manual_seed(0)
    vae = make_vae(prior, guide, likelihood)
    x = vae.sample(8)
    spec = InferenceSpec(objective=objective).objective
    try:
        built = build_objective(spec, vae, x[:2], data_size=100)
    except SpecError as error:
        assert_names_both_sides(str(error), vae)
        return "refused"
    if isinstance(built, FreeBitsELBO):
        built.nats = -100.0  # below what a few draws may say of a KL, or it takes the gradient
    parameters = dict(vae.named_parameters())
    optimiser = Optimiser(AdamSpec(), list(parameters.values()))
    for _ in range(2):
        loss, terms = built.loss_and_terms(vae, x)
        gradients = torch.autograd.grad(
            loss, list(parameters.values()), allow_unused=True, materialize_grads=True
        )
        silent = [n for n, g in zip(parameters, gradients, strict=True) if not g.any()]
        assert silent == [], combination
        assert loss.isfinite(), combination
        assert terms.elbo.isfinite().all(), combination
        assert all(gradient.isfinite().all() for gradient in gradients), combination
        optimiser.update(gradients, 1e-3)
    return "works"


def assert_names_both_sides(sentence: str, vae: VAE) -> None:
    assert vae.prior.formula in sentence
    assert vae.posterior.formula in sentence
    assert "; choose " in sentence
    assert "\n" not in sentence


def assert_is_as_mathematics_says(make_vae: Any, combination: Combination) -> str:
    happened = outcome(make_vae, combination)
    expected = can_work(combination.prior, combination.guide, combination.objective)
    assert expected is None or expected == (happened == "works"), combination
    return happened


@pytest.mark.parametrize("roles", list(itertools.combinations(ROLES, 2)), ids=" and ".join)
def test_every_two_parts_work_together_or_are_refused(
    make_vae: Any,
    likelihoods: list[dict[str, Any]],
    report_line: Any,
    roles: tuple[str, str],
) -> None:
    outcomes = [
        assert_is_as_mathematics_says(make_vae, combination)
        for combination in together(roles, likelihoods)
    ]
    works, refused = outcomes.count("works"), outcomes.count("refused")
    report_line(f"{' and '.join(roles)}: {works} work, {refused} refused")


def test_every_variant_of_a_likelihood_works(
    make_vae: Any, likelihoods: list[dict[str, Any]]
) -> None:
    elbo = {"kind": "elbo", "kl": "auto"}
    for likelihood in likelihoods:
        assert outcome(make_vae, Combination("normal", "diagonal", likelihood, elbo)) == "works"


@pytest.mark.slow
@pytest.mark.parametrize("prior", kinds(PriorSpec))
@pytest.mark.parametrize("guide", kinds(GuideSpec))
def test_the_whole_product_works_or_is_refused(
    make_vae: Any, likelihoods: list[dict[str, Any]], report_line: Any, prior: str, guide: str
) -> None:
    outcomes = [
        assert_is_as_mathematics_says(make_vae, Combination(prior, guide, likelihood, objective))
        for likelihood, objective in itertools.product(likelihoods, OBJECTIVES)
    ]
    works, refused = outcomes.count("works"), outcomes.count("refused")
    report_line(f"{prior} × {guide}: {works} work, {refused} refused")


class Programs(VAE):
    """Programs of a few lines, without parts."""

    def __init__(self, model: Any, guide: Any) -> None:
        nn.Module.__init__(self)
        self.unused = nn.Parameter(torch.zeros(1))
        self.programs = (model, guide)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            self.programs[0](x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            self.programs[1](x)

    def formulas(self) -> Formulas:
        return Formulas("p(z)", "p(x | z)", "q(z | x)")


def refusal(objective: dict[str, Any], model: Any, guide: Any) -> str:
    spec = InferenceSpec(objective=objective).objective
    with pytest.raises(SpecError) as error:
        build_objective(spec, Programs(model, guide), torch.randn(2))
    return str(error.value)


def observe(x: Tensor, z: Tensor) -> None:
    pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def one_code(x: Tensor) -> None:
    observe(x, pyro.sample("z", dist.Normal(0.0, 1.0)))


def two_codes(x: Tensor) -> None:
    z1 = pyro.sample("z1", dist.Normal(0.0, 1.0))
    observe(x, pyro.sample("z2", dist.Normal(z1, 1.0)))


def guide_of_two(x: Tensor) -> None:
    z1 = pyro.sample("z1", dist.Normal(x, 1.0))
    pyro.sample("z2", dist.Normal(z1, 1.0))


def test_the_total_correlation_is_of_one_latent_site() -> None:
    sentence = refusal({"kind": "tc"}, two_codes, guide_of_two)
    assert "several latent sites, z1, z2" in sentence
    assert "inference.objective.kind 'elbo'" in sentence


def test_draws_that_cannot_be_reparameterised_are_refused_where_they_have_to_be() -> None:
    def model(x: Tensor) -> None:
        observe(x, pyro.sample("z", dist.Bernoulli(0.3)))

    def guide(x: Tensor) -> None:
        pyro.sample("z", dist.Bernoulli(logits=x))

    assert "cannot be reparameterised at site 'z'" in refusal({"kind": "iwae"}, model, guide)


def test_codes_outside_the_priors_support_are_refused() -> None:
    def model(x: Tensor) -> None:
        observe(x, pyro.sample("z", dist.LogNormal(0.0, 1.0)))

    def guide(x: Tensor) -> None:
        pyro.sample("z", dist.Normal(x - 100, 1.0))

    sentence = refusal({"kind": "elbo"}, model, guide)
    assert "do not go together" in sentence
    assert "codes at which p(z) is zero at site 'z'" in sentence


def test_a_discrete_code_under_a_continuous_prior_is_refused() -> None:
    def guide(x: Tensor) -> None:
        pyro.sample("z", dist.Bernoulli(logits=x))

    sentence = refusal({"kind": "elbo"}, one_code, guide)
    assert "of q(z | x) and p(z) one is discrete at site 'z'" in sentence
