"""The sealing process: ``python -m agent.sealer FD``, started only by ``agent.sealer.client``.

Order at start: no core dump, no ptrace, no new privileges; then jobs. It ends when its socket closes, which also
happens when the agent dies.
"""

import os
import queue
import socket
import sys
import threading

from agent.errors import AgentError, CorruptError
from agent.process import harden
from agent.sealer.job import (
    DESCRIPTORS,
    JOBS_MAX,
    MESSAGE_MAX_BYTES,
    Answer,
    Request,
    decode_request,
    encode,
    failure_of,
)
from agent.sealer.worker import seal

_Work = tuple[Request, list[int]]


def serve(channel: socket.socket) -> None:
    """Do jobs until the other side closes; a malformed message ends the process, for only the agent can speak here."""
    threads = _Threads(channel)
    while True:
        try:
            raw, fds, flags, _ = socket.recv_fds(channel, MESSAGE_MAX_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # the agent died with answers that it had not read
            return
        if not raw:
            return
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(fds) != DESCRIPTORS:
            raise CorruptError("a message to the sealing process was cut")
        threads.work((decode_request(raw), fds))


class _Threads:
    """As many threads as there were jobs at one time: how many may be at work at once is the agent's to decide."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._jobs: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    def work(self, work: _Work) -> None:
        """Give a job to an idle thread, or to a new one."""
        if not self._idle.acquire(blocking=False) and self._count < JOBS_MAX:
            threading.Thread(target=self._do_jobs, name=f"seal-{self._count}", daemon=True).start()
            self._count += 1
        self._jobs.put(work)

    def _do_jobs(self) -> None:
        try:
            self._do_jobs_for_ever()
        finally:  # a bug, or the agent is gone: a process that cannot answer must not stay
            os._exit(1)

    def _do_jobs_for_ever(self) -> None:
        while True:
            request, fds = self._jobs.get()
            answer = _answer(request, source_fd=fds[0], part_fd=fds[1])
            for fd in fds:
                os.close(fd)
            self._idle.release()
            self._channel.send(encode(answer))


def _answer(request: Request, *, source_fd: int, part_fd: int) -> Answer:
    try:
        return Answer(
            request.number, sealed=seal(request.job, source_fd=source_fd, part_fd=part_fd, order=request.order)
        )
    except AgentError as error:
        return Answer(request.number, failure=failure_of(error))


if __name__ == "__main__":
    harden()
    serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # without waiting for a job whose answer nobody reads any more
