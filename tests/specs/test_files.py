"""Specifications are read, overridden and written without loss, and without torch."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import pyrovae
from pyrovae.errors import SpecError
from pyrovae.runs.request import RunSpec
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.base import Spec
from pyrovae.specs.files import (
    described,
    find,
    keys_named,
    parse_override,
    read,
    shelf,
    shipped,
)
from pyrovae.specs.own import OwnSpec
from pyrovae.specs.resolve import resolve_inference, resolve_model

SPECS: dict[str, type[Spec]] = {"models": ModelSpec, "inference": InferenceSpec}
SHIPPED = [
    (folder, name)
    for folder in SPECS
    for name in shipped(folder)
    if find(name, folder).suffix == ".toml"
]


def kinds(spec: type[Spec], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and kind for every member of every union, at any depth."""
    for name, field in spec.model_fields.items():
        for member in members(field.annotation):
            if "kind" in member.model_fields:
                yield f"{prefix}{name}.kind", member.model_fields["kind"].default
            yield from kinds(member, f"{prefix}{name}.")


def members(annotation: Any) -> list[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [] if issubclass(annotation, OwnSpec) else [annotation]
    return [member for part in get_args(annotation) for member in members(part)]


KINDS = [(spec, *pair) for spec in SPECS.values() for pair in dict.fromkeys(kinds(spec))]
REQUIRED = {"multi_step": {"learning_rate_schedule.milestones": [2, 3]}}
UNUSUAL = {
    ModelSpec: {"latent_dim": 3, "binarisation": "static", "decoder.widths": [5, 4]},
    InferenceSpec: {
        "clip_norm": 0.5,
        "early_stopping.patience": 3,
        "optimiser.betas": [0.8, 0.95],
        "seed": 7,
    },
}


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    file = tmp_path / "empty.toml"
    file.touch()
    return file


def resolved(spec: Spec) -> Spec:
    if isinstance(spec, ModelSpec):
        return resolve_model(spec, 16.0, lambda: 300.0)
    return resolve_inference(InferenceSpec.model_validate(spec), ModelSpec())


def assert_survives(spec: Spec, tmp_path: Path) -> None:
    """Written as TOML and read back, it is the same specification."""
    file = tmp_path / "written.toml"
    file.write_text(spec.to_toml(), encoding="utf-8")
    assert read(file, type(spec)) == spec


@pytest.mark.parametrize(("folder", "name"), SHIPPED)
def test_every_shipped_file_survives_being_resolved_written_and_read(
    folder: str, name: str, tmp_path: Path
) -> None:
    assert_survives(resolved(read(find(name, folder), SPECS[folder])), tmp_path)


@pytest.mark.parametrize(("spec", "key", "kind"), KINDS)
def test_every_kind_survives_being_resolved_written_and_read(
    spec: type[Spec], key: str, kind: str, empty: Path, tmp_path: Path
) -> None:
    chosen = read(empty, spec, {**UNUSUAL[spec], **REQUIRED.get(kind, {}), key: kind})
    assert kind in str(chosen)
    assert_survives(chosen, tmp_path)
    assert_survives(resolved(chosen), tmp_path)


@pytest.mark.parametrize("spec", SPECS.values())
def test_unusual_values_are_read_as_they_are_set(spec: type[Spec], empty: Path) -> None:
    tree = read(empty, spec, UNUSUAL[spec]).model_dump(mode="json")
    for key, value in UNUSUAL[spec].items():
        place: Any = tree
        for part in key.split("."):
            place = place[part]
        assert place == value


def test_an_empty_file_stands_for_the_defaults(empty: Path) -> None:
    assert read(empty, ModelSpec) == ModelSpec()
    assert read(empty, InferenceSpec) == InferenceSpec()


def test_both_shelves_hold_specifications() -> None:
    assert {"vae", "handwritten"} <= set(shipped("models"))
    assert "svi" in shipped("inference")
    assert shelf("models").is_dir()


def test_every_shipped_file_says_what_it_is() -> None:
    silent = [
        file.name
        for folder in SPECS
        for file in shelf(folder).glob("*.toml")
        if not file.read_text(encoding="utf-8").startswith("# ")
    ]
    assert silent == []


def test_a_new_kind_clears_the_old_kinds_keys() -> None:
    vamp = find("vamp", "models")
    assert read(vamp, ModelSpec, {"prior.kind": "mixture"}).prior.components == 10


def test_a_kind_that_is_already_there_clears_nothing(tmp_path: Path) -> None:
    file = tmp_path / "model.toml"
    file.write_text('[prior]\nkind = "vamp"\npseudo_inputs = 7\n')
    assert read(file, ModelSpec, {"prior.kind": "vamp"}).prior.pseudo_inputs == 7


def test_an_override_leaves_its_neighbours_alone() -> None:
    before = read(find("beta", "inference"), InferenceSpec)
    after = read(find("beta", "inference"), InferenceSpec, {"beta.value": 2.0})
    assert after.beta.model_dump() == {**before.beta.model_dump(), "value": 2.0}
    assert after.model_copy(update={"beta": before.beta}) == before


def test_a_files_other_kind_takes_none_of_the_default_kinds_keys(tmp_path: Path) -> None:
    file = tmp_path / "inference.toml"
    file.write_text('[learning_rate_schedule]\nkind = "cosine"\n[beta]\nkind = "cyclical"\n')
    spec = read(file, InferenceSpec)
    assert (spec.beta.cycles, spec.learning_rate_schedule.final) == (4, 0.0)


def test_the_order_of_overrides_does_not_matter() -> None:
    overrides = {
        "model.prior.pseudo_inputs": 7,
        "model.prior.kind": "vamp",
        "inference.guide.encoder.widths": [5],
        "inference.guide.encoder.kind": "mlp",
        "inference.guide.kind": "full_rank",
    }
    asked = [
        RunSpec.read(overrides=dict(order)) for order in itertools.permutations(overrides.items())
    ]
    assert isinstance(asked[0].model, ModelSpec)
    assert asked[0].model.prior.model_dump() == {"kind": "vamp", "pseudo_inputs": 7}
    assert asked[0].inference.guide.model_dump()["encoder"]["widths"] == (5,)
    assert all(one == asked[0] for one in asked)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("2e-3", 0.002),
        ("[16, 8]", [16, 8]),
        ("true", True),
        ("vamp", "vamp"),
        ('"vamp"', "vamp"),
        ("a=b", "a=b"),
        ('{kind = "vamp", pseudo_inputs = 3}', {"kind": "vamp", "pseudo_inputs": 3}),
        ("", ""),
    ],
)
def test_a_value_is_toml_where_it_can_be_and_else_a_word(text: str, value: Any) -> None:
    assert parse_override(f"model.some.key={text}") == ("model.some.key", value)


