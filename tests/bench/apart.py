"""A part of the benchmark in a process that has a network of its own, where it is one of the hosts.

    python -m tests.bench.apart MODULE FOLDER [--quick]

It runs ``measure_here`` of that module and prints the figures as JSON. This process is host 1 and runs the agent; hosts
2 to 4 are namespaces beside it, on one bridge.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.table import Figure, Peer
from tests.netns import PREFIX, PREFIX6, Host, Network

HOSTS = 4


def measured_apart(module: str, folder: Path, *, quick: bool) -> list[Figure]:
    """Return the figures of a module of this folder, measured there; root, be it in name, is needed for the hosts."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", "--net", *as_root, sys.executable, "-m", "tests.bench.apart", module, str(folder)]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run([*command, *(("--quick",) if quick else ())], stdout=said, stderr=errors, check=False)
        said.seek(0)
        errors.seek(0)
        if done.returncode:
            raise RuntimeError(f"{module} was not measured:\n{errors.read()}")
        figures = json.load(said)
    return [
        Figure(**{**told, "peers": tuple(Peer(one["name"], one["value"]) for one in told["peers"])}) for told in figures
    ]


class Here(Host):
    """The namespace of this process."""

    def __init__(self) -> None:
        self.ip("link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        return os.getpid()

    def command(self, *arguments: str | Path) -> list[str]:
        return list(map(str, arguments))


@contextmanager
def hosts() -> Iterator[Sequence[Host]]:
    """Make the network; this process is the first of its hosts."""
    with ExitStack() as stack:
        made = Network(stack)
        here = Here()
        made.plug(here)
        here.add_address(f"{PREFIX}.1/24")
        here.add_address(f"{PREFIX6}1/64")
        yield [here, *(made.host(number=number) for number in range(2, HOSTS + 1))]


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.apart", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("module")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    measure = importlib.import_module(f"tests.bench.{arguments.module}").measure_here
    print(json.dumps([figure.builtins() for figure in measure(arguments.folder, quick=arguments.quick)]))


if __name__ == "__main__":
    main()
