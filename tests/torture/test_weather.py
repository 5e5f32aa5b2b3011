"""The short form of disks that are full, lines that fall and clocks that jump, which is part of ``make test``."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_S = 900
ROUNDS = 11


def test_full_disks_falling_lines_and_jumping_clocks_lose_nothing_and_double_nothing() -> None:
    command = ["-m", "tests.torture", "--json", "--weather", "full,line,clock", "--points", str(ROUNDS)]
    ran = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ran.stdout, ran.stderr
    told = json.loads(ran.stdout)
    assert told["wrong"] == [], f"repeat with: make torture WEATHER=full,line,clock POINTS={ROUNDS} SEED={told['seed']}"
    assert ran.returncode == 0, ran.stderr
    assert {row["scenario"]: (row["tried"], row["fired"]) for row in told["rows"]} == dict.fromkeys(
        ("full", "line", "clock"), (ROUNDS, ROUNDS)
    )
