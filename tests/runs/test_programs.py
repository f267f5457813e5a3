"""Programs of many kinds, through every command: what does not apply is left out by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pytest

import pyrovae.compare
import pyrovae.diagnose
import pyrovae.encode
import pyrovae.evaluate
import pyrovae.explore
import pyrovae.reconstruct
import pyrovae.sample

COLUMNS = 6
EPOCH = ("--set", "inference.epochs=1")
SUMMED = """\
import pyro
import pyro.distributions as dist
import torch
from torch import nn

classes = nn.Linear(6, 3)
encoder = nn.Linear(9, 4)
decoder = nn.Linear(5, 6)


def joined(a, k):
    k = torch.eye(3).to(a)[k]
    shape = torch.broadcast_shapes(a.shape[:-1], k.shape[:-1])
    return torch.cat([a.expand(*shape, -1), k.expand(*shape, -1)], -1)


def model(x):
    pyro.module("decoder", decoder)
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(3)))
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), x.new_ones(2)).to_event(1))
        pyro.sample("x", dist.Bernoulli(logits=decoder(joined(z, k))).to_event(1), obs=x)


def guide(x):
    pyro.module("classes", classes)
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(logits=classes(x)))
        loc, raw = encoder(joined(x, k)).chunk(2, -1)
        pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))
"""
LABEL = """\
import pyro
import pyro.distributions as dist
from torch import nn

logits = nn.Embedding(3, 6)
classes = nn.Linear(6, 3)


def model(x):
    pyro.module("logits", logits)
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(3)))
        pyro.sample("x", dist.Bernoulli(logits=logits(k)).to_event(1), obs=x)


def guide(x):
    pyro.module("classes", classes)
    with pyro.plate("data", len(x)):
        pyro.sample("k", dist.Categorical(logits=classes(x)))
"""
ALONE = """\
import pyro
import pyro.distributions as dist
import torch
from torch import nn

encoder = nn.Linear(6, 2)
decoder = nn.Linear(2, 6)
means = nn.Parameter(torch.randn(3, 2))


def model(x):
    pyro.module("decoder", decoder)
    centres = pyro.param("means", means)
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(3)))
        z = pyro.sample("z", dist.Normal(centres[k], 0.5).to_event(1))
        pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)


def guide(x):
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.4).to_event(1))
"""

PARTS = """\
import pyro
import pyro.distributions as dist
from torch import nn

encoder = nn.Linear(6, 4)
decoder = nn.Linear(2, 7)


def model(x):
    pyro.module("decoder", decoder)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), x.new_ones(2)).to_event(1))
        loc, logits, classes, rate = decoder(z).split([2, 1, 3, 1], -1)
        with pyro.poutine.mask(mask=x[..., 5] > 0):
            pyro.sample("real", dist.Normal(loc, 1.0).to_event(1), obs=x[..., :2])
        pyro.sample("bit", dist.Bernoulli(logits=logits.squeeze(-1)), obs=x[..., 2])
        pyro.sample("class", dist.Categorical(logits=classes), obs=x[..., 3])
        pyro.sample("count", dist.Poisson(rate.exp()).to_event(1), obs=x[..., 4:5])


def guide(x):
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        loc, raw = encoder(x).chunk(2, -1)
        pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))
"""
FACTOR = """\
import pyro
import pyro.distributions as dist
from torch import nn

encoder = nn.Linear(6, 4)
decoder = nn.Linear(2, 6)


def model(x):
    pyro.module("decoder", decoder)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), x.new_ones(2)).to_event(1))
        pyro.factor("x", dist.Bernoulli(logits=decoder(z)).to_event(1).log_prob(x))


def guide(x):
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        loc, raw = encoder(x).chunk(2, -1)
        pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))
