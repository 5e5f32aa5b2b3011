"""A disk without one free byte: nothing is lost, new data is refused, and deletes still go through."""

import shlex
import subprocess
import sys
from pathlib import Path

DEADLINE_S = 240


def test_full_disk_refuses_new_data_and_still_deletes(tmp_path: Path) -> None:
    # A file system of our own in a mount namespace of our own: it goes with the process.
    script = (
        f"mount -t tmpfs -o size=32m,mode=700 none {shlex.quote(str(tmp_path))} && "
        f"exec {shlex.quote(sys.executable)} -m tests.store.full {shlex.quote(str(tmp_path))}"
    )
    ended = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines() == [
        "refused with SpaceError",
        "full after True",
        "deleted one by one",
        "deleted many",
        "deleted everything",
        "takes in again",
    ]
