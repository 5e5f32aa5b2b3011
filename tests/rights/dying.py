"""A device that takes one signed policy and is killed: inside the transaction that puts it in force, or behind it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from agent.app.parts import opened
from agent.clock import Reading
from agent.config import parse_config
from tests.app.station import DEVICE, START_S


def die(*_: object, **_named: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def take(folder: Path, raw: bytes, where: str) -> None:
    config = parse_config(f'device = "{DEVICE}"\nstate = "state"\n'.encode(), file=folder / "agent.toml")
    reading = Reading(wall_ms=START_S * 1000, boot_ms=60_000, boot_id="one", synchronised=True)
    async with opened(config, read_clock=lambda: reading) as parts:
        if where == "inside":
            parts.ratchet._say = die  # the notice is the last that the transaction writes of it
        else:
            parts.ratchet._adopt = die
        await parts.commands.submit(raw, moment=parts.now())


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), sys.argv[3]))
