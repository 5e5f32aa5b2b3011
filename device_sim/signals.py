"""The signals that end a command which runs on: Ctrl-C, and what a service manager sends."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handled(handle: Callable[[], None], *, numbers: Sequence[signal.Signals] = ENDING) -> Iterator[None]:
    """Call ``handle`` for each of these signals inside the block; what was there before comes back."""
    before = {number: signal.signal(number, lambda *_: handle()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held(*, numbers: Sequence[signal.Signals] = ENDING) -> Iterator[None]:
    """Let these signals wait until the block is done, so that what begins in it is known to whoever ends it."""
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: arrived.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for waiting in arrived:
            signal.raise_signal(waiting)


@contextmanager
def ended() -> Iterator[Event]:
    """Yield what is set once the command shall end."""
    event = Event()
    with handled(event.set):
        yield event
