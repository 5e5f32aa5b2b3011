"""A device that takes one word on a purpose and is killed: before that is durable, behind it, or while it acts."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from agent.commands.withdrawing import Withdrawals
from agent.index import Tx
from agent.rights import consent
from tests.commands.consenting import Consulate


def die(*_about: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, owner_recipient: str, vendor_key: str, file: str, wanted: str) -> None:
    def step(number: int) -> None:
        if str(number) == wanted:
            die()

    Consulate.vendor_key = vendor_key
    office = Consulate.device_only(Path(folder), owner_recipient=owner_recipient, step=step)
    raw = Path(file).read_bytes()
    if wanted == "before":
        say = consent.say

        def said_and_dead(tx: Tx, *args: Any, **more: Any) -> None:  # noqa: ANN401 - as consent.say
            say(tx, *args, **more)
            die()

        consent.say = said_and_dead  # type: ignore[assignment]  # it never returns
    if wanted == "taken up":
        asyncio.run(office.commands.receive(raw, moment=office.moment))
        die()
    if wanted == "narrowed":
        narrow = Withdrawals._narrow

        def narrowed(self: Withdrawals, tx: Tx, **more: Any) -> Any:  # noqa: ANN401 - as the method
            done = narrow(self, tx, **more)
            tx.then(die)  # the commit is durable, and nobody knows of it yet
            return done

        Withdrawals._narrow = narrowed  # type: ignore[assignment, method-assign]  # where the power fails
    asyncio.run(office.commands.submit(raw, moment=office.moment))


if __name__ == "__main__":
    main(*sys.argv[1:])
