"""The process that speaks ONVIF: ``python -m agent.rtsp.onvif FD``, started only by ``agent.rtsp.onvif.client``.

Order at start: no core dump, no ptrace, no new privileges, a bound on memory, for answers are read whole; then the
question, and the library.
"""

import logging
import os
import resource
import socket
import sys
from typing import Final

from agent.errors import AgentError
from agent.process import harden
from agent.rtsp.challenge import read_credentials
from agent.rtsp.message import encode, failure_of
from agent.rtsp.onvif.message import MESSAGE_MAX_BYTES, decode_question

MEMORY_BYTES: Final = 1 << 30
"""Of addresses; the library with its descriptions takes a third."""

CREDENTIALS_MAX_BYTES: Final = 4096


def main(channel: socket.socket) -> None:
    """Do it."""
    raw, fds, _, _ = socket.recv_fds(channel, MESSAGE_MAX_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
    question = decode_question(raw)
    logging.disable(logging.CRITICAL)  # the library logs addresses, and at its end envelopes
    try:
        credentials = None
        if fds:
            with os.fdopen(fds[0], "rb") as file:
                credentials = read_credentials(file.read(CREDENTIALS_MAX_BYTES))
        from agent.rtsp.onvif.worker import ask  # noqa: PLC0415 - the library is loaded once it is known what for

        answer = encode(ask(question, credentials))
    except AgentError as error:
        answer = encode(failure_of(error))
    channel.send(answer)


if __name__ == "__main__":
    harden()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    main(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)
