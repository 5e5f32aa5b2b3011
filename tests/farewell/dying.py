"""A device that its owner leaves, killed at a step (``agent/commands/farewell.py``, ``agent/app/unowned.py``)."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent import files, keystore
from agent.app import unowned
from agent.commands.farewell import Farewell
from tests.farewell.leaver import Leaver


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, *, when: Callable[..., bool] = lambda *_: True) -> None:  # noqa: ANN401 - a class or module
    """Die where a function is called."""
    real = getattr(owner, name)

    def instead(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it takes
        if when(*args):
            die()
        return real(*args, **named)

    setattr(owner, name, instead)


def behind(owner: Any, name: str, *, when: Callable[[Any], bool] = lambda _: True) -> None:  # noqa: ANN401 - the same
    """Die where an asynchronous function has returned."""
    real = getattr(owner, name)

    async def instead(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - the same
        answer = await real(*args, **named)
        if when(answer):
            die()
        return answer

    setattr(owner, name, instead)


def second_slot(_fd: int, offset: int, slot: bytes) -> bool:
    return offset == keystore.SLOT_OFFSETS[1] and slot.startswith(b"pv1-keystore-0")


def is_keystore(path: Path, **_: object) -> bool:
    return path.name == "keystore"


def arm(step: str) -> None:
    """Let the process die when a step has ended; of 9 also between its two copies, of 10 also in its middle."""
    ways: dict[str, Callable[[], None]] = {
        "1": lambda: before(Farewell, "stop"),
        "2": lambda: behind(Farewell, "stop"),
        "3": lambda: before(Farewell, "part"),
        "4": lambda: behind(Farewell, "_unpair"),
        "5": lambda: behind(Farewell, "part"),
        "6": lambda: behind(Farewell, "_part_again"),
        "7": lambda: behind(Farewell, "step", when=bool),
        "8": lambda: before(unowned, "finish"),
        "9, one copy": lambda: before(keystore, "_put", when=second_slot),
        "9": lambda: before(unowned, "_remove"),
        "10, half": lambda: before(files, "remove_tree"),
        "10": lambda: before(files, "remove", when=is_keystore),
    }
    ways[step]()


STEPS = ("1", "2", "3", "4", "5", "6", "7", "8", "9, one copy", "9", "10, half", "10")


def main(folder: str, seed: str, identity: str, command: str, step: str) -> None:
    leaver = Leaver.of_words(folder, seed, identity)
    arm(step)
    asyncio.run(leaver.leave(Path(command).read_bytes()))


if __name__ == "__main__":
    main(*sys.argv[1:])
