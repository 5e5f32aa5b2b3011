"""What happened in the cloud, one event at a time: printed for a person, as JSON lines, or waited for by a test.

An event holds ids, counters, codes and hashes only; nothing that was sealed.
"""

import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from device_sim.cloud import clock

Event = dict[str, object]
Sink = Callable[[Event], None]

KEEP: Final = 20_000
"""How many events are kept for tests; older ones are gone."""


class Journal:
    """Collects events; any thread may write, any thread may wait."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks
        self._events: deque[Event] = deque(maxlen=KEEP)
        self._changed = threading.Condition()

    def note(self, event: str, **fields: object) -> None:
        """Write an event."""
        line: Event = {"event": event, **fields}
        with self._changed:
            for sink in self._sinks:  # inside the lock: lines of two threads never mix
                sink(line)
            self._events.append(line)
            self._changed.notify_all()

    def events(self, event: str | None = None, **match: object) -> list[Event]:
        """Return the kept events of that name with those fields, oldest first."""
        with self._changed:
            return [line for line in self._events if _fits(line, event, match)]

    def wait(self, event: str, *, timeout_s: float = 60.0, count: int = 1, **match: object) -> Event:
        """Return the ``count``-th such event, waiting for it; raises ``TimeoutError``."""
        deadline_s = clock.monotonic_s() + timeout_s
        with self._changed:
            while True:
                found = [line for line in self._events if _fits(line, event, match)]
                if len(found) >= count:
                    return found[count - 1]
                left_s = deadline_s - clock.monotonic_s()
                if left_s <= 0 or not self._changed.wait(left_s):
                    seen = ", ".join(str(line["event"]) for line in list(self._events)[-12:])
                    raise TimeoutError(f"no {event} {match or ''} within {timeout_s} s; last: {seen}")


def print_json(event: Event) -> None:
    """Print one JSON line."""
    print(json.dumps(event), flush=True)


def print_readable(event: Event) -> None:
    """Print one line for a person."""
    rest = "  ".join(f"{name}={value}" for name, value in event.items() if name != "event")
    print(f"{event['event']!s:<18} {rest}", flush=True)


def _fits(line: Event, event: str | None, match: dict[str, object]) -> bool:
    return (event is None or line["event"] == event) and all(line.get(name) == value for name, value in match.items())
