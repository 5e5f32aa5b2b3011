"""The peers: Debian's age, pyrage, and npm's age-encryption under the Node that a Python package carries.

A peer that is missing fails its tests: agreeing with others is the point, so nothing is skipped.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DebianAge = Callable[..., bytes]
NodePeer = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def node_peer(
    run_node: "Callable[..., subprocess.CompletedProcess[str]]", tmp_path_factory: pytest.TempPathFactory
) -> NodePeer:
    """Run jobs in npm's age-encryption; see tests/node/age-peer.mjs."""
    folder = tmp_path_factory.mktemp("node")

    def run(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        job_file = folder / "jobs.json"
        job_file.write_text(json.dumps(jobs, default=str))
        done = run_node("age-peer.mjs", job_file)
        assert done.returncode == 0, done.stderr
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    return run


@pytest.fixture(scope="session")
def debian_age() -> DebianAge:
    """Run the age of the system with bytes on stdin; return its stdout."""
    program = shutil.which("age")
    assert program, "age is missing: sudo apt-get install age"

    def run(*arguments: str | Path, stdin: bytes) -> bytes:
        done = subprocess.run([program, *arguments], input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run
