"""A process that looks over a vault, or gives an object its payload again, and dies by SIGKILL at one point.

Words: the vault's folder, the point. It says so on standard output, so that the test knows that the cut fell.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.vault import Vault
from tests.scrub.scene import Scene

PLAIN = bytes(range(256)) * 800
TAG = b"t" * 32
POINTS = ("found", "named", "given", "placed")


def die(point: str) -> None:
    print(point, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def before(act: Callable[..., Any], point: str) -> Callable[..., Any]:
    def dying(*_words: object, **_named: object) -> None:
        die(point)

    del act
    return dying


def after(act: Callable[..., Any], point: str) -> Callable[..., Any]:
    def dying(*words: object, **named: object) -> None:
        act(*words, **named)
        die(point)

    return dying


def main(folder: Path, point: str) -> None:
    scene = Scene(folder)
    vault: Vault = scene.home.vault
    payloads = vault.payloads
    if point == "found":  # S4 is not durable yet
        vault.quarantine = after(vault.quarantine, point)  # type: ignore[method-assign] # the process dies of it
        scene.look_over()
    elif point == "named":  # step 3 is done, S5 is not durable yet
        vault._give_payload = after(vault._give_payload, point)  # type: ignore[method-assign] # the same
    elif point == "given":  # S5 is durable, S6 is not begun
        payloads.put_in_place = before(payloads.put_in_place, point)  # type: ignore[method-assign] # the same
    else:  # S6 is durable, S7 is not
        payloads.put_in_place = after(payloads.put_in_place, point)  # type: ignore[method-assign] # the same
    asyncio.run(scene.keep(PLAIN, source_tag=TAG, source_copy="left"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
