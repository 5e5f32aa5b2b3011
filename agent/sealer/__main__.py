"""The sealing process: ``python -m agent.sealer FD``, started only by ``agent.sealer.client``.

Order at start: no core dump, no ptrace, no new privileges; then jobs. It ends when its socket closes, which also
happens when the agent dies.
"""

import os
import queue
import socket
import sys
import threading
from typing import Final

import msgspec

from agent.errors import AgentError, CorruptError
from agent.process import harden
from agent.sealer.job import DESCRIPTORS, MESSAGE_MAX_BYTES, Answer, Request, decode_request, encode, failure_of
from agent.sealer.worker import seal

JOBS_AT_ONCE: Final = 2
"""One waits for its fsync while the other encrypts; a third would only cost memory on the two to four cores meant."""

_Work = tuple[Request, list[int]]


def serve(channel: socket.socket) -> None:
    """Do jobs until the other side closes; a malformed message ends the process, for only the agent can speak here."""
    work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
    for number in range(JOBS_AT_ONCE):
        threading.Thread(target=_do_jobs, args=(channel, work), name=f"seal-{number}", daemon=True).start()
    while True:
        try:
            raw, fds, flags, _ = socket.recv_fds(channel, MESSAGE_MAX_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # the agent died with answers that it had not read
            return
        if not raw:
            return
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(fds) != DESCRIPTORS:
            raise CorruptError("a message to the sealing process was cut")
        try:
            work.put((decode_request(raw), fds))
        except msgspec.MsgspecError as error:
            raise CorruptError("a message to the sealing process is malformed") from error


def _do_jobs(channel: socket.socket, work: "queue.SimpleQueue[_Work]") -> None:
    try:
        _do_jobs_for_ever(channel, work)
    finally:  # a bug, or the agent is gone: a process that cannot answer must not stay
        os._exit(1)


def _do_jobs_for_ever(channel: socket.socket, work: "queue.SimpleQueue[_Work]") -> None:
    while True:
        request, fds = work.get()
        answer = _answer(request, source_fd=fds[0], part_fd=fds[1])
        for fd in fds:
            os.close(fd)
        channel.send(encode(answer))


def _answer(request: Request, *, source_fd: int, part_fd: int) -> Answer:
    try:
        return Answer(request.number, sealed=seal(request.job, source_fd=source_fd, part_fd=part_fd))
    except AgentError as error:
        return Answer(request.number, failure=failure_of(error))


if __name__ == "__main__":
    harden()
    serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # without waiting for a job whose answer nobody reads any more
