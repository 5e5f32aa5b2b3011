"""Hosts of a test's own on a network of its own: a bridge with one network namespace per host, over veth pairs.

Rules: nothing of this machine's network is touched and nothing has a name outside: each namespace is held by a process
that ends with the test's, and the kernel then removes what was in it. For anybody but root a test runs in a process
that is root but in name.

A host ``n`` (1, 2, …) has 10.77.0.n/24, fd77::n/64 and a link-local address on ``lan0``.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tests import loaded
from tests.disk import again_as_root
from tests.loaded import Running
from tests.waiting import until

PREFIX: Final = "10.77.0"
PREFIX6: Final = "fd77::"
SYSTEM_PATH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

_HOLD: Final = "import signal; print('held', flush=True); signal.pause()"


class Host:
    """One network namespace, held by a process of its own."""

    def __init__(self, stack: ExitStack) -> None:
        hold = (_tool("unshare"), "--net", sys.executable, "-I", "-S", "-c", _HOLD)
        self._holder = _begin(hold, stdout=subprocess.PIPE)
        stack.enter_context(_ending(self._holder))
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"held\n", "this machine makes no network namespace for us"
        # A duplicate is looked for for a second or two before an IPv6 address may be used; there are none here.
        dad = " ".join(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad" for scope in ("default", "all"))
        self._run("sh", "-ec", f"ip link set lo up; for file in {dad}; do echo 0 > $file; done")

    @property
    def pid(self) -> int:
        """The process whose namespace it is."""
        return self._holder.pid

    @property
    def namespace(self) -> str:
        """The file of the namespace."""
        return f"/proc/{self.pid}/ns/net"

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the command that runs these there."""
        return [_tool("nsenter"), f"--net={self.namespace}", "--", *map(str, arguments)]

    @contextmanager
    def running(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - Popen's own
    ) -> Iterator[Running]:
        """Start a program there; it is told to end (SIGTERM), then killed, at the end of the context."""
        streams = {"stdout": loaded.PIPE, **options}
        if loaded.is_loaded(arguments, os.environ if env is None else env):
            process = loaded.begin(arguments, env=env, host=self, **streams)
        else:
            process = _begin(self.command(*arguments), env=env, **streams)
        with _ending(process):
            yield process

    def ip(self, *arguments: str) -> None:
        """Change its links and addresses with the program of this name."""
        self._run("ip", *arguments)

    def ip_all(self, *lines: str) -> None:
        """Make several such changes, one after the other, by one process."""
        self._run("ip", "-batch", "-", stdin="\n".join(lines))

    def add_address(self, *addresses: str, link: str = "lan0") -> None:
        """Give a link one more address or several, ``10.0.0.1/24``; an IPv6 one may be used at once."""
        self.ip_all(*(f"address add {one} dev {link}{' nodad' if ':' in one else ''}" for one in addresses))

    def _run(self, *arguments: str, stdin: str = "") -> None:
        env = {**os.environ, "PATH": SYSTEM_PATH}
        subprocess.run(self.command(*arguments), check=True, env=env, input=stdin, text=True)


class Network:
    """A bridge, in a namespace that no host is in, and its hosts."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._switch = Host(stack)
        self._links = 0
        self.hosts: list[Host] = []
        self._switch.ip_all("link add bridge type bridge mcast_snooping 0", "link set bridge up")

    def host(self, *, number: int | None = None) -> Host:
        """Add a host; with ``number`` it gets its link and its addresses at once."""
        host = Host(self._stack)
        self.hosts.append(host)
        if number is not None:
            self.plug(host)
            host.add_address(f"{PREFIX}.{number}/24", f"{PREFIX6}{number}/64")
        return host

    def plug(self, host: Host, *, link: str = "lan0") -> None:
        """Give a host a link to the bridge, up, with no address but its link-local one."""
        self._links += 1
        port = f"port{self._links}"
        self._switch.ip_all(
            f"link add {port} type veth peer name {link} netns /proc/{host.pid}/ns/net",
            f"link set {port} master bridge up",
        )
        host.ip("link", "set", link, "up")
        until(lambda: _has_link_local(host, link), what=f"a link-local address on {link}")


@contextmanager
def network(*, hosts: int) -> Iterator[Network]:
    """Make a network with hosts 1 to ``hosts``; all of it is gone afterwards."""
    with ExitStack() as stack:
        made = Network(stack)
        for number in range(1, hosts + 1):
            made.host(number=number)
        yield made


def on_network(*, hosts: int) -> Callable[[Callable[[Network], None]], Callable[[], None]]:
    """Let a test have a network of its own; on a machine that forbids users namespaces it fails, and wants root."""

    def decorate(test: Callable[[Network], None]) -> Callable[[], None]:
        def run() -> None:
            if os.geteuid() != 0:
                again_as_root(test)
                return
            with network(hosts=hosts) as net:
                test(net)

        run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
        run.__dict__.update(test.__dict__)  # marks that stand beneath
        return run

    return decorate


def _has_link_local(host: Host, link: str) -> bool:
    lines = Path(f"/proc/{host.pid}/net/if_inet6").read_text(encoding="ascii").splitlines()
    return any(line.startswith("fe80") and line.endswith(link) for line in lines)


def _tool(name: str) -> str:
    path = shutil.which(name, path=SYSTEM_PATH)
    assert path is not None, f"{name} is not installed"
    return path


def _begin(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    **streams: Any,  # noqa: ANN401 - Popen's own
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [_tool("setpriv"), "--pdeathsig", "KILL", *command],  # it ends with this process, however that ends
        stdin=subprocess.DEVNULL,
        env=env,
        **streams,
    )


@contextmanager
def _ending(process: Running) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