"""


@pytest.fixture
def bits(here: Path) -> Path:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 600)
    chances = rng.random((3, COLUMNS))
    np.save(here / "bits.npy", (rng.random((600, COLUMNS)) < chances[classes]).astype(np.uint8))
    return Path("bits.npy")


@pytest.mark.usefixtures("without_figures", "fewer")
@pytest.mark.parametrize(
    ("program", "objective"),
    [(SUMMED, "enumerated"), (LABEL, "enumerated"), (LABEL, "elbo"), (ALONE, "elbo")],
    ids=["class and latent", "class", "class drawn", "class of the model"],
)
def test_every_command_takes_a_program_with_a_class(
    command: Any,
    command_of: Callable[..., Any],
    here: Path,
    bits: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    objective: str,
) -> None:
    if program is not SUMMED:  # whose pictures are drawn
        request.getfixturevalue("plain")
    for module in ("diagnose", "explore"):
        monkeypatch.setattr(f"pyrovae.runs.{module}.PAGE_DPI", 20)
    (here / "program.py").write_text(program, encoding="utf-8")
    words = ["--set", "inference.epochs=1", "--set", f"inference.objective.kind={objective}"]
    trained = command("program.py", "--data", bits, "--output", "run", *words)
    assert trained.status == 0, trained.err
    facts = json.loads((here / "run" / "run.json").read_text(encoding="utf-8"))
    assert facts["status"] == "finished"
    commands = {
        "evaluate": (pyrovae.evaluate.main, ["run", "--samples", "20"]),
        "diagnose": (pyrovae.diagnose.main, ["run", "--num", "50", "--draws", "100"]),
        "explore": (pyrovae.explore.main, ["run", "samples"]),
        "encode": (pyrovae.encode.main, ["run"]),
        "sample": (pyrovae.sample.main, ["run", "--num", "5"]),
        "reconstruct": (pyrovae.reconstruct.main, ["run", "--num", "5"]),
    }
    for name, (main, arguments) in commands.items():
        outcome = command_of(main)(*arguments)
        assert outcome.status == 0, f"{name}: {outcome.err}"
    posterior = az.from_netcdf(here / "run" / "diagnosis" / "posterior.nc")["posterior"]
    sizes = {str(name): values.sizes for name, values in posterior.data_vars.items()}
    if program is SUMMED:  # a variable for each site, with a dimension of its own
        assert (sizes["k"]["latent_k"], sizes["z"]["latent_z"]) == (1, 2)
    else:
        assert {name: size["latent"] for name, size in sizes.items()} == (
            {"k": 1} if program is LABEL else {"z": 2}
        )
    numbers = json.loads((here / "run" / "diagnosis" / "numbers.json").read_text())
    calibrated = numbers["checks"]["calibration"]
    assert ("does_not_apply" in calibrated) == (program is LABEL)


@pytest.mark.usefixtures("without_figures")
def test_a_class_of_the_model_alone_is_no_latent_of_the_run(
    command: Any, here: Path, bits: Path
) -> None:
    (here / "program.py").write_text(ALONE, encoding="utf-8")
    command("program.py", "--data", bits, "--output", "run", "--set", "inference.epochs=1")
    facts = json.loads((here / "run" / "run.json").read_text(encoding="utf-8"))
    assert facts["kl"] == {"z": "sampled"}
    assert set(facts["test"]["kl_per_site"]) == {"z"}


@pytest.mark.usefixtures("plain", "fewer")
def test_sites_for_parts_of_the_data_are_shown_together(
    command: Any, command_of: Callable[..., Any], here: Path, bits: Path
) -> None:
    (here / "program.py").write_text(PARTS, encoding="utf-8")
    trained = command("program.py", "--data", bits, "--output", "run", *EPOCH)
    assert trained.status == 0, trained.err
    assert "no reconstructions" not in trained.out
    diagnosed = command_of(pyrovae.diagnose.main)("run", "--num", "50", "--draws", "100")
    explored = command_of(pyrovae.explore.main)("run")
    for outcome in (diagnosed, explored):
        assert outcome.status == 0, outcome.err
        assert "no pictures" not in outcome.out
    assert "model." not in diagnosed.out  # keys that a program has not
    assert "inference.guide" not in diagnosed.out
    tree = az.from_netcdf(here / "run" / "diagnosis" / "posterior.nc")
    assert tree["posterior_predictive"]["x"].shape[2:] == (50, COLUMNS)
    shutil.copytree("run", "again")
    compared = command_of(pyrovae.compare.main)("run", "again", "--samples", "20")
    assert "cannot be ranked: " in compared.out, compared.err


@pytest.mark.usefixtures("plain", "fewer")
def test_every_command_takes_sequences_of_unequal_length(
    command: Any, command_of: Callable[..., Any], here: Path
) -> None:
    rng = np.random.default_rng(0)
    lengths = np.where(rng.random(600) < 0.04, 3, 2)  # few have all latents
    np.savez(here / "sequences.npz", x=rng.integers(0, 2, (600, 3, 4)), lengths=lengths)
    sizes = {"keys": 4, "latent_dim": 2, "width": 4, "hidden": 4}
    words = [word for key, n in sizes.items() for word in ("--set", f"program.{key}={n}")]
    trained = command("dmm", "svi", "--data", "sequences.npz", "--output", "run", *EPOCH, *words)
    assert trained.status == 0, trained.err
    assert "z_1, ..., z_3 ~ Normal (2,)" in trained.out
    assert command_of(pyrovae.evaluate.main)("run", "--samples", "20").status == 0
    diagnosed = command_of(pyrovae.diagnose.main)("run", "--num", "60", "--draws", "100")
    explored = command_of(pyrovae.explore.main)("run", "samples", "traversals")
    for outcome in (diagnosed, explored):
        assert outcome.status == 0, outcome.err
    numbers = json.loads((here / "run" / "diagnosis" / "numbers.json").read_text())["checks"]
    assert "does_not_apply" not in numbers["calibration"]
    reason = numbers["aggregated posterior"]["does_not_apply"]
    assert "those that a mask hides, such as z_3[0], mean nothing" in reason
    tree = az.from_netcdf(here / "run" / "diagnosis" / "posterior.nc")
    assert tree["posterior"]["z"].sizes["latent"] == 6


@pytest.mark.usefixtures("fewer")
def test_without_a_distribution_of_the_data_pictures_are_left_out(
    command: Any, command_of: Callable[..., Any], here: Path, bits: Path
) -> None:
    reason = "a factor, and no distribution of them"
    (here / "program.py").write_text(FACTOR, encoding="utf-8")
    words = ["--output", "run", "--set", "inference.epochs=1"]
    trained = command("program.py", "--data", bits, *words)
    assert trained.status == 0, trained.err
    assert "no reconstructions and samples: " in trained.out
    assert reason in trained.out
    facts = json.loads((here / "run" / "run.json").read_text(encoding="utf-8"))
    assert facts["status"] == "finished"
    assert facts["figures"] == ["latent.png", "curves.png"]
    for main, arguments in (
        (pyrovae.evaluate.main, ["run", "--samples", "20"]),
        (pyrovae.diagnose.main, ["run", "--num", "50", "--draws", "100"]),
        (pyrovae.explore.main, ["run"]),
    ):
        outcome = command_of(main)(*arguments)
        assert outcome.status == 0, outcome.err
        if main is not pyrovae.evaluate.main:
            assert reason in " ".join(outcome.out.split())
    refused = command_of(pyrovae.explore.main)("run", "traversals")
    assert refused.status == 2
    assert refused.err.startswith("traversals: ")
    assert reason in refused.err
