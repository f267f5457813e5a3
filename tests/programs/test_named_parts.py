"""Parts named by module and class: those that are given in Python, saved, opened and resumed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import pyrovae
from pyrovae import InferenceSpec, ModelSpec, Splits, build, fit
from pyrovae.__main__ import main
from pyrovae.errors import CheckpointError, SpecError
from pyrovae.objectives.schedules import Budget, rate_at
from pyrovae.specs.inference import CosineRateSpec, OwnRateSpec
from pyrovae.specs.own import import_from

MINE = """
import pyro.distributions as dist
import torch
from torch import nn
from pyrovae.objectives.bound import Bound
from pyrovae.parts.families import Family
from pyrovae.parts.likelihoods import Likelihood
from pyrovae.parts.priors import Prior

class Cauchy(Prior):
    formula = "Cauchy(0, scale)"
    def __init__(self, latent_dim, scale=1.0):
        super().__init__()
        self.latent_dim, self.scale = latent_dim, nn.Parameter(torch.tensor(scale))
    def forward(self, guide):
        return dist.Cauchy(self.scale.new_zeros(self.latent_dim), self.scale.exp()).to_event(1)

class StudentT(Likelihood):
    formula, advice, outputs = "StudentT(df, loc(z), scale(z))", "real values", 2
    def __init__(self, df=4.0):
        super().__init__()
        self.df = df
    def forward(self, outputs):
        loc, scale = outputs.unbind(-4)
        return dist.StudentT(self.df, loc, nn.functional.softplus(scale) + 0.01).to_event(3)

class Logistic(Family):
    formula = "Logistic(loc(h), 0.2)"
    def __init__(self, features, dims):
        super().__init__(features, dims)
        self.loc = nn.Linear(features, dims)
    def forward(self, features):
        return dist.Logistic(self.loc(features), 0.2).to_event(1)

class CNN(nn.Sequential):
    def __init__(self, channels=4):
        super().__init__(nn.Conv2d(1, channels, 3, stride=2), nn.SiLU())

class Decoder(nn.Sequential):
    def __init__(self, latent_dim, outputs, shape, width=20):
        super().__init__(
            nn.Linear(latent_dim, width), nn.SiLU(), nn.Linear(width, outputs * 64)
        )

class Half(Bound):
    title = "some of the reconstruction, less the KL"
    def __init__(self, weight=0.5, num_particles=1):
        super().__init__(num_particles=num_particles)
        self.weight = weight
    def bound(self, found, beta):
        return (self.weight * found.reconstruction - beta * found.kl).mean(0)

class Plain(Bound):
    title = "the ELBO"
    def __init__(self):
        super().__init__()
    def bound(self, found, beta):
        return (found.reconstruction - beta * found.kl).mean(0)

class Number(Cauchy):
    def forward(self, guide):
        return self.scale

class Wordless(Likelihood):
    def forward(self, outputs):
        return dist.Delta(outputs)

class Unused(CNN):
    def __init__(self):
        super().__init__()
        self.extra = nn.Parameter(torch.zeros(3))
