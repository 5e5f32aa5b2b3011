"""Every row of the benchmark runs and prints; how fast is not asked here."""

import json
import os
import subprocess
import sys

import pytest

from tests.bench.document import document
from tests.bench.table import Figure, Peer, plain

LIMIT_S = 1800
"""Far above what it takes alone, some two minutes: machines that are busy with other tests are slower."""


@pytest.mark.long
def test_every_part_of_the_benchmark_runs_and_prints() -> None:
    # Nobody but root, be it in name, may look into a process that is hardened.
    in_name = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
    done = subprocess.run(
        [*in_name, sys.executable, "-m", "tests.bench", "--quick", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {one["part"] for one in told["figures"]} == {
        "encrypt",
        "spool to storage receipt",
        "at rest",
        "command to receipt",
        "many small files",
        "finding cameras",
        "cameras over Bluetooth",
        "enrolled cameras",
        "ten cameras",
        "sealing at the limit",
        "scale",
    }
    assert all(one["value"] >= 0 for one in told["figures"])


def test_figure_that_misses_its_target_is_shown_as_missed() -> None:
    figure = Figure(
        part="encrypt", what="1 GiB", value=2, unit="MB/s", target="≥ 4", holds=False, peers=(Peer("age", 4),)
    )
    assert "0.50 x" in plain([figure])
    assert "no" in plain([figure]).splitlines()[1].split()
    assert "- encrypt, 1 GiB: target ≥ 4" in document({"date": "today"}, [figure])
