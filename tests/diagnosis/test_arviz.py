"""What users of ArviZ do, with files of ours, on whichever generation is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import arviz as az
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from matplotlib.image import imread
from scipy.stats import uniform

import pyrovae
from pyrovae.diagnosis.arviz_tree import mcmc_tree, posterior_tree
from pyrovae.evaluation.importance import draw_weighted
from pyrovae.runs.atomic_files import save_tree

V1 = not az.__version__.startswith("0.")
OBS = [3, 1, 4, 15, 9, 2, 6]
CHAINS, DRAWS, SIMULATIONS = 4, 200, 150
FEW = {"obs": [4, 9]}

pytestmark = [
    # ArviZ 0.23 calls what matplotlib 3.13 is to remove; 1.x what xarray is to change.
    pytest.mark.filterwarnings("ignore:Passing a dict or None:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:In a future version of xarray the default:FutureWarning"),
]


@pytest.fixture(autouse=True)
def no_window() -> Any:
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


@pytest.fixture
def guide(make_linear_gaussian: Any, tmp_path: Path) -> Any:
    """The exact posterior as a guide, with its calibration; from a file."""
    oracle = make_linear_gaussian(data=len(OBS))
    drawn = draw_weighted(oracle.vae, oracle.x, DRAWS)
    tree = posterior_tree(
        draws=drawn,
        prior=torch.randn(DRAWS, len(OBS), 2),
        prior_predictive=torch.randn(30, len(OBS), 5),
        posterior_predictive=oracle.vae.decode(drawn.z).sample(),
        observed=oracle.x,
        pit=torch.rand(SIMULATIONS, 2),
        pit_log_joint=torch.rand(SIMULATIONS),
        names=["z[0]", "z[1]"],
        obs=OBS,
        labels=torch.arange(len(OBS)),
    )
    return read_back(tree, tmp_path / "posterior.nc")


@pytest.fixture
def mcmc(tmp_path: Path) -> Any:
    """Chains for some of the data; those of datum 4 from the prior are elsewhere."""
    z = torch.randn(CHAINS, DRAWS, 3, 2, dtype=torch.float64)
    z[2:, :, 0] += 3.0
    stats = {"lp": torch.randn(CHAINS, DRAWS, 3), "diverging": torch.zeros(CHAINS, DRAWS, 3) > 0}
    starts = ["guide", "guide", "prior", "prior"]
    tree = mcmc_tree(z, stats, starts, names=["z[0]", "z[1]"], obs=[4, 9, 2])
    return read_back(tree, tmp_path / "mcmc.nc")


def read_back(tree: Any, path: Path) -> Any:
    save_tree(tree, path)
    return az.from_netcdf(str(path))


def assert_drawn(plot: Any, tmp_path: Path) -> None:
    """A picture comes of it, and something is in it."""
    path = tmp_path / "plot.png"
    if V1:
        plot.savefig(path)
    else:
        np.ravel(plot)[0].figure.savefig(path, dpi=40)  # for speed
    picture = imread(path)
    assert picture[..., :3].std() > 0.01


def test_summary(guide: Any, mcmc: Any) -> None:
    table = az.summary(mcmc, var_names=["z"], **({"round_to": "none"} if V1 else {}))
    assert len(table) == 6
    means = mcmc["posterior"]["z"].mean(("chain", "draw")).values.ravel()
    np.testing.assert_allclose(np.asarray(table["mean"], float), means, atol=6e-4)
    assert len(az.summary(guide, var_names=["z"])) == 2 * len(OBS)


def test_rhat_finds_the_chains_that_disagree(mcmc: Any) -> None:
    rhat = az.rhat(mcmc)["z"]
    assert (rhat.sel(obs=4) > 1.5).all()
    assert (rhat.sel(obs=[9, 2]) < 1.1).all()


def test_ess(guide: Any) -> None:
    ess = az.ess(guide)["z"]
    assert ess.dims == ("obs", "latent")
    assert (ess > DRAWS / 4).all()


PLOTS = {
    "pair": lambda guide, mcmc: az.plot_pair(guide, var_names=["z"], coords={"obs": [4]}),
    "forest": lambda guide, mcmc: az.plot_forest(mcmc, var_names=["z"], coords=FEW),
    "forest of guide and mcmc": lambda guide, mcmc: (
        az.plot_forest({"guide": guide, "mcmc": mcmc}, var_names=["z"], coords=FEW)
        if V1
        else az.plot_forest(
            [guide, mcmc],
            model_names=["guide", "mcmc"],
            var_names=["z"],
            coords=FEW,
            combined=True,
        )
    ),
    "rank": lambda guide, mcmc: az.plot_rank(mcmc, var_names=["z"], coords=FEW),
    "ess": lambda guide, mcmc: az.plot_ess(mcmc, var_names=["z"], coords=FEW),
    "trace": lambda guide, mcmc: (az.plot_trace_dist if V1 else az.plot_trace)(
        mcmc, var_names=["z"], coords=FEW
    ),
    "autocorrelation": lambda guide, mcmc: az.plot_autocorr(
        mcmc, var_names=["z"], coords={"obs": [4], "latent": [0]}
    ),
    "prior and posterior": lambda guide, mcmc: (
        az.plot_prior_posterior(guide, var_names=["z"], coords={"obs": [4]})
        if V1
        else az.plot_dist_comparison(guide, var_names=["z"], coords={"obs": [4]})
    ),
    "calibration": lambda guide, mcmc: (
        az.plot_ecdf_pit(guide)
        if V1
        else az.plot_ecdf(
            guide["prior_sbc"]["z"].values[0, :, 0],
            cdf=lambda u: u,
            difference=True,
            eval_points=np.linspace(0, 1, 50),
            confidence_bands="simulated",
            rvs=uniform().rvs,
        )
    ),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot(name: str, guide: Any, mcmc: Any, tmp_path: Path) -> None:
    assert_drawn(PLOTS[name](guide, mcmc), tmp_path)


def test_plots_of_a_converted_program(tmp_path: Path) -> None:
    def model(x: Any) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("school", 3):
            theta = pyro.sample("theta", dist.Normal(mu, 1.0))
            pyro.sample("x", dist.Normal(theta, 1.0), obs=x)

    def guide(x: Any) -> None:
        pyro.sample("mu", dist.Normal(0.5, 1.0))
        with pyro.plate("school", 3):
            pyro.sample("theta", dist.Normal(x / 2, 1.0))

    result = pyrovae.from_pyro_svi(model, guide, torch.arange(3.0), num_draws=50, vectorize=True)
    assert set(az.summary(result).index) == {"mu", "theta[0]", "theta[1]", "theta[2]"}
    assert_drawn(az.plot_forest(result), tmp_path)
    result.to_netcdf(str(tmp_path / "program.nc"))
    assert_drawn(az.plot_pair(az.from_netcdf(str(tmp_path / "program.nc"))), tmp_path)