"""
SETTINGS: dict[str, Any] = {
    "model.prior.kind": "mine:Cauchy",
    "model.prior.scale": 0.5,
    "model.decoder.kind": "mine:Decoder",
    "model.decoder.width": 30,
    "model.likelihood.kind": "mine:StudentT",
    "model.latent_dim": 3,
    "inference.guide.kind": "mine:Logistic",
    "inference.guide.encoder.kind": "mine:CNN",
    "inference.guide.encoder.channels": 2,
    "inference.objective.kind": "mine:Half",
    "inference.objective.weight": 0.7,
    "inference.learning_rate_schedule.kind": "torch.optim.lr_scheduler:ExponentialLR",
    "inference.learning_rate_schedule.gamma": 0.9,
    "inference.epochs": 2,
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of a user, in a folder that may be imported from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("pyrovae.report.figures.draw_figures", lambda *_: [])
    (tmp_path / "code").mkdir()
    (tmp_path / "code/mine.py").write_text(MINE, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    import_from(tmp_path / "code")
    yield __import__("mine")
    sys.modules.pop("mine", None)


def test_named_parts_are_those_that_are_given(few_digits: Splits, mine: Any) -> None:
    found = build("vae", "svi", few_digits, SETTINGS)
    fit(found, few_digits)
    given = build(
        "vae",
        "svi",
        few_digits,
        {"model.latent_dim": 3},
        prior=mine.Cauchy(3, 0.5),
        likelihood=mine.StudentT(),
        decoder=mine.Decoder(3, 2, (1, 8, 8), 30),
        encoder=mine.CNN(2),
    )
    assert [type(part) for part in (found.prior, found.likelihood)] == [
        type(part) for part in (given.prior, given.likelihood)
    ]
    assert found.formulas().guide == "Logistic(loc(x), 0.2)"
    assert found.prior.scale.item() != 0.5  # it was fitted
    shapes = {key: value.shape for key, value in found.decoder.state_dict().items()}
    assert shapes == {key: value.shape for key, value in given.decoder.state_dict().items()}


def test_a_saved_model_opens_as_it_was(
    few_digits: Splits, mine: Any, tmp_path: Path, caplog: Any
) -> None:
    vae = build("vae", "svi", few_digits, SETTINGS)
    pyrovae.save(vae, tmp_path / "mine.safetensors")
    assert "imports" not in caplog.text
    back = pyrovae.load(tmp_path / "mine.safetensors")
    for kind in ("Cauchy", "StudentT", "Logistic", "CNN", "Decoder"):
        assert f"imports mine:{kind}, which {tmp_path / 'mine.safetensors'} names" in caplog.text
    assert "Half" not in caplog.text  # only training needs it
    for name, value in vae.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name


def test_a_resumed_run_is_an_uninterrupted_one(mine: Any, capsys: Any, caplog: Any) -> None:
    sets = [f"--set={key}={value}" for key, value in SETTINGS.items() if key != "inference.epochs"]
    for folder, epochs in (("whole", 2), ("part", 1)):
        words = ["vae", "svi", "--output", folder, f"--set=inference.epochs={epochs}"]
        assert main(["train", *words, *sets]) == 0, capsys.readouterr().err
    assert "imports" not in caplog.text
    assert main(["train", "--resume", "part", "--set=inference.epochs=2"]) == 0
    assert "imports mine:Half, which part names" in caplog.text
    whole, part = (Path(folder, "last.safetensors").read_bytes() for folder in ("whole", "part"))
    assert whole == part
    assert main(["sample", "whole", "--num", "3"]) == 0
    assert main(["encode", "whole", "--import-path", "code"]) == 0


def test_no_file_of_the_current_folder_or_of_a_run_is_imported(
    mine: Any, few_digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = build("vae", "svi", few_digits, {"model.prior.kind": "mine:Cauchy"})
    pyrovae.save(vae, tmp_path / "vae.safetensors")
    for folder in (tmp_path, tmp_path / "run"):
        folder.mkdir(exist_ok=True)
        (folder / "mine.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    (tmp_path / "run/run.json").touch()
    known = [place for place in sys.path if not place.startswith(str(tmp_path))]

    def opened(*folders: str) -> str:
        """As in another process, whose first place is the current folder."""
        sys.modules.pop("mine", None)
        monkeypatch.setattr(sys, "path", [str(tmp_path), *known])
        for folder in folders:
            import_from(Path(folder))
        return pyrovae.load("vae.safetensors").formulas().prior

    with pytest.raises(
        CheckpointError, match="No module named 'mine': install it, or name its folder"
    ):
        opened()
    with pytest.raises(CheckpointError, match="is in the folder of a run, which is not imported"):
        opened("run")
    assert opened("code") == "Cauchy(0, scale)"


def test_rates_are_those_of_the_schedule_that_torch_steps(mine: Any) -> None:
    name = "torch.optim.lr_scheduler:"
    budget = Budget(epochs=6, steps_per_epoch=3)
    halved = OwnRateSpec(kind=f"{name}StepLR", step_size=2, gamma=0.5)
    found = [rate_at(halved, 3 * epoch + 1, budget) for epoch in range(6)]
    assert found == [1, 1, 0.5, 0.5, 0.25, 0.25]
    cosine = OwnRateSpec(kind=f"{name}CosineAnnealingLR", T_max=18, per="step")
    for step in range(18):
        assert rate_at(cosine, step, budget) == pytest.approx(
            rate_at(CosineRateSpec(), step, budget), abs=1e-12
        )
    cycle = OwnRateSpec(kind=f"{name}OneCycleLR", max_lr=2.0, per="step", betas=[])
    with pytest.raises(SpecError, match=r"learning_rate_schedule has no key 'betas'"):
        rate_at(cycle, 0, budget)
    cycle = OwnRateSpec(kind=f"{name}OneCycleLR", max_lr=2.0, per="step")
    assert 1.9 < max(rate_at(cycle, step, budget) for step in range(18)) <= 2.0
    waits = f"{name}ReduceLROnPlateau"
    with pytest.raises(SpecError, match=r"ReduceLROnPlateau': .*metrics"):
        rate_at(OwnRateSpec(kind=waits), 0, budget)
    kind = f"--set=inference.learning_rate_schedule.kind={waits}"
    assert main(["train", kind, "--output", "run"]) == 2
    assert not Path("run").exists()


def test_mistakes_are_one_sentence(few_digits: Splits, mine: Any) -> None:
    mistakes: dict[str, dict[str, Any]] = {
        "model.prior.kind = 'subprocess:Popen': Popen is no subclass of pyrovae.parts.priors.": {
            "model.prior.kind": "subprocess:Popen",
            "model.prior.args": "touch called",
        },
        "model.prior has no key 'scales'; did you mean 'scale'": {
            "model.prior.kind": "mine:Cauchy",
            "model.prior.scales": 2,
        },
        "inference.guide.encoder has no key 'block', which ResNet needs": {
            "inference.guide.encoder.kind": "torchvision.models:ResNet"
        },
        "the prior returns a tensor of shape (): return a distribution of pyro": {
            "model.prior.kind": "mine:Number"
        },
        "the likelihood Wordless has no attribute 'formula'": {
            "model.likelihood.kind": "mine:Wordless"
        },
        "the prior's code has length 3": {"model.prior.kind": "mine:Cauchy",
            "model.prior.latent_dim": 3},
        "mine has no class 'Cauchi'; did you mean 'Cauchy'": {"model.prior.kind": "mine:Cauchi"},
        "the encoder does not take (2, 1, 8, 8)": {"inference.guide.encoder.kind": "torch.nn:GRU",
            "inference.guide.encoder.input_size": 3, "inference.guide.encoder.hidden_size": 3},
        "kind = 'mine:': give module and class": {"model.prior.kind": "mine:"},
        "takes no num_particles": {"inference.objective.kind": "mine:Plain",
            "inference.objective.particles": 2},
    }  # fmt: skip
    for said, settings in mistakes.items():
        with pytest.raises(SpecError) as told:
            fit(build("vae", InferenceSpec(epochs=1), few_digits, settings), few_digits)
        assert said in str(told.value), str(told.value)
        assert "\n" not in str(told.value)
    assert not Path("called").exists()


def test_a_parameter_without_gradient_is_named(few_digits: Splits, mine: Any, caplog: Any) -> None:
    few = InferenceSpec(epochs=1)
    for kind, warned in (("Unused", True), ("CNN", False)):
        settings = {"inference.guide.encoder.kind": f"mine:{kind}"}
        fit(build("vae", few, few_digits, settings), few_digits)
        said = "posterior.encoder: parameter 'module.extra' has no gradient, and is not fitted"
        assert (said in caplog.text) == warned
        caplog.clear()


def test_specifications_hold_any_class_and_import_none() -> None:
    spec = ModelSpec(prior={"kind": "not.installed:Anywhere", "of": [1, 2.5, "x"]})
    assert spec.model_dump()["prior"] == {"kind": "not.installed:Anywhere", "of": [1, 2.5, "x"]}
    assert ModelSpec.model_validate(spec.model_dump()) == spec
