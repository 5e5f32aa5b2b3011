"""What the resident agent holds in memory of what few ever ask for: nothing, until somebody does."""

import subprocess
import sys
from pathlib import Path

SELDOM = ("agent.bundle.packing", "csv", "zoneinfo", "fractions", "agent.element.tpm", "tpm2_pytss")
"""Packing a zip, its tables, sources whose files are named in another zone, rounding rules that are compared, a TPM."""


def test_agent_that_nobody_asks_loads_nothing_of_what_is_seldom_wanted(tmp_path: Path) -> None:
    code = f"import sys, agent.app.running, agent.cli.running; print(sorted({set(SELDOM)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