def test_a_specification_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ModelSpec().latent_dim = 3  # type: ignore[misc]


def test_what_is_not_shipped_names_the_nearest_that_is() -> None:
    with pytest.raises(SpecError, match=r"'vea' is shipped in models/; did you mean 'vae'\?"):
        find("vea", "models")


def test_every_public_name_resolves() -> None:
    homes = {name: getattr(pyrovae, name).__module__.partition(".")[0] for name in pyrovae.__all__}
    assert homes == dict.fromkeys(pyrovae.__all__, "pyrovae")
    with pytest.raises(AttributeError, match="no attribute 'VEA'"):
        pyrovae.VEA  # noqa: B018


LIGHT = """
import sys, {modules}
print(*sorted({{"torch", "pyro", "numpy"}} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "modules",
    ["pyrovae", "pyrovae.specs, pyrovae.runs.request, pyrovae.train, pyrovae.specs.resolve"],
)
def test_specifications_are_read_without_torch(modules: str) -> None:
    checkout = str(Path(pyrovae.__file__).parents[1])
    loaded = subprocess.run(
        [sys.executable, "-c", LIGHT.format(modules=modules)],
        env={**os.environ, "PYTHONPATH": checkout},
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.split() == []


def test_a_misspelt_key_is_answered_without_torch(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pyrovae.train import main\n"
        "status = main(['--set', 'model.latent_dims=3'])\n"
        "print(status, 'torch' in sys.modules)"
    )
    checkout = str(Path(pyrovae.__file__).parents[1])
    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": checkout},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "2 False\n"
    assert "did you mean 'latent_dim'?" in answer.stderr


@pytest.mark.parametrize("folder", ["models", "inference"])
def test_the_help_says_what_each_shipped_file_is(folder: str) -> None:
    found = described(folder)
    assert list(found) == shipped(folder)
    for name, said in found.items():
        assert re.fullmatch(r"[A-Zβm][^#\n]{3,}[^.,:;]", said), name


def test_options_that_are_keys_are_found() -> None:
    assert keys_named("epochs") == ["inference.epochs"]
    assert keys_named("latent-dim") == ["model.latent_dim"]
    assert keys_named("colour") == []
