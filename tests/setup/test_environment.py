"""Set-up itself: what `.ci/environment.py` refuses, and that lock files and Makefile say what is so.

That it works on a machine with Python, make and git alone cannot be shown from inside its own result: a fresh
container shows that.
"""

import base64
import importlib.util
import itertools
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-test.lock", "requirements-fuzz.lock", ".ci/lock-tool.lock")
Serve = Callable[[dict[str, bytes]], str]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The bootstrapper as a module, on a machine where pip has no settings."""
    for name in ("PIP_INDEX_URL", "PIP_CERT", "PIP_FIND_LINKS", "PIP_PROXY", "REQUESTS_CA_BUNDLE", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    spec = importlib.util.spec_from_file_location("environment", ROOT / ".ci" / "environment.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "pip_config_files", lambda: [tmp_path / "pip.conf"])
    return module


@pytest.fixture
def asked() -> list[tuple[str, str | None]]:
    """Every request that the index got: path and Authorization."""
    return []


@pytest.fixture
def serve(asked: list[tuple[str, str | None]]) -> Iterator[Serve]:
    """A package index of given pages on this machine; returns its host and port."""
    servers: list[ThreadingHTTPServer] = []

    def start(pages: dict[str, bytes]) -> str:
        class Index(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, self.headers["Authorization"]))
                body = pages.get(self.path)
                self.send_response(404 if body is None else 200)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def index_pages(environment: ModuleType, wheel: bytes) -> dict[str, bytes]:
    name: str = environment.PIP_WHEEL
    page = f'<a href="../files/{name}.metadata">x</a> <a href="../files/{name}#sha256=00">{name}</a>'
    return {"/simple/pip/": page.encode(), f"/simple/files/{name}": wheel}


def test_wheel_comes_from_the_index_that_pip_would_use(
    environment: ModuleType, serve: Serve, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, str | None]]
) -> None:
    wheel = b"the pinned wheel"
    monkeypatch.setattr(environment, "PIP_SHA256", environment.hashlib.sha256(wheel).hexdigest())
    host = serve(index_pages(environment, wheel))
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:p%40ss@{host}/simple")
    assert environment.pip_wheel() == wheel
    assert asked[0] == ("/simple/pip/", "Basic " + base64.b64encode(b"me:p@ss").decode())


def test_wheel_with_another_hash_is_refused(
    environment: ModuleType, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{serve(index_pages(environment, b'evil'))}/simple")
    with pytest.raises(environment.SetupError, match="not the pinned file"):
        environment.pip_wheel()


def test_password_of_an_unreachable_index_is_not_shown(
    environment: ModuleType, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:secret@{serve({})}/simple")
    with pytest.raises(environment.SetupError) as refused:
        environment.pip_wheel()
    assert "404" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_setting_of_pip_comes_from_the_environment_before_its_files(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://global.example/\n[install]\nindex-url = https://install.example/\n"
    )
    assert environment.pip_setting("index-url") == "https://install.example/"
    monkeypatch.setenv("PIP_INDEX_URL", "https://environment.example/")
    assert environment.pip_setting("index-url") == "https://environment.example/"


def test_missing_program_without_root_is_asked_for_in_one_line(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "SYSTEM_PROGRAMS", {"no-such-program": "no-such-package"})
    monkeypatch.setattr(environment.os, "geteuid", lambda: 1000)
    with pytest.raises(environment.SetupError) as refused:
        environment.ensure_packages()
    assert str(refused.value).splitlines()[-1] == (
        "  next: sudo apt-get update && sudo apt-get install -y --no-install-recommends no-such-package"
    )


def test_step_is_done_once_for_one_key_and_again_for_another(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "VENV", tmp_path)
    done: list[str] = []
    for key in ("a", "a", "b"):
        environment.once("x", key, step=lambda key=key: done.append(key))
    assert done == ["a", "b"]


def test_step_that_failed_is_done_again(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "VENV", tmp_path)

    def fail() -> None:
        raise environment.SetupError("weather")

    with pytest.raises(environment.SetupError):
        environment.once("x", "a", step=fail)
    assert environment.once("x", "a", step=lambda: None)


def locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return {m[1]: m[2] for m in re.finditer(r"^([a-z0-9][a-z0-9-]*)==(\S+)", text, re.MULTILINE)}


def plain_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!~;\[]", requirement)[0].lower() for requirement in requirements}


def test_locks_name_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = project["project"]
    extras = declared["optional-dependencies"]
    runtime = plain_names(declared["dependencies"] + extras["sim"] + project["build-system"]["requires"])
    built = plain_names(extras["tpm"])
    everything = runtime | plain_names([one for extra in extras.values() for one in extra]) - built
    assert runtime - {declared["name"]} <= set(locked("requirements.lock")), "run: make lock"
    assert everything - {declared["name"]} <= set(locked("requirements-test.lock")), "run: make lock"
    assert built == set(locked("requirements-tpm.lock")), "run: make lock"
    assert (ROOT / ".ci" / "tpm.in").read_text(encoding="utf-8").splitlines()[1:] == extras["tpm"]


def test_fuzzer_is_locked_for_every_python_and_is_in_no_other_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["dependency-groups"]["fuzz"]
    text = (ROOT / "requirements-fuzz.lock").read_text(encoding="utf-8")
    assert plain_names(wanted) == set(locked("requirements-fuzz.lock")) == {"atheris"}, "run: make lock"
    assert len(re.findall(r"^atheris==", text, re.MULTILINE)) == len(wanted), "run: make lock"
    assert "atheris" not in locked("requirements-test.lock"), "the tests run without it"


def test_test_lock_holds_all_of_the_runtime_lock() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-test.lock").items()


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_hashes_and_names_no_place(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    for line, after in itertools.pairwise(lines):
        assert line.startswith("    --hash=sha256:") or after.startswith("    --hash=sha256:"), line
    assert not [line for line in lines if "://" in line or "/" in line]


def test_make_without_target_lists_every_target() -> None:
    told = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^  ([a-z]+) ", told, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony
    assert listed == set(phony[1].split())


def test_python_that_is_absent_is_said_with_the_next_step() -> None:
    made = subprocess.run(
        ["make", "-s", "demo", "PYTHON=python2.0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 2
    assert "no Python 3.11 or newer among: python2.0" in made.stderr
    assert "next: sudo apt-get install python3" in made.stderr


def test_bootstrapper_needs_the_standard_library_only() -> None:
    """`-I -S` hides everything that was installed."""
    told = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / ".ci/environment.py"), "--help"], capture_output=True, check=False
    )
    assert told.returncode == 0, told.stderr
