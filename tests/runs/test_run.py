"""A run from beginning to end: what it does, says and leaves behind."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch

from pyrovae import InferenceSpec, build, fit, load, load_data, save
from pyrovae.data import Splits
from pyrovae.evaluation.bound import evaluate
from pyrovae.objectives import build_objective
from pyrovae.programs.handwritten import Handwritten
from pyrovae.runs.weights import load_weights
from pyrovae.runs.writing import new_folder
from pyrovae.specs.files import find, shipped
from pyrovae.training.records import Record

RECORD_KEYS = [field.name for field in dataclasses.fields(Record)]
FIGURES = {"reconstructions.png", "samples.png", "latent.png", "curves.png"}
WEIGHTS = ("last.safetensors", "best.safetensors", "weights.safetensors")
TEXTS = {"inference.toml", "run.json", "manifest.json", "metrics.jsonl"}
FILES = {*TEXTS, "checkpoint.pt", "figures", *WEIGHTS}
PROGRAMS = {name for name in shipped("models") if find(name, "models").suffix == ".py"}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def read_run(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


SPHERE = {"hypersphere", "von_mises_fisher"}
# Their data have labels, or lengths: tests/runs/test_variables.py and test_programs.py.
OTHERS = {"cvae", "dmm", "m2"}
FOR_ROWS = {"words", "prodlda"}
# The pictures of all kinds of models are drawn in tests/report/figures; here, that they are.
DRAWN = {("vae", "svi"), ("handwritten", "iwae"), ("words", "svi")}


# Each model once and each inference once; project/test_compatibility.py has parts in pairs.
@pytest.mark.parametrize(
    ("model", "inference"),
    [
        *((model, "svi") for model in shipped("models") if model not in SPHERE | OTHERS),
        *(("vae", inference) for inference in shipped("inference") if inference not in SPHERE),
        ("hypersphere", "von_mises_fisher"),
        ("handwritten", "iwae"),
    ],
)
def test_every_model_and_every_inference_trains_and_leaves_all_its_files(
    command: Any,
    counts: Path,
    here: Path,
    model: str,
    inference: str,
    request: pytest.FixtureRequest,
) -> None:
    drawn = (model, inference) in DRAWN
    if not drawn:
        request.getfixturevalue("without_figures")
    two_steps = ("--set", "inference.epochs=1", "--set", "inference.batch_size=8")
    if model in FOR_ROWS:
        rows = here / "rows.npy"
        np.save(rows, np.load(counts).reshape(20, -1))
        counts = rows
    own = ("--set", "program.words=64") if model == "prodlda" else ()
    outcome = command(model, inference, "--data", counts, "--output", "run", *two_steps, *own)
    assert outcome.status == 0, outcome.err
    run = Path("run")
    model_file = "model.py" if model in PROGRAMS else "model.toml"
    files = {model_file, *FILES, *(["program.toml"] if own else [])}
    assert {file.name for file in run.iterdir()} == (files if drawn else files - {"figures"})
    if drawn:
        assert {file.name for file in (run / "figures").iterdir()} == FIGURES
        assert all(file.stat().st_size > 0 for file in (run / "figures").iterdir())
    assert [list(record) for record in records(run)] == [RECORD_KEYS] * 3
    assert [(r["step"], r["split"]) for r in records(run)] == [
        (2, "train"),
        (2, "validation"),
        (2, "test"),
    ]


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("model", ["vamp", "handwritten"])
def test_a_runs_own_files_repeat_it_bit_for_bit(
    train: Any, command: Any, counts: Path, metrics: Any, model: str
) -> None:
    first = train(model, "beta", "--seed", "5")
    own = first / ("model.py" if model in PROGRAMS else "model.toml")
    outcome = command(own, first / "inference.toml", "--data", counts, "--output", "again")
    assert outcome.status == 0, outcome.err
    assert metrics(Path("again")) == metrics(first)
    for name in (own.name, "inference.toml", *WEIGHTS):
        assert (Path("again") / name).read_bytes() == (first / name).read_bytes()


@pytest.mark.usefixtures("without_figures")
def test_another_seed_is_another_run(train: Any, metrics: Any) -> None:
    first, second = (train("--seed", seed, output=f"run{seed}") for seed in "12")
    assert metrics(first) != metrics(second)


@pytest.mark.usefixtures("without_figures")
def test_two_runs_of_one_second_have_folders_of_their_own(
    command: Any, counts: Path, overrides: Any, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.setattr("time.strftime", lambda *_: "20200101-000000")
    for _ in range(2):
        assert command("--data", counts, *overrides("inference.epochs=1")).status == 0
    folders = sorted(folder.name for folder in (here / "runs").iterdir())
    assert folders == ["20200101-000000-vae-svi", "20200101-000000-vae-svi-2"]


def test_a_folder_that_another_process_has_just_made_is_not_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make, made = Path.mkdir, []

    def overtaken(path: Path, *arguments: Any, **options: Any) -> None:
        if not made and path.parent.name == "runs":
            made.append(path)
            make(path, parents=True)
        make(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", overtaken)
    assert new_folder(None, "vae", "svi") != made[0]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    command: Any, counts: Path, overrides: Any, here: Path
) -> None:
    outcome = command("vamp", "beta", "--data", counts, "--dry-run", *overrides())
    assert outcome.status == 0
    assert list(here.iterdir()) == []
    model_text, inference_text = outcome.out.split("# model.toml\n")[1].split("# inference.toml\n")
    model = tomllib.loads(model_text)
    inference = tomllib.loads(inference_text.partition("\np(z)")[0])
    assert model["likelihood"] == {
        "kind": "discretized_logistic",
        "levels": 16,
        "noise": "per_pixel",
        "scale": "data",
    }
    assert inference["guide"]["encoder"]["widths"] == [16]
    parameters = {
        line.split()[0]: line.split(maxsplit=1)[1]
        for line in outcome.out.rpartition("\n\n")[2].splitlines()
    }
    built = build("vamp", "beta", load_data(counts))
    assert parameters.keys() > {"prior.pseudo_inputs", "decoder.last.weight"}
    assert parameters["decoder.last.weight"] == "(128, 16)"  # loc and scale
    assert parameters["prior.pseudo_inputs"] == str(tuple(built.prior.pseudo_inputs.shape))
    assert "dry run" in outcome.out


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("arguments", "settings", "plan"),
    [
        (
            ("vae", "svi"),
            ("inference.objective.particles=3",),
            {
                "p(z)": ["Normal(0, I)"],
                "p(x | z)": ["DiscretizedLogistic", "on 0..16", "mlp 16", "8 latent dimensions"],
                "": ["chosen since the values are grey levels, 0 to 16"],
                "q(z | x)": ["Normal(loc(x), diag scale(x)²)", "mlp 16"],
                "objective": ["TraceMeanField_ELBO", "KL exact", "3 particles", "exact at z"],
                "β": ["1"],
            },
        ),
        (
            ("mixture", "beta"),
            (),
            {
                "p(z)": ["mixture of 10"],
                "objective": ["Trace_ELBO", "KL sampled", "1 particle;", "sampled at z"],
                "β": ["from 0 to 4 over 20 epochs"],
            },
        ),
        (
            ("vae", "sampled"),
            (),
            {"objective": ["Trace_ELBO", "KL sampled", "reported KL exact at z"]},
        ),
        (
            ("handwritten", "svi"),
            (),
            {
                "p(z)": ["z ~ Normal (8,)"],
                "p(x | z)": ["x ~ Binomial (1, 8, 8)"],
                "q(z | x)": ["z ~ Normal (8,)"],
            },
        ),
    ],
)
def test_the_plan_is_said_before_training(
    command: Any,
    counts: Path,
    overrides: Any,
    arguments: tuple[str, ...],
    settings: tuple[str, ...],
    plan: dict[str, list[str]],
) -> None:
    declared = arguments[0] not in PROGRAMS
    words = overrides(*settings, declared=declared)
    outcome = command(*arguments, "--data", counts, "--output", "run", *words)
    said, _, after = outcome.out.partition("epoch ")
    rows = {line[:11].strip(): line[12:] for line in said.splitlines()}
    total = sum(w.numel() for w in load_state(Path("run"), declared=declared).values())
    always = {
        "data": ["counts.npy", "16 training, 2 validation, 2 test", "1 × 8 × 8", "0 to 16"],
        "parameters": [f"{total:,}"],
        "device": ["cpu"],
        "writes to": ["run"],
        "budget": ["2 epochs of 2 steps"],
    }
    for name, texts in {**plan, **always}.items():
        assert [text for text in texts if text not in rows[name]] == []
    assert "test ELBO" in after


def load_state(run: Path, *, declared: bool) -> dict[str, torch.Tensor]:
    if declared:
        return dict(load(run).named_parameters())
    state = torch.load(run / "checkpoint.pt", weights_only=True)["state"]
    return state["weights"]


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(("model", "inference"), [("vae", "beta"), ("vamp", "sampled")])
def test_the_reported_bound_is_reconstruction_minus_kl_whatever_beta_is(
    train: Any, model: str, inference: str
) -> None:
    run = train(model, inference)
    for record in records(run):
        difference = record["reconstruction"] - record["kl"]
        assert record["elbo"] == pytest.approx(difference, abs=1e-9)
        assert record["kl"] == pytest.approx(sum(record["kl_per_site"].values()), abs=1e-9)
        if record["kl_per_dim"] is not None:
            assert record["kl"] == pytest.approx(sum(record["kl_per_dim"]), abs=1e-9)
    test = read_run(run)["test"]
    assert test["elbo"] == records(run)[-1]["elbo"]


@pytest.mark.usefixtures("without_figures")
def test_beta_is_recorded_as_it_was_in_the_last_step(train: Any) -> None:
    beta = ("kind=linear", "start=1.0", "value=4.0", "warmup_epochs=1.5")
    run = train(settings=tuple(f"inference.beta.{key}" for key in beta))
    recorded = {(r["epoch"], r["split"]): r["beta"] for r in records(run)}
    assert recorded == {
        (1, "train"): 2.0,
        (1, "validation"): 2.0,
        (2, "train"): 4.0,
        (2, "validation"): 4.0,
        (2, "test"): 1.0,
    }


@pytest.mark.usefixtures("without_figures")
def test_the_validation_loss_is_at_the_recorded_beta(train: Any) -> None:
    run = train(settings=("inference.beta.value=4.0",))
    validation = next(r for r in records(run) if r["split"] == "validation")
    expected = 4 * validation["kl"] - validation["reconstruction"]
    assert validation["loss"] == pytest.approx(expected, rel=1e-6)  # the loss is a float32


@pytest.fixture
def worsening(
    train: Any, monkeypatch: pytest.MonkeyPatch, without_figures: None
) -> Callable[..., Path]:
    """A run whose validation bound is best after its first epoch."""

    def run(*settings: str) -> Path:
        wild = ("inference.optimiser.learning_rate=0.3", "inference.epochs=9")
        return train("vae", "svi", settings=(*wild, *settings))

    return run


def test_early_stopping_stops_and_keeps_the_best(worsening: Any, few: Splits) -> None:
    run = worsening(
        "inference.early_stopping.patience=2", "inference.early_stopping.min_delta=1000"
    )
    validation = [r["elbo"] for r in records(run) if r["split"] == "validation"]
    assert len(validation) == 3  # one that counts, two of patience
    vae = load(run)
    assert_same_weights(run, "weights.safetensors", "best.safetensors")
    assert_judged(run, vae, few)
    bound = evaluate(vae, few.validation, objective(vae, few)).elbo
    assert bound == pytest.approx(validation[0], rel=1e-12)


def test_without_early_stopping_the_better_of_last_and_best_are_kept(
    worsening: Any, train: Any, few: Splits
) -> None:
    run = worsening()
    assert len([r for r in records(run) if r["split"] == "validation"]) == 9
    assert_same_weights(run, "weights.safetensors", "best.safetensors")
    assert_judged(run, load(run), few)
    better = train(
        "vae", "svi", settings=("inference.optimiser.learning_rate=1e-4",), output="other"
    )
    assert read_run(better)["weights"]["kept"] == "last"
    assert_same_weights(better, "weights.safetensors", "last.safetensors")


def test_the_best_weights_are_those_of_the_best_validation_bound(
    worsening: Any, few: Splits
) -> None:
    run = worsening()
    validation = [r["elbo"] for r in records(run) if r["split"] == "validation"]
    vae = load(run / "best.safetensors")
    bound = evaluate(vae, few.validation, objective(vae, few)).elbo
    assert bound == pytest.approx(max(validation), rel=1e-12)


def objective(vae: Any, data: Splits) -> Any:
    x = data.train.batch(torch.arange(2)).x
    return build_objective(vae.declaration.inference.objective, vae, x)


def assert_judged(run: Path, vae: Any, data: Splits) -> None:
    """The results of a run are those of this autoencoder."""
    summary = evaluate(vae, data.test, objective(vae, data))
    assert read_run(run)["test"]["elbo"] == pytest.approx(summary.elbo, rel=1e-12)


def assert_same_weights(run: Path, first: str, second: str) -> None:
    assert (run / first).read_bytes() == (run / second).read_bytes()


@pytest.mark.usefixtures("without_figures")
def test_an_absurd_end_is_said_and_written_down(
    command: Any, counts: Path, overrides: Any
) -> None:
    words = overrides("inference.optimiser.learning_rate=1e3")
    outcome = command("--data", counts, "--output", "run", *words)
    assert outcome.status == 0
    assert "training has made the model worse" in " ".join(outcome.out.split())
    described = read_run(Path("run"))
    warning = described["warnings"][0]
    assert warning["kind"] == "worse_than_untrained"
    assert warning["numbers"]["elbo"] < warning["numbers"]["elbo_untrained"]
    kept = described["weights"]
    validation = [r["elbo"] for r in records(Path("run")) if r["split"] == "validation"]
    assert kept["validation_elbo"] == validation[kept["epoch"] - 1]
    assert kept["best_validation_elbo"] == max(validation)


@pytest.mark.usefixtures("without_figures")
def test_a_run_describes_itself(train: Any, counts: Path) -> None:
    run = train("mixture", "svi", "--seed", "4")
    described = read_run(run)
    assert described["status"] == "finished"
    assert (described["model"], described["inference"]) == ("mixture", "svi")
    assert described["seed"] == 4
    assert described["objective"] == "ELBO (Trace_ELBO: KL sampled)"
    assert described["kl"] == {"z": "sampled"}
    assert described["data"]["source"] == str(counts)
    assert described["data"]["sizes"] == {"train": 16, "validation": 2, "test": 2}
    assert described["command"].startswith("python -m pyrovae.train mixture svi --seed 4 --data ")
    assert not list(run.glob("*.writing")) + list(run.glob(".*"))


@pytest.mark.usefixtures("without_figures")
def test_the_handwritten_program_is_the_twin_of_the_declared_one(
    command: Any, metrics: Any
) -> None:
    alike = ("--set", "model.likelihood.kind=binomial", "--set", "model.decoder.activation=relu")
    for model, settings in (("handwritten", ()), ("vae", alike)):
        options = ("--set", "inference.epochs=2", "--output", model)
        assert command(model, "svi", *options, *settings).status == 0
    declared, handwritten = metrics(Path("vae")), metrics(Path("handwritten"))
    assert len(declared) == len(handwritten) == 5
    for one, other in zip(declared, handwritten, strict=True):
        assert one.keys() == other.keys()
        for key in ("elbo", "reconstruction", "kl", "kl_per_dim", "loss", "beta"):
            assert other[key] == pytest.approx(one[key], rel=1e-5)  # float32, the same sums


def test_two_instances_of_a_program_share_nothing(few: Splits, write_program: Any) -> None:
    path = write_program(("x.new_ones(2)\n        pyro", SCALE))
    pyro.param("mine", torch.ones(1))
    first, second = Handwritten(path, few), Handwritten(path, few)
    assert {name for name, _ in first.named_parameters()} >= {"encoder.weight", "scale/raw"}
    pointers = [{p.data_ptr() for p in one.parameters()} for one in (first, second)]
    assert not pointers[0] & pointers[1]
    before = {name: value.clone() for name, value in second.state_dict().items()}
    fit(first, few, InferenceSpec(epochs=1))
    assert all(torch.equal(before[name], value) for name, value in second.state_dict().items())
    assert list(pyro.get_param_store().keys()) == ["mine"]


SCALE = """pyro.param(
            "scale.raw", torch.ones(2), constraint=dist.constraints.positive
        )
        pyro"""


def test_every_parameter_of_a_program_is_fitted(few: Splits, write_program: Any) -> None:
    path = write_program(("x.new_ones(2)\n        pyro", SCALE))
    program = Handwritten(path, few)
    before = {name: value.clone() for name, value in program.state_dict().items()}
    fit(program, few, InferenceSpec(epochs=1))
    still = [n for n, value in program.state_dict().items() if torch.equal(before[n], value)]
    assert still == []


def test_a_program_may_name_its_parts_as_it_likes(few: Splits, write_program: Any) -> None:
    for name in ("path", "contract", "training"):
        renamed = Handwritten(write_program(("encoder", name), name=f"{name}.py"), few)
        assert len(list(renamed.parameters())) == 4
    scale = SCALE.replace("scale.raw", "encoder")
    param = write_program(("x.new_ones(2)\n        pyro", scale), name="param.py")
    assert len(list(Handwritten(param, few).parameters())) == 5


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("binarisation", ["dynamic", "static", "threshold"])
def test_a_program_may_ask_for_bits(train: Any, write_program: Any, binarisation: str) -> None:
    program = write_program(
        ("import torch\n", f"import torch\nbinarisation = {binarisation!r}\n"),
        ("dist.Binomial(16, ", "dist.Bernoulli("),
    )
    run = train(program, "svi")
    assert read_run(run)["data"]["levels"] == 1.0


@pytest.mark.usefixtures("without_figures")
def test_a_program_may_use_one_network_under_two_names(train: Any, write_program: Any) -> None:
    twice = (
        "decoder = nn.Linear(2, 64)\n",
        "decoder = nn.Linear(2, 64)\nboth = nn.Sequential(encoder, decoder)\n",
    )
    assert read_run(train(write_program(twice), "svi"))["status"] == "finished"


def test_weights_saved_and_loaded_give_the_same_densities(few: Splits, here: Path) -> None:
    vae = build("vamp", "full_rank", few)
    fit(vae, few, InferenceSpec(epochs=1))
    save(vae, here / "vae.safetensors")
    loaded = load(here / "vae.safetensors")
    x, z = few.test.batch(torch.arange(2)).x, torch.randn(2, 8)
    for one, other in (
        (vae.encode(x), loaded.encode(x)),
        (vae.prior(vae.posterior), loaded.prior(loaded.posterior)),
    ):
        assert torch.equal(one.log_prob(z), other.log_prob(z))
    assert torch.equal(vae.decode(z).log_prob(x), loaded.decode(z).log_prob(x))
    assert loaded.declaration == vae.declaration


def test_the_weights_of_a_program_go_back_into_it(
    few: Splits, write_program: Any, here: Path
) -> None:
    path = write_program(("x.new_ones(2)\n        pyro", SCALE))
    x = few.train.batch(torch.arange(2)).x
    fitted, fresh = Handwritten(path, few), Handwritten(path, few)
    fit(fitted, few, InferenceSpec(epochs=2))
    save(fitted, here / "program.safetensors")
    load_weights(fresh, here / "program.safetensors")
    bounds = [evaluate(one, few.test, build_objective_of(one, x)).elbo for one in (fitted, fresh)]
    assert bounds[0] == bounds[1]


def build_objective_of(program: Handwritten, x: torch.Tensor) -> Any:
    return build_objective(InferenceSpec().objective, program, x)


def test_fitting_leaves_the_callers_random_stream_as_it_was(few: Splits) -> None:
    before = torch.get_rng_state()
    fit(build("vamp", "svi", few), few, InferenceSpec(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("without_figures")
def test_the_command_and_the_python_interface_fit_the_same_weights(
    train: Any, few: Splits
) -> None:
    run = train("mixture", "svi")
    declaration = load(run).declaration
    vae = build(declaration.model, declaration.inference, few)
    fit(vae, few)
    fitted = load(run).state_dict()
    assert all(torch.equal(fitted[name], value) for name, value in vae.state_dict().items())


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("arguments", "plan", "kind"),
    [
        (("vae", "svi"), "TraceMeanField_ELBO: KL exact", "exact"),
        (("mixture", "svi"), "Trace_ELBO: KL sampled", "sampled"),
        (("vae", "iaf"), "Trace_ELBO: KL sampled", "sampled"),
        (("vae", "autoencoder"), "the guide is a point", "point"),
    ],
)
def test_whether_the_kl_is_exact_is_said_at_the_start_in_run_json_and_in_the_log(
    command: Any, counts: Path, arguments: tuple[str, str], plan: str, kind: str
) -> None:
    outcome = command(*arguments, "--data", counts, "--output", "run",
                      "--set", "inference.epochs=1")  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert plan in next(line for line in outcome.out.splitlines() if line.startswith("objective"))
    assert ("no bound: the guide is a point" in outcome.out) == (kind == "point")
    assert read_run(Path("run"))["kl"] == {"z": kind}
    assert [record["kl_kind"] for record in records(Path("run"))] == [{"z": kind}] * 3
