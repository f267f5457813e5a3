"""Each mistake yields one sentence: where, which key, the value, and what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyrovae.errors import SpecError
from pyrovae.parts.distributions import positive
from pyrovae.runs.request import RunSpec
from pyrovae.specs import InferenceSpec, ModelSpec, likelihoods
from pyrovae.specs.base import Spec
from pyrovae.specs.files import parse_override, read

FILE = "mine.toml"
IN_MODEL: dict[str, tuple[str, list[str]]] = {
    "key": ("latent_dims = 3", ["'latent_dims'", "'latent_dim'?"]),
    "far key": ("zebra = 3", ["'zebra'", "choose one of: latent_dim, binarisation, prior"]),
    "key of a kind": (
        '[prior]\nkind = "vamp"\npseudo_input = 3',
        ["prior.vamp has no key 'pseudo_input'", "'pseudo_inputs'?"],
    ),
    "key of another kind": (
        "[prior]\ncomponents = 3",
        ["prior.normal has no key 'components'", "choose one of: kind"],
    ),
    "kind": ('[prior]\nkind = "vapm"', ["no prior of kind 'vapm'", "'vamp'?"]),
    "far kind": ('[prior]\nkind = "zzz"', ["'zzz'", "choose one of: normal, laplace"]),
    "kind that is no word": (
        "[prior]\nkind = 3",
        ["no prior of kind '3'", "normal, laplace"],
    ),
    "kind for encoders only": ('[decoder]\nkind = "mirror"', ["decoder", "'mirror'", "mlp, conv"]),
    "word for a number": ('latent_dim = "x"', ["latent_dim = 'x'", "integer"]),
    "fraction": ("latent_dim = 2.5", ["latent_dim = 2.5", "integer"]),
    "truth for a number": ("latent_dim = true", ["latent_dim = True", "integer"]),
    "zero": ("latent_dim = 0", ["latent_dim = 0", "greater than 0"]),
    "nan": ('[likelihood]\nkind = "normal"\nscale = nan', ["likelihood.scale = nan", "finite"]),
    "choice": ('binarisation = "dynamc"', ["binarisation = 'dynamc'", "'dynamic'?"]),
    "choice in a table": ('[decoder]\nactivation = "rleu"', ["decoder.activation", "'relu'?"]),
    "number or word": (
        "[likelihood]\nkind = 'binomial'\ntotal_count = 0",
        ["likelihood.total_count = 0", "0", "data"],
    ),
    "word or number": (
        '[likelihood]\nkind = "binomial"\ntotal_count = "dat"',
        ["likelihood.total_count = 'dat'", "'data'"],
    ),
    "no items": ('[decoder]\nkind = "conv"\nwidths = []', ["decoder.widths = []", "at least 1"]),
    "item": ("[decoder]\nwidths = [16, 0]", ["decoder.widths.1 = 0", "greater than 0"]),
    "only item": ("[decoder]\nwidths = [0]", ["decoder.widths.0 = 0", "greater than 0"]),
    "no list": ("[decoder]\nwidths = 16", ["decoder.widths = 16", "must be a list"]),
    "a list for a number or a word": (
        "[likelihood]\nkind = 'binomial'\ntotal_count = [16]",
        ["likelihood.total_count = [16]: must be a valid integer; or", "data"],
    ),
    "a table for a number or a word": (
        "[likelihood]\nkind = 'binomial'\ntotal_count = {a = 1}",
        ["likelihood.total_count = {'a': 1}: must be a valid integer; or", "data"],
    ),
    "a scale that is none": (
        "[likelihood]\nkind = 'normal'\nscale = 1e-6",
        ["likelihood.scale = 1e-06", "greater than 0.00001"],
    ),
    "more than can be built": ("latent_dim = 1000000000000", ["latent_dim", "100000"]),
    "more than is quickly built": ("latent_dim = 100001", ["less than or equal to 100000"]),
    "more than can be counted": (f"latent_dim = {10**400}", ["latent_dim = 1000", "...0000"]),
    "more digits than are read": (f"latent_dim = {'9' * 5000}", ["too many digits"]),
    "a long word": (f"latent_dim = '{'x' * 100_000}'", ["latent_dim = 'xxx", "...xxx"]),
    "a long key": (f"{'x' * 100_000} = 1", ["no key 'xxx", "...xxx"]),
    "lists within lists": (f"latent_dim = {'[' * 20_000}", ["within each other without end"]),
    "many layers": (f"[decoder]\nwidths = {[1] * 5000}", ["decoder.widths", "at most 100 items"]),
    "hardly a freedom": (
        "[prior]\nkind = 'student_t'\ndf = 1e-300",
        ["prior.df = 1e-300", "0.001"],
    ),
    "no table": ('prior = "vamp"', ["prior = 'vamp'", "[prior]"]),
    "list of tables": ('[[prior]]\nkind = "vamp"', ["prior = ", "[prior]"]),
    "no TOML": ("latent_dim =", ["not a TOML file"]),
    "twice": ("latent_dim = 2\nlatent_dim = 3", ["not a TOML file", "overwrite"]),
}
IN_INFERENCE: dict[str, tuple[str, list[str]]] = {
    "missing": ('[learning_rate_schedule]\nkind = "multi_step"', ["milestones is missing"]),
    "below range": ("seed = -1", ["seed = -1", "greater than or equal to 0"]),
    "above range": (f"seed = {2**32}", [f"seed = {2**32}", f"less than {2**32}"]),
    "negative": ("[beta]\nvalue = -1.0", ["beta.value = -1.0", "greater than or equal to 0"]),
    "infinite": ("[beta]\nvalue = inf", ["beta.value = inf", "finite"]),
    "rate": ("[optimiser]\nlearning_rate = 0", ["optimiser.learning_rate = 0", "than 0"]),
    "half a pair": ("[optimiser]\nbetas = [0.9]", ["optimiser.betas = [0.9]", "too few"]),
    "no pair": ("[optimiser]\nbetas = []", ["optimiser.betas = []", "too few"]),
    "one wrong one of a pair": ("[optimiser]\nbetas = [2]", ["optimiser.betas.0 = 2", "less"]),
    "more than a pair": ("[optimiser]\nbetas = [0.9, 0.9, 0.9]", ["at most 2 items, not 3"]),
    "pair": ("[optimiser]\nbetas = [0.9, 1.0]", ["optimiser.betas.1 = 1.0", "less than 1"]),
    "optional kind": ("[resampling]\nalpha = 0.1", ["resampling.kind is missing", "kernel"]),
    "optional kind's key": ("[resampling]\nkind = 'kernel'\nbins = 3", ["no key 'bins'"]),
    "a loss that is no sum": (
        "[resampling]\nkind = 'kernel'\nimportance_weights = true\n[objective]\nkind = 'tc'",
        [
            "inference.resampling.importance_weights",
            "'tc'",
            "'elbo', 'enumerated', 'iwae' or 'renyi'",
        ],
    ),
    "optional table": ("early_stopping = 3", ["early_stopping = 3", "[early_stopping]"]),
    "key of an optional table": (
        "[early_stopping]\npatince = 3",
        ["early_stopping has no key 'patince'", "'patience'?"],
    ),
    "nested kind": (
        '[guide.encoder]\nkind = "mlq"',
        ["no guide.encoder of kind 'mlq'", "'mlp'?"],
    ),
    "nested key": (
        '[guide.encoder]\nkind = "mlp"\nwidts = [3]',
        ["guide.diagonal.encoder.mlp has no key 'widts'", "'widths'?"],
    ),
    "nested no table": ('[guide]\nencoder = "mlp"', ["guide.encoder = 'mlp'", "[guide.encoder]"]),
}
OVERRIDES: dict[str, tuple[list[str], list[str]]] = {
    "key": (["model.latent_dims=3"], ["--set model.latent_dims", "'latent_dim'?"]),
    "kind": (["model.prior.kind=vapm"], ["--set model.prior.kind", "'vapm'", "'vamp'?"]),
    "value": (["inference.epochs=abc"], ["--set inference.epochs", "'abc'", "integer"]),
    "key beside a good kind": (
        ["model.prior.kind=vamp", "model.prior.pseudo_input=3"],
        ["--set model.prior.pseudo_input:", "'pseudo_inputs'?"],
    ),
    "value beside a good kind": (
        ["model.prior.kind=vamp", "model.prior.pseudo_inputs=0"],
        ["--set model.prior.pseudo_inputs:", "prior.pseudo_inputs = 0"],
    ),
    "missing for a kind": (
        ["inference.learning_rate_schedule.kind=multi_step"],
        ["--set inference.learning_rate_schedule.kind:", "milestones is missing"],
    ),
    "below a value": (["model.latent_dim.x=3"], ["--set model.latent_dim.x", "'latent_dim'"]),
    "no kind": (["model.prior={components = 3}"], ["--set model.prior", "kind"]),
    "no equals sign": (["model.latent_dim"], ["--set model.latent_dim", "KEY=VALUE"]),
    "no section": (["latent_dim=3"], ["--set latent_dim=3", "'model.'", "'inference.'"]),
    "long": (["x" * 10_000], ["--set xxx", "...xxx", "KEY=VALUE"]),
    "many parts": ([f"model{'.a' * 1000}=1"], ["--set model.a", "so many parts"]),
    "no key": (["model.=3"], ["--set model.", "''"]),
}


def mistakes(tmp_path: Path, text: str, spec: type[Spec]) -> list[str]:
    """The sentences for a file with mistakes."""
    file = tmp_path / FILE
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as error:
        read(file, spec)
    return str(error.value).splitlines()


def assert_says(sentences: list[str], words: list[str]) -> None:
    assert len(sentences) == 1, sentences
    assert len(sentences[0]) < 400  # with a long path
    missing = [word for word in words if word not in sentences[0]]
    assert missing == [], sentences[0]


@pytest.mark.parametrize(("text", "words"), IN_MODEL.values(), ids=IN_MODEL.keys())
def test_a_mistake_in_a_models_file_is_said_in_one_sentence(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    assert_says(mistakes(tmp_path, text, ModelSpec), [FILE, *words])


@pytest.mark.parametrize(("text", "words"), IN_INFERENCE.values(), ids=IN_INFERENCE.keys())
def test_a_mistake_in_an_inference_file_is_said_in_one_sentence(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    assert_says(mistakes(tmp_path, text, InferenceSpec), [FILE, *words])


@pytest.mark.parametrize(("settings", "words"), OVERRIDES.values(), ids=OVERRIDES.keys())
def test_a_mistake_after_set_is_blamed_on_that_set(settings: list[str], words: list[str]) -> None:
    with pytest.raises(SpecError) as error:
        RunSpec.read(overrides=dict(parse_override(setting) for setting in settings))
    assert_says(str(error.value).splitlines(), words)


def test_a_mistake_in_the_file_is_not_blamed_on_a_set(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text('latent_dim = 0\n[prior]\nkind = "vamp"\npseudo_inputs = 0\n')
    overrides: dict[str, Any] = {"decoder.widths": [3]}
    with pytest.raises(SpecError) as error:
        read(file, ModelSpec, overrides)
    sentences = str(error.value).splitlines()
    assert [sentence.partition(": ")[0] for sentence in sentences] == [str(file)] * 2


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    text = 'latent_dim = 0\nfoo = 3\n[prior]\nkind = "no"\n[decoder]\nwidth = 3\n'
    sentences = mistakes(tmp_path, text, ModelSpec)
    assert len(sentences) == 4
    for sentence, word in zip(sorted(sentences), ["decoder", "latent_dim", "no prior", "foo"],
                              strict=True):  # fmt: skip
        assert FILE in sentence
        assert word in sentence


def test_a_file_that_is_no_text_is_said_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not a TOML file") as error:
        read(file, ModelSpec)
    assert "\n" not in str(error.value)


def test_of_very_many_mistakes_the_first_are_said(tmp_path: Path) -> None:
    text = "\n".join(f"key{number} = 1" for number in range(20_000))
    sentences = mistakes(tmp_path, text, ModelSpec)
    named = [f"no key 'key{number}'" in said for number, said in enumerate(sentences)]
    assert named == [True] * 10


def test_the_smallest_scale_of_a_specification_is_that_of_the_densities() -> None:
    assert likelihoods.SCALE_FLOOR == positive.SCALE_FLOOR
