"""The process that puts files: ``python -m agent.courier FD``, started only by ``agent.courier.client``."""

import os
import socket
import sys

from agent.courier.message import MESSAGE_MAX_BYTES, decode_errand, encode
from agent.courier.worker import put
from agent.errors import CorruptError
from agent.process import harden


def serve(channel: socket.socket) -> None:
    """Run errands, one after the other, until the agent closes its end."""
    while True:
        raw, fds, flags, _ = socket.recv_fds(channel, MESSAGE_MAX_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        if not raw or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(fds) != 1:
            return
        try:
            channel.send(encode(put(decode_errand(raw), fds[0])))
        except (CorruptError, ConnectionError):  # only the agent speaks here, and it is gone
            return
        finally:
            os.close(fds[0])


if __name__ == "__main__":
    harden()
    serve(socket.socket(fileno=int(sys.argv[1])))
