"""Posteriors of any Pyro program, as ArviZ reads them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoNormal

import pyrovae
from pyrovae.diagnosis import collected_draws, programs
from pyrovae.errors import SpecError
from pyrovae.evaluation.importance import draw_weighted
from pyrovae.programs.handwritten import Handwritten

V1 = not az.__version__.startswith("0.")
EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def eight_schools(effects: Any = EFFECTS) -> None:
    """Two global latent sites and a local one; something computed, something weighed."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.LogNormal(0.0, 1.0))
    with pyro.plate("school", 8):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.deterministic("shift", theta - mu)
        pyro.sample("effect", dist.Normal(theta, ERRORS), obs=effects)
    pyro.factor("weight", -mu.square())


def schools_guide(effects: Any = EFFECTS) -> None:
    pyro.sample("mu", dist.Normal(4.0, 3.0))
    pyro.sample("tau", dist.LogNormal(1.0, 0.5))
    with pyro.plate("school", 8):
        pyro.sample("theta", dist.Normal(effects / 3, 5.0))


def groups_of(result: Any) -> set[str]:
    return {str(name).strip("/") for name in (result.children if V1 else result.groups())}


def normal(value: Any, loc: Any, scale: Any) -> Any:
    value, loc, scale = map(double, (value, loc, scale))
    return -0.5 * ((value - loc) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)


def double(value: Any) -> Any:
    """In double precision; with the names of its dimensions, if it has any."""
    return value.astype(np.float64) if hasattr(value, "dims") else np.asarray(value, np.float64)


def log_joint(z: Any) -> tuple[Any, Any]:
    """log p of the latent sites and of the rest, by hand."""
    tau = z["tau"].astype(np.float64)
    prior = normal(z["mu"], 0, 5) + normal(np.log(tau), 0, 1) - np.log(tau)
    prior = prior + normal(z["theta"], z["mu"], z["tau"]).sum("school")
    seen = normal(z["theta"], EFFECTS, ERRORS).sum("school")
    return prior, seen - z["mu"].astype(np.float64) ** 2


