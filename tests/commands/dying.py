"""A device that takes one command and is killed at a step of its erasure, or after taking it up (step 0).

Also between the files of an export that a delete removes and its row (``row``).
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from agent.index import Tx
from agent.index import bundle as export_rows
from tests.commands.office import Office


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, owner_recipient: str, file: str, wanted: str) -> None:
    def step(number: int) -> None:
        if str(number) == wanted:
            die()

    def drop(tx: Tx, export_id: str) -> bool:
        die()
        raise AssertionError(tx, export_id)

    if wanted == "row":
        export_rows.drop = drop
    office = Office.device_only(Path(folder), owner_recipient=owner_recipient, step=step)
    raw = Path(file).read_bytes()
    if wanted == "0":
        asyncio.run(office.commands.receive(raw, moment=office.moment))
        die()
    asyncio.run(office.commands.submit(raw, moment=office.moment))


if __name__ == "__main__":
    main(*sys.argv[1:])
