"""The agent's Bluetooth ears as a program: `python -m tests.ble.listening` prints what it hears as JSON lines."""

import asyncio
import sys

import msgspec

from agent.clock import system_clock
from agent.discovery import Heard
from agent.discovery.ble.scanner import Scanner


def tell(heard: Heard) -> None:
    told = {"kind": type(heard).__name__, **msgspec.to_builtins(heard)}
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    read = system_clock(source="system")
    scanner = Scanner(now_ms=lambda: read().wall_ms)
    asyncio.run(scanner.run(tell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
