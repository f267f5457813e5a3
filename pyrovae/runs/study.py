"""A study: the runs that a sweep may train, all of which are checked before the first."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrovae.errors import SpecError
from pyrovae.runs.options import SweepOptions
from pyrovae.runs.request import RunSpec
from pyrovae.specs.files import parse_override
from pyrovae.specs.model import ModelSpec
from pyrovae.specs.split import Split
from pyrovae.specs.study import SearchSpec, StudyFile, StudySpec

# Most combinations of kinds that are tried before the first training.
TRIED = 100


@dataclass(frozen=True)
class Study:
    """A study file and the options of the command, from which runs are made.

    Attributes:
        file: The study file.
        options: Options of the command.
        split: The split of one's own, if there is one.
    """

    file: StudyFile
    options: SweepOptions
    split: Split | None

    @classmethod
    def read(cls, options: SweepOptions) -> Study:
        """Read a study file, and check the ends of every range with the specifications.

        Raises:
            SpecError: Names the line, and what is wrong there.
        """
        file = StudyFile.read(options.study)
        try:
            split = None if file.spec.split is None else Split.of(file.spec.split)
        except SpecError as error:
            raise SpecError(f"{file.path}: {error}") from None
        study = cls(file, options, split)
        try:
            for settings in study._extremes():
                study.request(settings)
        except SpecError as error:
            raise file.blamed(error) from None
        return study

    @property
    def spec(self) -> StudySpec:
        """What the study file says."""
        return self.file.spec

    @property
    def folder(self) -> Path:
        """Folder of the sweep."""
        return self.options.output or Path("runs") / self.file.path.stem

    @property
    def usual(self) -> dict[str, Any]:
        """The first value of each range."""
        return {key: search.ends[0] for key, search in self.spec.search.items()}

    def request(self, values: Mapping[str, Any]) -> RunSpec:
        """The run with these values of the keys that are searched.

        Raises:
            SpecError: They are not allowed.
        """
        spec, options = self.spec, self.options
        return RunSpec.read(
            model=spec.model,
            inference=spec.inference,
            overrides={**spec.settings, **values},
            data=spec.data,
            data_root=options.data_root,
            split=self.split,
            device=options.device,
            compile=options.compile,
            precision=spec.precision,
        )

    def command(self, values: Mapping[str, Any], *others: str) -> str:
        """The line that trains this run by itself."""
        spec, options = self.spec, self.options
        words = [spec.model, *([spec.inference] if spec.inference else [])]
        given = {
            "--data": spec.data,
            "--data-root": options.data_root,
            "--precision": spec.precision,
            "--compile": options.compile,
            "--device": None if options.device == "auto" else options.device,
        }
        for option, value in given.items():
            words += [] if value is None else [option, str(value)]
        for key, value in (spec.split or {}).items():
            listed = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words += ["--split", f"{key}={listed}"]
        for key, value in {**spec.settings, **values}.items():
            words += ["--set", _setting(key, value)]
        return f"python -m pyrovae.train {shlex.join([*words, *others])}"

    def is_whole(self, key: str) -> bool:
        """True if a range has whole numbers only: both ends are, and the key takes no others."""
        search = self.spec.search[key]
        if not isinstance(search.low, int) or not isinstance(search.high, int):
            return False
        if key.startswith("program."):  # whose types nobody declares
            return True
        try:
            self.request({**self.usual, key: search.low + (search.high - search.low) / 3.7})
        except SpecError:
            return True
        return False

    def declared(self, fingerprint: str) -> dict[str, str]:
        """All that has to be the same in every process of a sweep, by what it is called.

        Args:
            fingerprint: Fingerprint of the data.
        """
        request = self.request(self.usual)
        model = request.model
        return {
            "study file": json.dumps(self.spec.model_dump(mode="json", exclude={"trials"})),
            "model": model.to_toml() if isinstance(model, ModelSpec) else _text(model.file),
            "inference": request.inference.to_toml(),
            "data": fingerprint,
        }

    def _extremes(self) -> Iterator[dict[str, Any]]:
        """Each end of each range beside the first values of the others, for all kinds."""
        search = self.spec.search
        kinds = {key: each.ends for key, each in search.items() if key.endswith("kind")}
        others: dict[str, SearchSpec] = {k: each for k, each in search.items() if k not in kinds}
        for chosen in itertools.islice(itertools.product(*kinds.values()), TRIED):
            values = {**self.usual, **dict(zip(kinds, chosen, strict=True))}
            yield values
            for key, each in others.items():
                yield from ({**values, key: end} for end in each.ends[1:])


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _setting(key: str, value: Any) -> str:
    """``KEY=VALUE`` of a command line, which is read as the same value.

    Example:
        >>> _setting("model.prior.kind", "vamp"), _setting("model.decoder.widths", [64])
        ('model.prior.kind=vamp', 'model.decoder.widths=[64]')
    """
    plain = f"{key}={value}"
    if isinstance(value, str) and parse_override(plain)[1] == value:
        return plain
    return f"{key}={json.dumps(value, ensure_ascii=False)}"
