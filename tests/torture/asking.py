"""Commands are given to the device in their order, and given again after a death, as whoever got no answer does."""

import base64
from collections.abc import Sequence
from functools import partial
from typing import Final

from agent.app.parts import Parts
from tests.torture.home import Home
from tests.torture.say import Say

TERMINAL: Final = frozenset({"done", "partial", "refused", "failed"})


async def ask(parts: Parts, home: Home, say: Say, *names: str) -> bool:
    """Give these commands, or all; return whether each was answered for good. Nobody asks on behind one that was not.

    A store confirms what it is asked for meanwhile, so that a command that waits for it is given once more.
    """
    for name in names or tuple(home.commands):
        say(f"asks {name}")
        status = await _tell(parts, home, name, say)
        if await confirm(parts, home):
            status = await _tell(parts, home, name, say)
        if status not in TERMINAL and name not in home.waits:
            return False
    return True


async def _tell(parts: Parts, home: Home, name: str, say: Say) -> str:
    submitted = await parts.commands.submit(home.commands[name], moment=parts.now())
    say(f"receipt {name} {base64.b64encode(submitted.receipt).decode()}")
    return submitted.status


async def confirm(parts: Parts, home: Home) -> int:
    """Answer as the store for every copy that it is asked to erase."""
    copies = await parts.index.read(lambda tx: parts.erasure.pending_remote(tx, home.store.kid, 10))
    for copy in copies:
        await parts.index.write(
            partial(
                parts.erasure.note_erased,
                upload=copy.upload,
                manifest=copy.manifest,
                header="erased",
                payload="erased",
                stated_by=home.store.kid,
                moment=parts.now(),
            ),
            urgent=True,
        )
    return len(copies)


def receipts(home: Home, lines: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the last receipt of each command, as its sender reads it: status and id."""
    found = {}
    for line in lines:
        if line.startswith("receipt "):
            _, name, text = line.split()
            receipt = home.signer(name).open(base64.b64decode(text))
            found[name] = (str(receipt["status"]), str(receipt["jti"]))
    return found


def answered(home: Home, lines: Sequence[str]) -> dict[str, str]:
    """Return the commands that were answered for good, and how."""
    return {name: status for name, (status, _) in receipts(home, lines).items() if status in TERMINAL}


def asked(lines: Sequence[str]) -> frozenset[str]:
    """Return the commands that were given at least once."""
    return frozenset(line.split()[1] for line in lines if line.startswith("asks "))
