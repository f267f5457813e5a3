"""An input that cannot work gets one sentence and exit status 2, and nothing is written."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pyrovae import build, load, load_data, save
from pyrovae.errors import CheckpointError
from pyrovae.runs.weights import load_weights

pytestmark = pytest.mark.usefixtures("without_figures")

BINOMIAL = ["--set", "model.likelihood.kind=binomial"]

SPECIFICATIONS: dict[str, tuple[list[str], list[str]]] = {
    "model": (["vea"], ["'vea'", "models/", "'vae'?"]),
    "swapped": (["svi", "vae"], ["'svi'", "in inference/", "as in vae svi"]),
    "inference": (["vae", "sviv"], ["'sviv'", "inference/", "'svi'?"]),
    "file": (["mine.toml"], ["there is no file 'mine.toml'"]),
    "program": (["mine.py"], ["there is no file 'mine.py'"]),
    "key": (["--set", "model.latent_dims=3"], ["--set model.latent_dims", "'latent_dim'?"]),
    "kind": (["--set", "model.prior.kind=vapm"], ["--set model.prior.kind", "'vamp'?"]),
    "type": (["--set", "inference.epochs=abc"], ["--set inference.epochs", "'abc'", "integer"]),
    "range": (["--set", "inference.epochs=0"], ["inference.epochs", "= 0", "greater than 0"]),
    "form": (["--set", "model.latent_dim"], ["--set model.latent_dim", "KEY=VALUE"]),
    "seed": (["--seed", "-1"], ["seed", "-1"]),
    "seed that is a word": (["--seed", "one"], ["seed", "'one'", "integer"]),
    "analytic KL with a mixture": (
        ["mixture", "--set", "inference.objective.kl=analytic"],
        [
            "guide, Normal",
            "prior, mixture",
            "'z'",
            "inference.objective.kl",
            "'auto'",
            "'sampled'",
        ],
    ),
    "analytic KL with a VampPrior": (
        ["vamp", "full_rank", "--set", "inference.objective.kl=analytic"],
        ["guide, Normal", "prior, VampPrior", "inference.objective.kl"],
    ),
    "no particle": (
        ["vae", "iwae", "--set", "inference.objective.particles=0"],
        ["--set inference.objective.particles", "= 0", "greater than 0"],
    ),
    "the order of the ELBO": (
        ["vae", "renyi", "--set", "inference.objective.alpha=1"],
        ["--set inference.objective.alpha", "= 1", "is the ELBO", "'elbo'"],
    ),
    "more directions than dimensions": (
        ["vae", "low_rank", "--set", "inference.guide.rank=9"],
        ["inference.guide", "rank = 9", "8", "'full_rank'"],
    ),
    "an odd code in two halves": (
        ["vae", "spline", "--set", "model.latent_dim=7"],
        ["inference.guide", "latent_dim = 7", "'spline'", "even", "'iaf'"],
    ),
    "a batch of one to compare": (
        ["vae", "tc", "--set", "inference.batch_size=1"],
        ["inference.batch_size = 1", "'tc'", "2 or more"],
    ),
    "a batch of one to compare by kernels": (
        ["vae", "wae", "--set", "inference.batch_size=1"],
        ["inference.batch_size = 1", "'mmd'", "2 or more"],
    ),
    "a bound from a point": (
        ["vae", "autoencoder", "--set", "inference.objective.kind=iwae"],
        ["'iwae'", "the guide, ", "the prior, Normal", "a point", "'diagonal'"],
    ),
    "marginals of a flow": (
        ["vae", "tc", "--set", "inference.guide.kind=iaf"],
        ["'tc'", "the guide, inverse autoregressive flow", "marginals", "'diagonal'"],
    ),
    "free bits of what does not factorise": (
        ["mixture", "free_bits"],
        ["'free_bits'", "the prior, mixture", "dimensions", "groups 'site'"],
    ),
    "a sphere in a plane": (
        ["vae", "von_mises_fisher"],
        ["the prior, Normal(0, I)", "sphere", "'hyperspherical'", "'vamp'"],
    ),
    "a plane on a sphere": (
        ["hypersphere"],
        ["the guide, Normal", "sphere", "'von_mises_fisher'", "'normal'"],
    ),
    "a VampPrior of points": (
        ["vamp", "autoencoder"],
        ["the prior, VampPrior", "no density", "'normal'"],
    ),
    "images as bags of words": (
        ["words"],
        ["multinomial", "rows", "poisson"],
    ),
    "grey levels as bits": (
        ["--set", "model.likelihood.kind=bernoulli"],
        ["Bernoulli", "model.binarisation", "'dynamic'", "model.likelihood.kind"],
    ),
    "more than can be counted": (
        [*BINOMIAL, "--set", "model.likelihood.total_count=15"],
        ["16", "Binomial(15", "model.likelihood.total_count"],
    ),
    "keys of a program": (
        ["handwritten", "--set", "model.latent_dim=3"],
        ["--set model.latent_dim", "handwritten.py"],
    ),
    "more than the machine holds": (
        ["--set", "model.decoder.widths=[100000,100000]"],
        ["2e+10 parameters", "GB", "this machine has", "widths"],
    ),
    "more than any machine holds": (
        ["--set", "model.latent_dim=100000", "--set", "model.decoder.widths=[1000000]"],
        ["parameters", "GB", "this machine has"],
    ),
    "too small for so many widths": (
        ["conv", "--set", "model.decoder.widths=[4,4,4,4]"],
        ["'conv'", "8 x 8", "fewer widths"],
    ),
}
PROGRAMS: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "no guide": ([("def guide", "def guidance")], ["no function guide(x)"]),
    "no model": ([("def model", "def modle")], ["no function model(x)"]),
    "syntax": ([("import torch\n", "import torch,\n")], ["SyntaxError", "line 3"]),
    "raises on import": (
        [("import torch\n", 'raise RuntimeError("no luck\\ntoday")\n')],
        ["RuntimeError", "no luck", "today"],
    ),
    "raises when called": (
        [("    loc, scale", '    raise RuntimeError("no luck")\n        loc, scale')],
        ["(2, 1, 8, 8)", "no luck"],
    ),
    "wrong shapes": ([("nn.Linear(64, 2)", "nn.Linear(65, 2)")], ["(2, 1, 8, 8)", "shapes"]),
    "other latent sites": (
        [('pyro.sample("z", dist.Normal(loc', 'pyro.sample("w", dist.Normal(loc')],
        ["'z'", "'w'", "same sites"],
    ),
    "no observed site": ([(", obs=x", "")], ["'x'", "same sites"]),
    "nothing observed": (
        [('        pyro.sample("x", dist.Binomial(16, logits=logits).to_event(3), obs=x)\n', "")],
        ["observes nothing", "obs=x"],
    ),
    "no latent site": (
        [
            (
                'z = pyro.sample("z", dist.Normal(x.new_zeros(2), x.new_ones(2)).to_event(1))',
                "z = x[:, 0, 0, :2]",
            ),
            ('pyro.sample("z", dist.Normal(loc, scale).to_event(1))', "pass"),
        ],
        ["draws nothing", "same sites"],
    ),
    "latent site outside the plate": (
        [
            ("        z =", "        pass\n    if True:\n        z ="),
            ("x.new_zeros(2), x.new_ones(2)", "x.new_zeros(len(x), 2), x.new_ones(2)"),
            ("        loc, scale", "        pass\n    if True:\n        loc, scale"),
        ],
        ["site 'z'", 'pyro.plate("data", len(x))'],
    ),
    "pixels left open": ([(".to_event(3)", ".to_event(2)")], ["x", "to_event"]),
    "no parameters": (
        [
            ("encoder = nn.Linear(64, 2)", "encoder = nn.Flatten()"),
            ("decoder = nn.Linear(2, 64)", "decoder = nn.Flatten()"),
            ("decoder(z).reshape(x.shape)", "z.sum(-1).reshape(-1, 1, 1, 1).expand(x.shape)"),
            ("encoder(x.flatten(1) / 16)", "x.flatten(1)[:, :2]"),
        ],
        ["no parameter to fit"],
    ),
    "sites of some batches": (
        [
            ("        z = pyro", "        more(x)\n        z = pyro"),
            ("        loc, scale", "        more(x)\n        loc, scale"),
            (
                "def model",
                "def more(x):\n    if len(x) > 5:\n        pyro.sample("
                '"u", dist.Normal(x.new_zeros(()), 1.0))\n\n\ndef model',
            ),
        ],
        ["site 'u'", "some batches", "mask"],
    ),
    "a plate that subsamples": (
        [('pyro.plate("data", len(x))', 'pyro.plate("data", len(x), subsample_size=1)')],
        ["(2, 1, 8, 8)", 'pyro.plate("data", len(x)), without a subsample'],
    ),
    "too many classes": (
        [
            (
                "        z = pyro",
                "        for i in range(7):\n            pyro.sample("
                'f"k{i}", dist.Categorical(logits=x.new_zeros(10)))\n        z = pyro',
            )
        ],
        ["'k6'", "10,000,000", "1,000,000"],
    ),
    "unknown binarisation": (
        [("import torch\n", 'import torch\nbinarisation = "dynamc"\n')],
        ["binarisation", "dynamc", "dynamic"],
    ),
    "outside the support": (
        [("dist.Binomial(16", "dist.Binomial(1")],
        ["counts.npy has the value", "Binomial", "support"],
    ),
}


@pytest.mark.parametrize(
    ("arguments", "words"), SPECIFICATIONS.values(), ids=SPECIFICATIONS.keys()
)
def test_a_declaration_that_cannot_work_is_refused(
    refused: Any, counts: Path, arguments: list[str], words: list[str]
) -> None:
    refused(*arguments, "--data", counts, words=words)


@pytest.mark.parametrize(("changes", "words"), PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_that_cannot_work_is_refused(
    refused: Any,
    write_program: Any,
    counts: Path,
    changes: list[tuple[str, str]],
    words: list[str],
) -> None:
    program = write_program(*changes)
    refused(program, "svi", "--data", counts, words=[program.name, *words])


def test_a_program_that_fails_in_the_middle_of_training_is_blamed_in_one_sentence(
    command: Any, here: Path, counts: Path, write_program: Any
) -> None:
    check = 'assert len(x) < 3 or not torch.is_grad_enabled(), "too many"'
    change = ("    loc, scale", f"    {check}\n        loc, scale")
    outcome = command(
        write_program(change),
        "svi",
        "--data",
        counts,
        "--output",
        "run",
        "--set",
        "inference.epochs=1",
    )
    assert outcome.status == 2
    [sentence] = outcome.err.splitlines()
    assert "program.py: guide(x) fails on x of shape" in sentence
    assert "too many" in sentence
    assert (here / "run" / "checkpoint.pt").is_file()


def put_nan(folder: Path) -> Path:
    x = np.zeros((20, 4), dtype=np.float32)
    x[3, 2] = np.nan
    np.save(folder / "nan.npy", x)
    return folder / "nan.npy"


def put_table(folder: Path) -> Path:
    np.save(folder / "table.npy", np.random.default_rng(0).integers(0, 4, (20, 6)))
    return folder / "table.npy"


def put_row(folder: Path, value: float) -> Path:
    """Counts, and one value that is none."""
    rows = np.random.default_rng(0).integers(0, 4, (20, 6)).astype(float)
    rows[3, 2] = value
    np.save(folder / "rows.npy", rows)
    return folder / "rows.npy"


def put_noise(folder: Path) -> Path:
    np.save(folder / "noise.npy", np.random.default_rng(0).normal(size=(20, 6)))
    return folder / "noise.npy"


def put_image(folder: Path) -> Path:
    Image.new("L", (8, 8)).save(folder / "one.png")
    return folder / "one.png"


def put_images(folder: Path) -> Path:
    (folder / "images").mkdir()
    for number in range(12):
        Image.new("L", (8, 8 + number // 11)).save(folder / "images" / f"{number:02d}.png")
    return folder / "images"


def put_rubbish(folder: Path) -> Path:
    (folder / "rubbish.npy").write_bytes(b"\x93NUMPY\x01\x00rubbish")
    return folder / "rubbish.npy"


DATA: dict[str, tuple[Callable[[Path], Path], list[str], list[str]]] = {
    "NaN": (put_nan, [], ["nan.npy", "NaN", "observation 3"]),
    "single image": (put_image, [], ["one.png", "single image", "folder"]),
    "images of two sizes": (put_images, [], ["8 x 8", "8 x 9", "11.png", "one size"]),
    "damaged array": (put_rubbish, [], ["rubbish.npy"]),
    "table for convolutions": (put_table, ["conv"], ["'conv'", "(6,)", "kind 'mlp'"]),
    "real values for counts": (put_noise, BINOMIAL, ["'binomial'", "real-valued", "'normal'"]),
    "negative counts of words": (
        lambda folder: put_row(folder, -2),
        ["words"],
        ["rows.npy", "value -2", "Multinomial", "whole numbers from 0 on"],
    ),
    "fractional counts of words": (
        lambda folder: put_row(folder, 0.25),
        ["words"],
        ["rows.npy", "value 0.25", "Multinomial", "whole numbers from 0 on"],
    ),
    "real values to binarise": (
        put_noise,
        ["--set", "model.binarisation=dynamic", "--set", "model.likelihood.kind=bernoulli"],
        ["noise.npy", "dynamic", "real-valued"],
    ),
}


@pytest.mark.parametrize(("put", "arguments", "words"), DATA.values(), ids=DATA.keys())
def test_data_that_cannot_be_used_are_refused(
    refused: Any,
    here: Path,
    put: Callable[[Path], Path],
    arguments: list[str],
    words: list[str],
) -> None:
    refused(*arguments, "--data", put(here), words=words)


def test_an_unknown_data_set_is_refused_with_the_nearest_name(refused: Any) -> None:
    refused("--data", "digts", words=["'digts'", "'digits'?"])


def test_data_that_can_be_neither_found_nor_downloaded_are_refused(
    command: Any, here: Path
) -> None:
    outcome = command("--data", "mnist", "--data-root", "empty")
    assert outcome.status == 2
    for word in ("mnist is not in empty", "no network", "train-images-idx3-ubyte.gz"):
        assert word in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert [path for path in here.rglob("*") if path.is_file() or path.name == "runs"] == []


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cuda", ["no GPU", "--device cpu"]),
        ("cuda:1", ["no GPU", "--device cpu"]),
        ("mps", ["float64", "--device cpu"]),
    ],
)
def test_a_device_that_cannot_be_used_is_refused(
    refused: Any, device: str, words: list[str]
) -> None:
    refused("--device", device, words=[f"--device {device}", *words])


@pytest.mark.parametrize("arguments", [["--st"], ["vae", "svi", "more"], ["--device", "tpu"]])
def test_an_unknown_option_is_refused(command: Any, here: Path, arguments: list[str]) -> None:
    outcome = command(*arguments)
    assert outcome.status == 2
    assert arguments[-1] in outcome.err
    assert "Traceback" not in outcome.err
    assert list(here.iterdir()) == []


def test_an_option_that_is_a_key_is_told_how_to_set_it(command: Any) -> None:
    outcome = command("vae", "--latent-dim", "2")
    assert outcome.status == 2
    assert outcome.err.rstrip().endswith("is set by --set model.latent_dim=VALUE")


def test_a_folder_that_holds_something_is_not_written_to(
    refused: Any, counts: Path, here: Path
) -> None:
    (here / "taken").mkdir()
    (here / "taken" / "thesis.txt").write_text("all of it")
    refused("--data", counts, "--output", "taken", words=["taken", "not an empty folder"])


def test_a_file_is_not_taken_for_a_folder(refused: Any, counts: Path, here: Path) -> None:
    (here / "taken").write_text("all of it")
    refused("--data", counts, "--output", "taken", words=["taken", "not an empty folder"])


def test_a_folder_below_a_file_is_refused(refused: Any, counts: Path, here: Path) -> None:
    (here / "taken").write_text("all of it")
    refused("--data", counts, "--output", "taken/run", words=["taken/run", "cannot be"])


@pytest.fixture
def run(train: Any) -> Path:
    """The folder of a run of a mixture, which can be gone on with."""
    return train("mixture", settings=("inference.epochs=1",))


def test_a_folder_that_is_no_run_cannot_be_resumed(refused: Any, here: Path) -> None:
    (here / "other").mkdir()
    refused("--resume", "other", words=["other", "not the folder of a run", "run.json"])
    refused("--resume", "nowhere", words=["nowhere", "not the folder of a run"])


def test_a_run_goes_on_in_its_own_folder(refused: Any, run: Path) -> None:
    refused("--resume", run, "--output", "other", words=["--output", "--resume"])


@pytest.mark.parametrize("kept", [0.0, 1e-4, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_checkpoint_cannot_be_resumed(refused: Any, run: Path, kept: float) -> None:
    checkpoint = run / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: int(kept * len(whole))])
    refused("--resume", run, words=["checkpoint.pt", "damaged or truncated"])


@pytest.mark.parametrize("place", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
def test_a_checkpoint_with_a_flipped_byte_cannot_be_resumed(
    refused: Any, run: Path, place: float
) -> None:
    checkpoint = run / "checkpoint.pt"
    content = bytearray(checkpoint.read_bytes())
    with zipfile.ZipFile(checkpoint) as archive:  # a byte between its files would do no harm
        file = archive.infolist()[int(place * (len(archive.infolist()) - 1))]
        content[content.index(archive.read(file), file.header_offset)] ^= 0xFF
    checkpoint.write_bytes(content)
    refused("--resume", run, words=["checkpoint.pt", "damaged"])


@pytest.mark.parametrize("other", [{"a": 1}, [1, 2], {"declarations": {}, "fingerprint": ""}])
def test_another_programs_checkpoint_cannot_be_resumed(
    refused: Any, run: Path, other: object
) -> None:
    torch.save(other, run / "checkpoint.pt")
    refused("--resume", run, words=["checkpoint.pt"])


def test_a_checkpoint_with_code_in_it_is_not_run(refused: Any, run: Path, here: Path) -> None:
    torch.save({"declarations": Path("harmful")}, run / "checkpoint.pt")
    refused("--resume", run, words=["checkpoint.pt", "damaged"])


def test_a_missing_checkpoint_cannot_be_resumed(refused: Any, run: Path) -> None:
    (run / "checkpoint.pt").unlink()
    refused("--resume", run, words=["run", "checkpoint.pt"])


@pytest.mark.parametrize("content", ["", "{", '{"status": "run', "[]", '"text"', '{"data": 3}'])
def test_a_damaged_description_cannot_be_resumed(refused: Any, run: Path, content: str) -> None:
    (run / "run.json").write_text(content)
    refused("--resume", run, words=["run.json"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "inference.beta.value=2"], ["inference.toml", "beta.value was 1.0 and is 2.0"]),
        (["--seed", "3"], ["inference.toml", "seed was 0 and is 3"]),
        (["vae"], ["model.toml", "prior.kind was 'mixture' and is 'normal'"]),
        (["handwritten"], ["model.py"]),
        (["--data", "digits"], ["other data"]),
    ],
)
def test_a_run_cannot_be_resumed_as_another(
    refused: Any, run: Path, arguments: list[str], words: list[str]
) -> None:
    refused(*arguments, "--resume", run, words=["--resume run", *words])


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("inference.toml", "batch_size = 8", "batch_size = 5"),
        ("model.toml", "[\n    16,\n]", "[\n    7,\n]"),
    ],
)
def test_a_run_whose_specification_was_edited_cannot_be_resumed(
    refused: Any, run: Path, name: str, old: str, new: str
) -> None:
    text = (run / name).read_text()
    assert old in text
    (run / name).write_text(text.replace(old, new))
    refused("--resume", run, words=["--resume run", name, " was ", " and is "])


def test_a_program_that_has_changed_cannot_be_resumed(
    refused: Any, train: Any, write_program: Any
) -> None:
    run = train(write_program(), "svi")
    own = run / "model.py"
    own.write_text(own.read_text().replace("/ 16", "/ 8"))
    refused("--resume", run, words=["model.py", "manifest.json"])


def test_a_run_whose_data_have_changed_cannot_be_resumed(
    refused: Any, command: Any, overrides: Any, here: Path
) -> None:
    np.save(here / "mine.npy", np.eye(20, dtype=np.int64))
    assert command("--data", "mine.npy", "--output", "run", *overrides()).status == 0
    np.save(here / "mine.npy", np.eye(20, dtype=np.int64)[::-1])
    refused("--resume", "run", words=["--resume run", "other data"])


def test_a_run_without_its_specification_cannot_be_resumed(refused: Any, run: Path) -> None:
    (run / "model.toml").unlink()
    refused("--resume", run, words=["model.toml"])


@pytest.fixture
def weights(here: Path) -> Path:
    """A file of weights that can be loaded."""
    path = here / "vae.safetensors"
    save(build("vae", "svi", load_data("digits")), path)
    assert load(path).declaration is not None
    return path


def assert_refused(path: Path, words: list[str], attempt: Callable[[Path], object] = load) -> None:
    with pytest.raises(CheckpointError) as error:
        attempt(path)
    sentence = str(error.value)
    assert [word for word in (path.name, *words) if word not in sentence] == []
    assert "\n" not in sentence


@pytest.mark.parametrize("kept", [0.0, 1e-5, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused(weights: Path, kept: float) -> None:
    whole = weights.read_bytes()
    weights.write_bytes(whole[: int(kept * len(whole))])
    assert_refused(weights, ["damaged"])


def test_a_pickle_is_not_taken_for_weights(weights: Path) -> None:
    torch.save(load(weights).state_dict(), weights)
    assert_refused(weights, ["damaged or not a safetensors file"])


def test_weights_that_are_not_there_are_refused(here: Path) -> None:
    assert_refused(here / "none.safetensors", ["no weights"])


def test_weights_of_another_shape_are_refused(weights: Path) -> None:
    other = build("vae", "svi", load_data(np_images()))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    assert_refused(weights, ["has shape", "another"], lambda path: load_weights(other, path))
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def np_images() -> Path:
    np.save("larger.npy", np.zeros((20, 9, 9), dtype=np.uint8))
    return Path("larger.npy")


def test_weights_of_other_parts_are_refused(weights: Path) -> None:
    other = build("mixture", "svi", load_data("digits"))
    assert_refused(weights, ["prior.", "no place", "another"], lambda p: load_weights(other, p))


def test_weights_without_a_declaration_are_loaded_into_their_parts_alone(here: Path) -> None:
    vae, other = (build("vae", inference, load_data("digits")) for inference in ("svi", "beta"))
    vae.declaration = None
    path = here / "parts.safetensors"
    save(vae, path)
    assert_refused(path, ["without the specifications", "load_weights"])
    with torch.no_grad():
        other.decoder.last.bias.fill_(1.0)
    load_weights(other, path)
    assert torch.equal(other.decoder.last.bias, vae.decoder.last.bias)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree["model"].update(prior={"kind": "of the future"}),
        lambda tree: tree.pop("shape"),
        lambda tree: tree.update(shape=None),
    ],
)
def test_a_declaration_of_another_version_is_refused(
    weights: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    whole = weights.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    tree = json.loads(header["__metadata__"]["declaration"])
    change(tree)
    header["__metadata__"]["declaration"] = json.dumps(tree)
    text = json.dumps(header).encode()
    weights.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])
    assert_refused(weights, ["cannot be read by this version"])


def test_the_folder_of_an_unfinished_run_has_no_weights_yet(run: Path) -> None:
    copy = Path(shutil.copytree(run, "copy"))
    (copy / "weights.safetensors").unlink()
    assert_refused(copy, ["no weights", "weights.safetensors"])
