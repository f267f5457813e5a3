"""A study is checked, key by key, before anything is trained."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from pyrovae import sweep, train
from pyrovae.errors import SpecError
from pyrovae.runs.options import SweepOptions
from pyrovae.runs.study import Study

STUDY = """\
model = "vae"
trials = 3
[settings]
inference.epochs = 2
model.decoder.widths = [16]
[search]
inference.optimiser.learning_rate = {low = 1e-4, high = 1e-2, log = true}
model.latent_dim = {low = 2, high = 8}
inference.beta.value = {low = 1, high = 4}
model.prior.kind = {choices = ["normal", "vamp"]}
model.decoder.activation = {choices = ["relu", "silu"]}
"""
# What is replaced, by what, and what is said of it.
MISTAKES = {
    ("learning_rate", "learning_rat"): ("line 7", "did you mean 'learning_rate'?"),
    ("model.latent_dim", "model.latent"): ("line 8: model.latent:", "no key 'latent'"),
    ("model.latent_dim", "latent_dim"): ("line 8", "starts with 'model.'"),
    ("high = 8", "high = 8.5"): ("line 8: model.latent_dim", "8.5: must be a valid integer"),
    ("low = 2", "low = 0"): ("line 8: model.latent_dim", "0: must be greater than 0"),
    ("low = 2", "low = 20"): ("line 8: model.latent_dim", "20 is not below high = 8"),
    ("low = 2", "lo = 2"): ("line 8: model.latent_dim", "did you mean 'low'?"),
    ("low = 2, ", ""): ("line 8: model.latent_dim", "give low and high"),
    ("{low = 2, high = 8}", "4"): ("line 8: model.latent_dim", "one value"),
    ("low = 1e-4", "low = 0"): ("line 7", "log = true needs low above 0"),
    ('"vamp"]', '"vapm"]'): ("line 10: model.prior.kind", "did you mean 'vamp'?"),
    ('"normal", ', '"normal", 3, '): ("line 10: model.prior.kind", "3"),
    ('["normal", "vamp"]', "[]"): ("line 10: model.prior.kind", "at least 1"),
    ('"silu"', '"sliu"'): ("line 11", "did you mean 'silu'?"),
    ("epochs = 2", "epochs = 2.5"): ("line 4: inference.epochs", "must be a valid integer"),
    ("epochs = 2", "epochs = 2\nmodel.latent_dim = 2"): ("line 9", "a value in [settings]"),
    ("trials = 3", "trails = 3"): ("line 2", "did you mean 'trials'?"),
    ("trials = 3", "trials = 0"): ("line 2", "must be greater than 0"),
    ("trials = 3", 'objective = "ELBO"'): ("line 2", "choose one of: validation ELBO"),
    ("trials = 3", 'split = {grop = "a"}'): ("study.toml", "did you mean 'group'?"),
    ("trials = 3", "trials = "): ("study.toml", "not a TOML file"),
    ('"vae"', '"vea"'): ("study.toml: no file", "did you mean 'vae'?"),
    (STUDY.partition("[search]")[2], ""): ("line 6: search", "at least 1"),
}


def study(text: str) -> Study:
    """The study of a text."""
    Path("study.toml").write_text(text, encoding="utf-8")
    return Study.read(SweepOptions(study=Path("study.toml")))


def test_a_mistake_is_refused_with_its_line_before_anything_is_trained(
    refused_by: Any, command_of: Any
) -> None:
    refused = refused_by(command_of(sweep.main))
    for (old, new), words in MISTAKES.items():
        assert old in STUDY
        Path("study.toml").write_text(STUDY.replace(old, new, 1), encoding="utf-8")
        refused("study.toml", words=words)
    refused("nothing.toml", words=("there is no file 'nothing.toml'",))


def test_keys_may_be_written_in_each_way_that_toml_has() -> None:
    tables = STUDY.replace("inference.epochs = 2", '"inference.epochs" = 2').replace(
        "model.decoder.widths = [16]", "[settings.model.decoder]\nwidths = [16]"
    )
    assert study(tables).spec == study(STUDY).spec
    only_tables = "[search.model]\nlatent_dim = {low = 2, high = 8}\n"
    assert study(only_tables).usual == {"model.latent_dim": 2}


def test_a_range_is_of_whole_numbers_where_its_key_is() -> None:
    found = study(STUDY)
    assert {key for key in found.spec.search if found.is_whole(key)} == {"model.latent_dim"}


def test_a_key_of_one_kind_cannot_be_searched_among_others() -> None:
    wrong = STUDY + "model.prior.pseudo_inputs = {low = 10, high = 50}\n"
    with pytest.raises(SpecError, match=r"line 12: .*pseudo_inputs"):
        study(wrong)
    right = wrong.replace('["normal", "vamp"]', '["vamp"]')
    assert study(right).is_whole("model.prior.pseudo_inputs")


def test_the_line_of_a_trial_is_read_as_its_run(here: Path) -> None:
    file = here / "my model.toml"
    file.write_text('[prior]\nkind = "normal"\n', encoding="utf-8")
    text = STUDY.replace('"vae"', f'"{file}"\nsplit = {{fractions = [0.6, 0.2, 0.2]}}')
    found = study(text.replace("trials = 3", 'inference = "svi"\nprecision = "bf16"'))
    for values in found._extremes():
        words = found.command(values).removeprefix("python -m pyrovae.train ")
        given = vars(train.parser().parse_args(shlex.split(words)))
        assert train.request(given) == found.request(values)


def test_the_study_of_the_page_is_one_and_so_is_that_of_the_help() -> None:
    page = (Path(__file__).parents[2] / "docs/scale.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert study(shown).spec.prune
    assert study(sweep.EPILOG.partition("\n")[2]).spec.prune
