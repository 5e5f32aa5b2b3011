"""A subscriber to ``#``: records what anybody who can read the whole broker sees, for residue tests.

The record is one message after another: u32 length of the topic, the topic, u32 length of the payload, the payload,
both big-endian. Searching the raw file for a sample finds it in topics and payloads alike.
"""

import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from device_sim.cloud.link import Link

_LENGTH: Final = struct.Struct(">I")


class Observer:
    """Records every message from ``__enter__`` to ``__exit__``; a context manager."""

    def __init__(self, broker: str, record: Path, *, identity: Path | None = None, client_id: str = "observer") -> None:
        self._file = record.open("ab")
        self._lock = threading.Lock()
        self.count = 0
        self.bytes = 0
        self._link = Link(broker, client_id=client_id, identity=identity, topics=["#"], receive=self._receive)

    def __enter__(self) -> Self:
        self._link.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.stop()
        with self._lock:
            self._file.close()

    def _receive(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - the link's callback
        name = topic.encode()
        with self._lock:
            if not self._file.closed:
                self._file.write(_LENGTH.pack(len(name)) + name + _LENGTH.pack(len(payload)) + payload)
                self._file.flush()
                self.count += 1
                self.bytes += len(payload)


def read_record(record: Path) -> Iterator[tuple[str, bytes]]:
    """Yield topic and payload of every recorded message."""
    with record.open("rb") as file:
        while length := file.read(_LENGTH.size):
            topic = file.read(_LENGTH.unpack(length)[0]).decode()
            yield topic, file.read(_LENGTH.unpack(file.read(_LENGTH.size))[0])
