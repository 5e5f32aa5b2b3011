"""The short form of the real power cuts, which is part of ``make test``: some dozen on ext4 and on XFS."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 900


@pytest.mark.parametrize(("kind", "points"), [("ext4", 18), ("xfs", 9)])
def test_power_cut_beneath_a_real_file_system_loses_nothing_and_finds_what_was_not_synced(
    kind: str, points: int
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--json", "--real", kind, "--points", str(points)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ran.stdout, ran.stderr
    told = json.loads(ran.stdout)
    again = f"make torture REAL={kind} POINTS={points} SEED={told['seed']}"
    assert told["wrong"] == [], f"repeat with: {again}"
    assert ran.returncode == 0, ran.stderr
    fired = {row["way"]: 0 for row in told["rows"]}
    for row in told["rows"]:
        assert row["fired"] == row["tried"], row
        fired[row["way"]] += row["fired"]
    assert fired[f"power cut {kind}"] == points
    assert fired[f"cut again {kind}"] > 0
    assert len(told["bugs"]) == 2
    assert all(told["bugs"].values())
