"""Draws and checks as trees, and as files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from pyrovae.diagnosis.arviz_conversion import to_arviz
from pyrovae.diagnosis.arviz_tree import Statistics, mcmc_tree, posterior_tree
from pyrovae.evaluation.local import Draws
from pyrovae.evaluation.results import Check, Number, Variable, Verdict
from pyrovae.runs.atomic_files import save_tree

OBS, DRAWS, LATENT = 6, 50, 2


class Weights(Check):
    question = "importance weights"

    def __init__(self, obs: int) -> None:
        self.obs = obs

    def verdict(self) -> Verdict:
        return Verdict("WARN", f"{self.obs} data", "look again")

    def numbers(self) -> list[Number]:
        return []

    def variables(self) -> dict[str, Variable]:
        khat = np.linspace(0, 1, self.obs)
        return {"khat": Variable(("obs",), khat, "shape"), "share": scalar(0.5)}


class Other(Weights):
    question = "others"

    def variables(self) -> dict[str, Variable]:
        found = {"obs": Variable(("obs",), np.ones(self.obs), "of the name of a dimension")}
        found["simulation"] = Variable(("simulation", "latent"), np.ones((9, LATENT)), "the same")
        return {**super().variables(), **found}


def scalar(value: float) -> Variable:
    return Variable((), np.asarray(value), "a number")


@pytest.fixture
def draws() -> Draws:
    z = torch.randn(DRAWS, OBS, LATENT)
    return Draws(z, *torch.randn(3, DRAWS, OBS, dtype=torch.float64))


@pytest.fixture
def full(draws: Draws) -> xr.DataTree:
    return posterior_tree(
        draws=draws,
        prior=torch.randn(DRAWS, OBS, LATENT),
        prior_predictive=torch.rand(DRAWS, OBS, 1, 3),
        posterior_predictive=torch.randint(0, 256, (DRAWS, OBS, 1, 3)).float(),
        observed=torch.randint(0, 2, (OBS, 1, 3)).float(),
        pit=torch.rand(30, LATENT),
        pit_log_joint=torch.rand(30),
        checks=[Weights(OBS), Other(4)],
        names=["z[0]", "z[1]"],
        obs=[3, 1, 4, 15, 9, 2],
        labels=torch.arange(OBS),
        attrs={"run": "runs/vae"},
    )


def test_every_dimension_has_integers(full: xr.DataTree) -> None:
    for group in full.children.values():
        for dim in group.dims:
            assert group[dim].dtype.kind == "i", (group.name, dim)
    assert full["posterior/z"].dims == ("chain", "draw", "obs", "latent")
    assert list(full["posterior/z"].obs.values) == [3, 1, 4, 15, 9, 2]
    assert list(full["posterior/z"].latent_name.values) == ["z[0]", "z[1]"]
    assert full["prior_sbc/z"].sizes == {"chain": 1, "draw": 30, "latent": LATENT}
    assert full["prior_sbc/log_joint"].sizes == {"chain": 1, "draw": 30}
    assert full["observed_data/x"].dims == ("obs", "x_dim_0", "x_dim_1")
    assert "label" in full["observed_data"].coords


def test_sites_and_variables_have_their_own_names() -> None:
    names = ["k[0]", "z_1[0]", "z_1[1]", "z_2[0]", "z_2[1]"]
    z = torch.randn(DRAWS, OBS, len(names))
    drawn = Draws(z, *torch.randn(3, DRAWS, OBS, dtype=torch.float64))
    data = {"x": torch.randn(OBS, 3), "count": torch.arange(OBS)}
    replicas = {name: values.expand(DRAWS, *values.shape) for name, values in data.items()}
    found = posterior_tree(
        draws=drawn, prior=z, posterior_predictive=replicas, observed=data, names=names
    )
    for group in ("posterior", "prior"):
        np.testing.assert_array_equal(found[f"{group}/k"][0], z[..., :1])
        np.testing.assert_array_equal(found[f"{group}/z"][0], z[..., 1:])  # a chain is one
    assert found["posterior/z"].dims == ("chain", "draw", "obs", "latent_z")
    for name, values in data.items():
        np.testing.assert_array_equal(found[f"observed_data/{name}"], values)
        np.testing.assert_array_equal(found[f"posterior_predictive/{name}"][0], replicas[name])


def test_weights_are_what_the_draws_say(full: xr.DataTree, draws: Draws) -> None:
    weight = full["sample_stats/log_weight"]
    assert weight.dtype == np.float64
    np.testing.assert_array_equal(weight[0], draws.log_weight)
    likelihood = full["log_likelihood"]
    assert "not meaningful" in likelihood.attrs["warning"]
    assert "not meaningful" in likelihood["x_given_z"].attrs["warning"]
    assert full["posterior"].attrs["sampler"] == "guide"


def test_checks_of_other_data_do_not_clash(full: xr.DataTree) -> None:
    found = full["diagnostics"]
    assert found["khat"].sizes == {"obs": OBS}
    assert found["khat_other"].sizes == {"obs_other": 4}
    assert found["simulation_value"].dims == ("simulation", "latent")
    assert float(found["share"]) == 0.5
    assert found.attrs["importance weights"] == "WARN: 6 data"
    assert list(found.obs.values) == [3, 1, 4, 15, 9, 2]
    assert list(found.obs_other.values) == [0, 1, 2, 3]


def test_without_draws_a_check_says_how_many_data_there_are() -> None:
    alone = posterior_tree(checks=[Weights(4)])
    assert set(alone.children) == {"diagnostics"}
    assert alone["diagnostics/khat"].sizes == {"obs": 4}


def test_groups_of_what_is_not_there_are_not_there() -> None:
    assert not posterior_tree().children
    assert set(posterior_tree(observed=torch.zeros(3, 2)).children) == {"observed_data"}


def test_statistics_are_variables() -> None:
    statistics = Statistics(["mean", "sd"], torch.tensor([1.0, 2.0]), torch.randn(20, 2))
    found = posterior_tree(prior_predictive=statistics, observed=torch.zeros(3, 2))
    np.testing.assert_array_equal(
        found["prior_predictive/sd"].values, statistics.replicated[None, :, 1]
    )
    assert float(found["observed_data/sd"]) == 2.0


@pytest.mark.parametrize("value", [-1.0, 256.0, 0.5, float("nan")])
def test_what_a_byte_cannot_hold_stays_as_it_is(value: float) -> None:
    x = torch.tensor([[0.0, 255.0], [value, 1.0]])
    np.testing.assert_array_equal(posterior_tree(observed=x)["observed_data/x"], x)


def test_memory_is_capped() -> None:
    """A thousand draws of a thousand images, of which none is ever copied whole."""
    x = torch.zeros(1, 1, 28, 28).expand(1000, 1000, 28, 28)
    found = posterior_tree(posterior_predictive=x, prior_predictive=x, obs=range(1000))
    assert found["posterior_predictive/x"].sizes["draw"] == 100
    assert found["posterior_predictive/x"].sizes["obs"] == 256
    assert found.nbytes < 2 * 100 * 256 * 784 * 1.01  # a byte each


def test_mcmc_has_a_posterior_of_its_own() -> None:
    z = torch.randn(4, DRAWS, 2, LATENT)
    stats = {"lp": torch.zeros(4, DRAWS, 2), "rate": torch.zeros(4)}
    stats["step_size"] = Variable(("chain", "obs"), np.ones((4, 2)), "step")
    tree = mcmc_tree(z, stats, ["guide", "guide", "prior", "prior"], obs=[7, 5])
    assert list(tree["posterior"].init.values) == ["guide", "guide", "prior", "prior"]
    assert list(tree["posterior"].obs.values) == [7, 5]
    assert tree["sample_stats/lp"].dims == ("chain", "draw", "obs")
    assert tree["sample_stats/rate"].dims == ("chain",)
    assert tree["sample_stats/step_size"].dims == ("chain", "obs")


def assert_same(read: Any, tree: xr.DataTree) -> None:
    """What a file holds, group by group; read by xarray, or by whichever ArviZ."""
    for name, group in tree.children.items():
        found = read[name]
        found = found.to_dataset() if isinstance(found, xr.DataTree) else found
        xr.testing.assert_identical(found.load(), group.to_dataset())
        for variable in group.data_vars:
            assert found[variable].dtype == group[variable].dtype


def test_a_file_holds_what_the_tree_held(full: xr.DataTree, tmp_path: Path) -> None:
    import arviz as az

    path = tmp_path / "posterior.nc"
    path.write_text("an older file")
    save_tree(full, path)
    assert list(tmp_path.iterdir()) == [path]
    assert full["posterior_predictive/x"].dtype == np.uint8
    read = az.from_netcdf(str(path))
    assert_same(read, full)
    assert dict(read.attrs) == full.attrs
    with xr.open_datatree(path, engine="h5netcdf") as opened:
        assert_same(opened, full)
    path.unlink()


def test_a_file_is_compressed(tmp_path: Path) -> None:
    tree = posterior_tree(observed=torch.zeros(1000, 784))
    save_tree(tree, tmp_path / "observed.nc")
    assert (tmp_path / "observed.nc").stat().st_size < tree.nbytes / 10


def test_a_file_is_not_lost_when_writing_fails(
    full: xr.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "posterior.nc"
    path.write_text("an older file")

    def fail(self: Any, file: Path, **options: Any) -> None:
        file.write_text("half a")
        raise OSError("disk full")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    with pytest.raises(OSError, match="disk full"):
        save_tree(full, path)
    assert path.read_text() == "an older file"
    assert list(tmp_path.iterdir()) == [path]


def test_arviz_takes_it(full: xr.DataTree) -> None:
    import arviz as az

    taken = to_arviz(full)
    first = int(az.__version__.split(".")[0])
    assert type(taken).__name__ == ("DataTree" if first else "InferenceData")
    assert_same(taken, full)


SUMMARISE = """
import sys, warnings
warnings.simplefilter("ignore")
import arviz as az, numpy as np
read = az.from_netcdf(sys.argv[1])
print(az.__version__, read["posterior_predictive"]["x"].dtype)
np.save(sys.argv[2], read["posterior"]["z"].values)
tree = read if az.__version__ >= "1" else read.to_datatree()
tree.to_netcdf(sys.argv[3], engine="h5netcdf")
"""


def test_another_python_reads_the_file(full: xr.DataTree, tmp_path: Path) -> None:
    """PYROVAE_OTHER_PYTHON names one that has the other generation of ArviZ."""
    import arviz as az

    other = os.environ.get("PYROVAE_OTHER_PYTHON")
    if not other:
        pytest.skip("PYROVAE_OTHER_PYTHON names no Python with another ArviZ")
    save_tree(full, tmp_path / "ours.nc")
    paths = [str(tmp_path / name) for name in ("ours.nc", "z.npy", "theirs.nc")]
    said = subprocess.run(
        [other, "-c", SUMMARISE, *paths], check=True, capture_output=True, text=True
    ).stdout
    assert said.endswith("uint8\n")
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), full["posterior/z"].values)
    assert_same(az.from_netcdf(paths[2]), full)
