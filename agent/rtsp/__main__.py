"""The process that reads one camera: ``python -m agent.rtsp FD``, started only by ``agent.rtsp.client``.

Order at start: no core dump, no ptrace, no new privileges; then the one thing that it is asked, and FFmpeg. It ends
with the connection, and soon after its socket closes, which also happens when the agent dies.
"""

import os
import socket
import sys
import threading
from typing import Final

from agent.errors import CorruptError
from agent.process import harden
from agent.rtsp.message import MESSAGE_MAX_BYTES, Ask, decode_ask

LAST_WORDS_S: Final = 5.0
"""From the agent's wish that it ends to its end: the segment under way is ended in between."""


def asked(channel: socket.socket) -> tuple[Ask, int | None]:
    """Read what is asked; a malformed message ends the process, for only the agent can speak here."""
    raw, fds, flags, _ = socket.recv_fds(channel, MESSAGE_MAX_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise CorruptError("a message to the process that reads a camera was cut")
    ask = decode_ask(raw)
    return ask, fds[0] if fds and ask.has_credentials else None


def _end_with(channel: socket.socket) -> None:
    """End the process, some time after the agent's end of the socket is closed, whatever else it is doing."""
    channel.recv(1, socket.MSG_PEEK)
    threading.Event().wait(LAST_WORDS_S)
    os._exit(1)


def main(channel: socket.socket) -> None:
    """Do it."""
    ask, credentials_fd = asked(channel)
    threading.Thread(target=_end_with, args=(channel,), name="last words", daemon=True).start()
    from agent.rtsp.worker import watch  # noqa: PLC0415 - FFmpeg is loaded once it is known that there is work

    watch(channel, ask, credentials_fd)


if __name__ == "__main__":
    harden()
    main(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # without waiting for threads that hold a line which nobody reads any more
