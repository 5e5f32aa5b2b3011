"""The sealing process, forked from a process that has its code in memory instead of started from nothing.

The same program serves the same socket; only the start of an interpreter is saved, which costs more than everything
else that a short life does. What hardens the real one against other processes (no dump, no tracing) is left out,
because the parent of a tormented process has to see which file a descriptor means.
"""

import os
import signal
import socket
import subprocess
import types
from collections.abc import Sequence
from typing import Final

from agent.sealer import client
from agent.sealer.__main__ import serve

_DESCRIPTORS_MAX: Final = 1024


class _Forked:
    """What the client needs of ``subprocess.Popen``."""

    def __init__(self, _words: Sequence[str], *, pass_fds: Sequence[int], **_other: object) -> None:
        (fd,) = pass_fds
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.closerange(3, fd)
                os.closerange(fd + 1, _DESCRIPTORS_MAX)
                serve(socket.socket(fileno=fd))
            finally:
                os._exit(0)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        return os.waitpid(self.pid, 0)[1]


def start_sealers() -> None:
    """From now on every sealing process is started the ordinary way again.

    A fork of a process that has threads comes out, now and then, with a lock that one of them held, and stands still.
    """
    setattr(client, "subprocess", subprocess)  # noqa: B010 - a module's own import is put back


def fork_sealers() -> None:
    """From now on every sealing process that this process or a child of it needs is forked."""
    instead = types.SimpleNamespace(Popen=_Forked, DEVNULL=subprocess.DEVNULL)  # as much of the module as is used
    setattr(client, "subprocess", instead)  # noqa: B010 - a module's own import is replaced
