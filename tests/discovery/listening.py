"""The agent's side of a discovery test, a process of its own: one way of hearing, told as JSON lines.

python -m tests.discovery.listening mdns|onvif [--refresh SECONDS] [--interface NAME]
"""

import argparse
import asyncio
import json
import signal
import sys

import msgspec

from agent.clock import system_clock
from agent.discovery import Discoverer, Heard
from agent.discovery.mdns import Mdns
from agent.discovery.onvif import Onvif
from agent.discovery.presence import REFRESH_S


def hear(heard: Heard) -> None:
    print(json.dumps({"kind": type(heard).__name__, **msgspec.to_builtins(heard)}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=("mdns", "onvif"))
    parser.add_argument("--refresh", type=float, default=REFRESH_S)
    parser.add_argument("--interface", action="append", default=[])
    arguments = parser.parse_args()
    clock = system_clock(source="system")
    ways: dict[str, Discoverer] = {
        "mdns": Mdns(clock, interfaces=arguments.interface, refresh_s=arguments.refresh),
        "onvif": Onvif(clock, interfaces=arguments.interface, refresh_s=arguments.refresh),
    }
    with asyncio.Runner() as runner:
        runner.run(until_told(ways[arguments.way]))
    return 0


async def until_told(way: Discoverer) -> None:
    """Listen until SIGTERM, and end as the agent does."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(way.run(hear), name="listening")
        await told.wait()
        listening.cancel()


if __name__ == "__main__":
    sys.exit(main())
