"""``run.json``: what is written is read, and what a newer version wrote is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyrovae.errors import CheckpointError
from pyrovae.runs.facts import DataFacts, RunFacts
from pyrovae.specs.computation import Computation
from pyrovae.version import __version__

FACTS = RunFacts(
    status="running",
    model="vae",
    inference="svi",
    versions={"pyrovae": __version__},
    data=DataFacts(source="digits", root="data", fingerprint="ab", shape=(1, 8, 8), levels=16.0),
    computation=Computation("off", "bf16"),
)


def written(folder: Path, text: str) -> Path:
    (folder / "run.json").write_text(text, encoding="utf-8")
    return folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert RunFacts.read(written(tmp_path, FACTS.to_json())) == FACTS


def test_a_change_leaves_all_other_facts_as_they_are(tmp_path: Path) -> None:
    changed = FACTS.with_changes({"status": "finished", "test": {"elbo": -1.5}})
    found = RunFacts.read(written(tmp_path, changed.to_json()))
    assert found.status == "finished"
    assert found.test == {"elbo": -1.5}
    assert found.with_changes({"status": "running", "test": None}) == FACTS


def test_a_fact_that_this_version_does_not_know_is_kept(tmp_path: Path) -> None:
    content = {**json.loads(FACTS.to_json()), "note": "kept"}
    read = RunFacts.read(written(tmp_path, json.dumps(content)))
    assert json.loads(read.with_changes({"status": "finished"}).to_json())["note"] == "kept"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"versions": {"pyrovae": "1000.0"}}, r"made by pyrovae 1000\.0, and this is"),
        ({"versions": {}}, "does not say which version"),
        ({"status": "asleep"}, r"run\.json is damaged: status"),
        ({"data": {"source": "digits"}}, r"run\.json is damaged: data\.root"),
        ({"data": 3}, r"run\.json is damaged: data"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    content = {**json.loads(FACTS.to_json()), **change}
    with pytest.raises(CheckpointError, match=words):
        RunFacts.read(written(tmp_path, json.dumps(content)))
