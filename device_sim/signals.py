"""The signals that end a command which runs on: Ctrl-C, and what a service manager sends."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handled(handle: Callable[[], None], *, numbers: Sequence[signal.Signals] = ENDING) -> Iterator[None]:
    """Call ``handle`` for each of these signals inside the block; what was there before comes back."""
    with _put(lambda _number, _frame: handle(), numbers=numbers):
        yield


@contextmanager
def held(*, numbers: Sequence[signal.Signals] = ENDING) -> Iterator[None]:
    """Let these signals wait until the block is done, so that what begins in it is known to whoever ends it."""
    arrived: list[int] = []
    try:
        with _put(lambda number, _frame: arrived.append(number), numbers=numbers):
            yield
    finally:
        for waiting in arrived:
            signal.raise_signal(waiting)


@contextmanager
def ended() -> Iterator[Event]:
    """Yield what is set once the command shall end."""
    event = Event()
    with handled(event.set):
        yield event


@contextmanager
def _put(handler: Callable[[int, FrameType | None], None], *, numbers: Sequence[signal.Signals]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
