"""The sealing process, forked from a process that has its code in memory instead of started from nothing.

The same program serves the same socket; only the start of an interpreter is saved, which costs more than everything
else that a short life does. What hardens the real one against other processes (no dump, no tracing) is left out,
because the parent of a tormented process has to see which file a descriptor means.

A fork of a process that has threads may come out with a lock that one of them held, and then stands still. So a process
that will need sealers forks one before it has any thread, and that one, which never gets any, forks them.
"""

import os
import signal
import socket
import subprocess
import types
from collections.abc import Sequence
from functools import partial
from typing import Final

from agent import child
from agent.sealer.__main__ import serve

_DESCRIPTORS_MAX: Final = 1024
_PID_BYTES: Final = 4


class _Forked:
    """What a child of the agent needs of ``subprocess.Popen``."""

    def __init__(self, mother: socket.socket, words: Sequence[str], *, pass_fds: Sequence[int], **_: object) -> None:
        if "agent.sealer" not in words:
            raise NotImplementedError(f"only the sealing process is forked here, not {words}")
        socket.send_fds(mother, [b"1"], list(pass_fds))
        self.pid = int.from_bytes(mother.recv(_PID_BYTES))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        return 0  # it is over when this is called, and another's child


def fork_sealers() -> socket.socket:
    """Fork every sealing process of this one from now on; it has no thread yet, and its mistakes are theirs too.

    Who forks them ends when what is returned is closed.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        try:
            _keep_only(theirs)
            _bear(theirs)
        finally:
            os._exit(0)
    theirs.close()
    instead = types.SimpleNamespace(Popen=partial(_Forked, ours), DEVNULL=subprocess.DEVNULL)  # as much as is used
    setattr(child, "subprocess", instead)  # noqa: B010 - a module's own import is replaced
    return ours


def _bear(asked: socket.socket) -> None:
    """Fork one for each socket that comes, until whoever asks is gone."""
    children: list[int] = []
    while True:
        raw, descriptors, _, _ = socket.recv_fds(asked, 1, 1)
        if not raw:
            return
        children = [pid for pid in children if os.waitpid(pid, os.WNOHANG) == (0, 0)]
        channel = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if pid == 0:
            _keep_only(channel)
            serve(channel)
            return
        channel.close()
        children.append(pid)
        asked.send(pid.to_bytes(_PID_BYTES))


def _keep_only(channel: socket.socket) -> None:
    os.closerange(3, channel.fileno())
    os.closerange(channel.fileno() + 1, _DESCRIPTORS_MAX)
