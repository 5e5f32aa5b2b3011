"""The peer of an upload: the same bytes as QoS 1 messages through the same broker, sealed by nobody, stored nowhere.

    python -m tests.bench.pipe send|sink URL IDENTITY FILE      waits for a line on standard input, then begins

Two processes with paho and TCP_NODELAY, 20 messages of 120 KiB in flight: what MQTT itself takes on this machine.
"""

import sys
import threading
from pathlib import Path
from typing import Final

from tests.bench.station import Ear

CHUNK_BYTES: Final = 120 * 1024
IN_FLIGHT: Final = 20
TOPIC: Final = "pv1/bench/pipe/cmd"


def main() -> None:
    """Be one end."""
    role, url, identity, file = sys.argv[1:]
    size_bytes = Path(file).stat().st_size
    with Ear(url, Path(identity), topics=(TOPIC,) if role == "sink" else ("pv1/bench/none/cmd",), name=role) as line:
        print("ready", flush=True)
        if role == "sink":
            got = 0
            while got < size_bytes:
                got += len(line.next()[2])
        else:
            sys.stdin.readline()
            _send(line, Path(file))
        print("done", flush=True)


def _send(line: Ear, file: Path) -> None:
    room = threading.Semaphore(IN_FLIGHT)
    line.client.on_publish = lambda *_: room.release()
    with file.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            room.acquire()  # given back when the broker acknowledged it
            line.client.publish(TOPIC, chunk, qos=1)
    for _ in range(IN_FLIGHT):
        room.acquire()


if __name__ == "__main__":
    main()
