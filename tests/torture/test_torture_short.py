"""The short form of ``make torture``, which is part of ``make test``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.lives import LIVES

ROOT = Path(__file__).parents[2]
LIMIT_S = 1800
"""Far above what it takes (``seconds`` in its answer): machines that are busy with other tests are slower."""


@pytest.mark.long
def test_killed_cut_or_full_at_any_call_nothing_acknowledged_is_lost_and_seeded_mistakes_are_found() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ran.stdout, ran.stderr
    told = json.loads(ran.stdout)
    assert told["wrong"] == [], f"repeat with: make torture SEED={told['seed']}"
    assert ran.returncode == 0, ran.stderr
    assert sum(row["fired"] for row in told["rows"]) == sum(row["tried"] for row in told["rows"]) > 0
    assert len(told["bugs"]) >= 28
    assert {row["scenario"] for row in told["rows"]} >= LIVES.keys()
    assert all(told["bugs"].values())