@pytest.fixture(params=["one_by_one", "at_once", "a_few_at_once"])
def vectorize(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every way to make draws; the last leaves a chunk of another size at the end."""
    if request.param == "a_few_at_once":
        monkeypatch.setattr(programs, "NUMBERS_AT_ONCE", 8 * 9)
    return request.param != "one_by_one"


def test_a_program_with_global_and_local_sites(vectorize: bool) -> None:
    result = pyrovae.from_pyro_svi(
        eight_schools, schools_guide, EFFECTS, num_draws=60, vectorize=vectorize
    )
    assert groups_of(result) == {
        *("posterior", "sample_stats", "log_likelihood", "posterior_predictive"),
        *("prior", "prior_predictive", "observed_data"),
    }
    z = result["posterior"]
    assert z["mu"].dims == ("chain", "draw")
    assert z["theta"].dims == z["shift"].dims == ("chain", "draw", "school")
    np.testing.assert_allclose(z["shift"], z["theta"] - z["mu"], rtol=1e-5, atol=1e-5)
    prior, rest = log_joint(z)
    guide = normal(z["mu"], 4, 3) + normal(np.log(z["tau"]), 1, 0.5) - np.log(z["tau"])
    guide = guide + normal(z["theta"], EFFECTS / 3, 5).sum("school")
    stats = result["sample_stats"]
    np.testing.assert_allclose(stats["log_prior"], prior, rtol=1e-5)
    np.testing.assert_allclose(stats["log_guide"], guide, rtol=1e-5)
    np.testing.assert_allclose(stats["log_weight"], prior + rest - guide, rtol=1e-4)
    likelihood = result["log_likelihood"]
    assert "not meaningful" in likelihood.attrs["warning"]
    np.testing.assert_allclose(
        likelihood["effect_given_theta"], normal(z["theta"], EFFECTS, ERRORS), rtol=1e-5
    )
    assert set(result["prior"].data_vars) == {"mu", "tau", "theta", "shift"}
    assert result["posterior_predictive"]["effect"].dims == ("chain", "draw", "school")
    np.testing.assert_array_equal(result["observed_data"]["effect"], EFFECTS)
    for group in groups_of(result):
        for dim, size in result[group].sizes.items():
            np.testing.assert_array_equal(result[group][dim], np.arange(size))


def test_predictive_draws_follow_the_model(z_score: Any) -> None:
    pyro.set_rng_seed(1)
    result = pyrovae.from_pyro_svi(
        eight_schools, schools_guide, EFFECTS, num_draws=4000, vectorize=True
    )
    drawn, z = result["posterior_predictive"]["effect"], result["posterior"]["theta"]
    noise = torch.as_tensor(((drawn - z) / ERRORS.numpy()).values[0])
    assert z_score(noise, 0.0) < 5
    assert z_score(noise.square(), 1.0) < 5
    prior = torch.as_tensor(result["prior"]["mu"].values[0])
    assert z_score(prior, 0.0) < 5
    assert z_score(prior.square(), 25.0) < 5
    noise = result["prior_predictive"]["effect"] - result["prior"]["theta"]
    assert z_score(torch.as_tensor((noise / ERRORS.numpy()).values[0]).square(), 1.0) < 5


def test_an_autoencoder_has_weights_per_datum(make_linear_gaussian: Any, vectorize: bool) -> None:
    oracle = make_linear_gaussian(data=7)
    oracle.vae.train()
    result = pyrovae.from_pyro_svi(
        oracle.vae.model, oracle.vae.guide, oracle.x, num_draws=20, vectorize=vectorize
    )
    assert oracle.vae.decoder.training
    assert result["posterior"]["z"].dims == ("chain", "draw", "data", "z_dim_0")
    weights = result["sample_stats"]["log_weight"]
    assert weights.dims == ("chain", "draw", "data")
    assert weights.dtype == np.float64
    exact = np.broadcast_to(oracle.evidence.numpy(), (1, 20, 7))
    np.testing.assert_allclose(weights, exact, atol=1e-8)
    assert list(result["log_likelihood"].data_vars) == ["x_given_z"]
    loc = result["posterior"]["z"].mean(("chain", "draw"))
    assert (
        np.abs(loc - oracle.posterior.mean.numpy()).max()
        < 5 * oracle.posterior.stddev.max().item() / 20**0.5
    )


def test_modules_are_in_evaluation_mode() -> None:
    class Module(torch.nn.Module):
        def model(self) -> None:
            modes.append(self.training)
            pyro.sample("z", dist.Normal(0.0, 1.0))

    modes: list[bool] = []
    module = Module()
    pyrovae.from_pyro_svi(module.model, module.model, num_draws=2)
    assert modes
    assert not any(modes)
    assert module.training


def test_a_handwritten_program(few_digits: Any) -> None:
    path = Path(__file__).parents[2] / "models" / "handwritten.py"
    autoencoder = Handwritten(path, few_digits)
    x = few_digits.train.batch(torch.arange(6)).x
    result = pyrovae.from_pyro_svi(autoencoder.model, autoencoder.guide, x, num_draws=4)
    assert result["posterior"]["z"].shape == (1, 4, 6, 8)
    assert result["posterior_predictive"]["x"].dtype == np.uint8  # counts
    np.testing.assert_array_equal(result["observed_data"]["x"], x)
    pyro.set_rng_seed(0)
    elbo = result["sample_stats"]["log_weight"].mean("draw").values[0]
    drawn = draw_weighted(autoencoder, x, 200).log_weight
    assert (np.abs(elbo - drawn.mean(0).numpy()) < 5 * drawn.std(0).numpy() / 2).all()


@pytest.mark.parametrize("family", [AutoNormal, AutoDiagonalNormal])
def test_an_automatic_guide(family: Any, vectorize: bool) -> None:
    guide = family(eight_schools)
    guide(EFFECTS)
    result = pyrovae.from_pyro_svi(
        eight_schools, guide, EFFECTS, num_draws=10, vectorize=vectorize
    )
    z = result["posterior"]
    assert set(z.data_vars) == {"mu", "tau", "theta", "shift"}
    spread = 0.1  # where both start, on the line that exp maps to positive numbers
    medians = {name: site.detach() for name, site in guide.median(EFFECTS).items()}
    guided = normal(z["mu"], medians["mu"], spread)
    guided = guided + normal(np.log(z["tau"]), medians["tau"].log(), spread) - np.log(z["tau"])
    guided = guided + normal(z["theta"], medians["theta"], spread).sum("school")
    np.testing.assert_allclose(result["sample_stats"]["log_guide"], guided, rtol=1e-3)


def test_a_point_has_no_weights() -> None:
    guide = AutoDelta(eight_schools)
    guide(EFFECTS)
    result = pyrovae.from_pyro_svi(eight_schools, guide, EFFECTS, num_draws=3)
    assert list(result["sample_stats"].data_vars) == ["log_prior"]
    assert "no density" in result["sample_stats"].attrs["note"]


def two_plates(x: Any) -> None:
    with pyro.plate("row", 3, dim=-2):
        pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("column", 4, dim=-1):
            pyro.sample("b", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)
    pyro.sample("scoped/c", dist.Normal(torch.zeros(1, 5), 1.0).to_event(2))


def test_dimensions_are_named_by_plates(vectorize: bool) -> None:
    def guide(x: Any) -> None:
        pyro.poutine.block(two_plates, hide=["x"])(x)

    result = pyrovae.from_pyro_svi(
        two_plates, guide, torch.zeros(3, 4), num_draws=2, vectorize=vectorize
    )
    z = result["posterior"]
    assert z["a"].dims == ("chain", "draw", "row", "a_dim_0")
    assert z["b"].dims == ("chain", "draw", "row", "column")
    assert z["scoped.c"].dims == ("chain", "draw", "scoped.c_dim_0", "scoped.c_dim_1")
    assert result["log_likelihood"]["x_given_a_b"].shape == (1, 2, 3, 4)
    assert result["sample_stats"]["log_weight"].dims == ("chain", "draw")


def test_scales_stay_out_and_masks_stay() -> None:
    mask = torch.tensor([True, False, True])

    def model(x: Any) -> None:
        with pyro.plate("data", 3):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.poutine.scale(scale=7.0), pyro.poutine.mask(mask=mask):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Any) -> None:
        with pyro.plate("data", 3):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    x = torch.arange(3.0)
    result = pyrovae.from_pyro_svi(model, guide, x, num_draws=5)
    expected = normal(result["posterior"]["z"], x, 1.0) * mask.numpy()
    np.testing.assert_allclose(result["sample_stats"]["log_weight"], expected, rtol=1e-5)


def test_an_improper_prior_has_no_draws() -> None:
    def model(x: Any) -> None:
        real = dist.constraints.real
        z = pyro.sample("z", dist.ImproperUniform(real, (), ()))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Any) -> None:
        pyro.sample("z", dist.Normal(x, 1.0))

    result = pyrovae.from_pyro_svi(model, guide, torch.tensor(1.0), num_draws=2)
    assert "posterior_predictive" in groups_of(result)
    assert "prior" not in groups_of(result)
    assert list(result["log_likelihood"].data_vars) == ["x"]  # of no plate: nothing is local


def test_predictive_draws_are_few_of_large_data(
    monkeypatch: pytest.MonkeyPatch, vectorize: bool
) -> None:
    monkeypatch.setattr(collected_draws, "PREDICTIVE_VALUES", 8 * 5)
    result = pyrovae.from_pyro_svi(
        eight_schools, schools_guide, EFFECTS, num_draws=20, vectorize=vectorize
    )
    assert result["posterior_predictive"]["effect"].shape == (1, 5, 8)
    assert result["prior_predictive"]["effect"].shape == (1, 5, 8)
    assert result["prior"]["theta"].shape == (1, 20, 8)


class TestWhatIsRefused:
    def test_other_sites(self) -> None:
        def guide(effects: Any) -> None:
            pyro.sample("mu", dist.Normal(0.0, 1.0))

        with pytest.raises(SpecError, match=r"model draws 'mu', 'tau', .* guide draws 'mu': both"):
            pyrovae.from_pyro_svi(eight_schools, guide, EFFECTS)

    def test_part_of_a_plate(self) -> None:
        def model(x: Any) -> None:
            with pyro.plate("data", 10, subsample_size=3):
                pyro.sample("z", dist.Normal(0.0, 1.0))

        with pytest.raises(SpecError, match=r"plate 'data' holds 3 of 10"):
            pyrovae.from_pyro_svi(model, model, None)

    def test_a_plate_called_draw(self) -> None:
        def model() -> None:
            with pyro.plate("draw", 3):
                pyro.sample("z", dist.Normal(0.0, 1.0))

        with pytest.raises(SpecError, match="plate 'draw' has the name of a dimension"):
            pyrovae.from_pyro_svi(model, model)

    def test_a_dimension_in_no_plate(self) -> None:
        def model() -> None:
            pyro.sample("z", dist.Normal(torch.zeros(3), 1.0))

        assert pyrovae.from_pyro_svi(model, model, num_draws=2)["posterior"]["z"].shape == (
            1,
            2,
            3,
        )
        with pytest.raises(SpecError, match=r"site 'z' .* is in no plate: vectorize=True needs"):
            pyrovae.from_pyro_svi(model, model, vectorize=True)

    def test_sites_that_come_and_go(self) -> None:
        runs = iter(range(100))

        def model() -> None:
            pyro.sample("z", dist.Normal(0.0, 1.0))
            if next(runs) < 3:
                pyro.sample("w", dist.Normal(0.0, 1.0))

        with pytest.raises(SpecError, match="site 'w' is not met in every run"):
            pyrovae.from_pyro_svi(model, model, num_draws=10)

    def test_no_draws(self) -> None:
        with pytest.raises(SpecError, match="num_draws = 0"):
            pyrovae.from_pyro_svi(eight_schools, schools_guide, EFFECTS, num_draws=0)

    def test_mcmc_that_has_not_run(self) -> None:
        with pytest.raises(SpecError, match="call its run"):
            pyrovae.from_pyro_mcmc(MCMC(NUTS(eight_schools), num_samples=5))


@pytest.fixture(scope="module")
def mcmc() -> MCMC:
    pyro.set_rng_seed(3)
    runs = MCMC(
        NUTS(eight_schools, max_tree_depth=4),
        num_samples=30,
        warmup_steps=30,
        disable_progbar=True,
    )
    runs.run(EFFECTS)
    # Several chains need several processes, which need a model that they can import.
    runs._samples = {name: torch.cat([v, v.flip(1)]) for name, v in runs._samples.items()}
    runs._diagnostics = runs._diagnostics * 2
    runs.num_chains = 2
    return runs


def test_a_program_that_does_not_broadcast_says_so() -> None:
    tables = torch.randn(3, 4)

    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            both = torch.cat([z.unsqueeze(-1), x.unsqueeze(-1)], -1)  # x has no draws
            loc = both @ tables[:2, 0]
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.7))

    x = torch.zeros(3)
    assert pyrovae.from_pyro_svi(model, guide, x, num_draws=3) is not None
    with pytest.raises(SpecError, match=r"vectorize=True runs a program for many draws.*fails"):
        pyrovae.from_pyro_svi(model, guide, x, num_draws=3, vectorize=True)


def test_mcmc(mcmc: MCMC, vectorize: bool) -> None:
    result = pyrovae.from_pyro_mcmc(mcmc, vectorize=vectorize)
    z = result["posterior"]
    assert z["theta"].dims == ("chain", "draw", "school")
    np.testing.assert_array_equal(z["theta"][1], z["theta"][0, ::-1])
    lp = sum(log_joint(z))
    np.testing.assert_allclose(result["sample_stats"]["lp"], lp, rtol=1e-4)
    assert result["sample_stats"]["mean_acceptance_rate"].dims == ("chain",)
    assert list(result["log_likelihood"].data_vars) == ["effect"]
    assert result["posterior_predictive"]["effect"].shape == (2, 30, 8)
    given = pyrovae.from_pyro_mcmc(mcmc, eight_schools, EFFECTS)
    np.testing.assert_array_equal(given["posterior"]["shift"], z["shift"])


@pytest.mark.skipif(V1, reason="ArviZ 1.x has no converter of its own")
def test_mcmc_is_as_arviz_has_it(mcmc: MCMC) -> None:
    ours, theirs = pyrovae.from_pyro_mcmc(mcmc), az.from_pyro(mcmc)
    for name in theirs.posterior:
        np.testing.assert_array_equal(ours.posterior[name], theirs.posterior[name])
    np.testing.assert_array_equal(ours.sample_stats.diverging, theirs.sample_stats.diverging)
    assert ours.sample_stats.diverging.dtype == bool
    np.testing.assert_allclose(
        ours.log_likelihood["effect"], theirs.log_likelihood["effect"], rtol=1e-5
    )
    np.testing.assert_array_equal(ours.observed_data["effect"], theirs.observed_data["effect"])


def mixture(x: Any) -> None:
    """Which component a datum is of is summed over."""
    loc = pyro.sample("loc", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", 3):
        k = pyro.sample("k", dist.Categorical(torch.ones(2)))
        pyro.sample("x", dist.Normal(loc[k], 1.0), obs=x)


def test_mcmc_that_has_summed_over_a_site() -> None:
    kernel = NUTS(mixture, max_tree_depth=2)
    runs = MCMC(kernel, num_samples=4, warmup_steps=2, disable_progbar=True)
    runs.run(torch.arange(3.0))
    result = pyrovae.from_pyro_mcmc(runs)
    assert groups_of(result) == {"posterior", "sample_stats", "observed_data"}
    assert result["posterior"]["loc"].dims == ("chain", "draw", "loc_dim_0")


def test_mcmc_of_another_model_is_refused(mcmc: MCMC) -> None:
    with pytest.raises(SpecError, match=r"the model draws 'loc', 'k' and there are draws of "):
        pyrovae.from_pyro_mcmc(mcmc, mixture, torch.arange(3.0))


def test_mcmc_of_a_density_alone() -> None:
    kernel = NUTS(potential_fn=lambda z: z["z"].square().sum() / 2)
    runs = MCMC(
        kernel,
        num_samples=5,
        warmup_steps=5,
        initial_params={"z": torch.zeros(1, 3)},
        disable_progbar=True,
    )
    runs.run()
    result = pyrovae.from_pyro_mcmc(runs)
    assert groups_of(result) == {"posterior", "sample_stats"}
    assert result["posterior"]["z"].shape[:2] == (1, 5)
