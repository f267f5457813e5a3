"""What is written to a run's folder can be read by whoever reads such files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pyrovae.runs.atomic_files import write_json


def test_what_json_has_no_number_for_is_null(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    numbers = [math.inf, -math.inf, math.nan, 1e300]
    write_json(path, {"row": numbers, "below": {"k": math.inf}, "pair": (0.5, math.nan)})
    read = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert read == {"row": [None, None, None, 1e300], "below": {"k": None}, "pair": [0.5, None]}
