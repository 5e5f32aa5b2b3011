"""The one thread in which a source's folder is touched: a file system that does not answer keeps nobody else waiting.

Rules: calls are made one after the other, in order; a call whose asker has gone is not begun; the thread is no reason
for the process to stay, because nothing can end one that waits for a dead server.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[Callable[[], Any], "asyncio.Future[Any] | None"]


class Lane:
    """A thread that starts with the first call and ends with ``close``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Have the call made; what it returns or raises is the future's, in the running event loop."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put((call, answer))
        return answer

    def post(self, call: Callable[[], None]) -> None:
        """Have a call made that nobody waits for; a failing medium is nobody's matter then."""
        self._put((call, None))

    def _put(self, job: _Job) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def close(self) -> None:
        """Let the thread end after the calls that it has; a later call starts another."""
        if self._thread is not None:
            self._jobs.put(None)
            self._jobs, self._thread = queue.SimpleQueue(), None


def _work(jobs: "queue.SimpleQueue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        call, answer = job
        if answer is None:
            with suppress(OSError):
                call()
        elif not answer.cancelled():
            _answer(call, answer)


def _answer(call: Callable[[], Any], answer: "asyncio.Future[Any]") -> None:
    try:
        result = call()
    except Exception as error:  # noqa: BLE001 - raised at its asker
        _tell(answer, answer.set_exception, error)
    else:
        _tell(answer, answer.set_result, result)


def _tell(answer: "asyncio.Future[Any]", tell: Callable[[Any], None], what: Any) -> None:  # noqa: ANN401 - any call's
    def settle() -> None:
        if not answer.done():
            tell(what)

    with suppress(RuntimeError):  # the loop is closed: nobody asks any more
        answer.get_loop().call_soon_threadsafe(settle)
