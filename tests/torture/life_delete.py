"""The owner deletes twice by signed command: what only the device has, then what a cloud has too and confirms."""

from collections.abc import Sequence

from agent.app.parts import Parts
from agent.index import Tx
from tests.torture.asking import answered, ask
from tests.torture.home import LOGS, PHOTO, RECORDING, Home
from tests.torture.say import Say
from tests.torture.script import Script

_MANIFEST = "a" * 64


def prepare(home: Home, seed: int) -> None:
    """Four objects in one key group: one of them is deleted alone, one after a store held it, two stay."""
    other = RECORDING.replace("10-15", "11-15")
    home.fill(seed, RECORDING, other, PHOTO, LOGS[0])
    home.take_in()
    home.doom(RECORDING, PHOTO)
    alone, stored = home.doomed

    async def store(parts: Parts) -> None:
        def note(tx: Tx) -> None:
            upload, _ = parts.vault.begin_upload(tx, stored, moment=parts.now())
            parts.vault.set_manifest(tx, upload, _MANIFEST, store=home.store.kid, moment=parts.now())
            parts.vault.note_stored(
                tx,
                upload,
                region="eu",
                stated_by=home.store.kid,
                epoch="e1",
                moment=parts.now(),
            )

        await parts.index.write(note)

    home.undisturbed(store)
    home.command("alone", "delete", select={"ids": [alone]})
    home.command("stored", "delete", select={"ids": [stored]})
    home.events = {"command_accepted": 2, "command_done": 2, "erase_asked": 2, "erased": 2}


async def go(parts: Parts, home: Home, say: Say) -> None:
    await ask(parts, home, say)


def at_death(home: Home, said: Sequence[str]) -> list[str]:
    """A receipt of the first delete says that its payload is gone, and its key."""
    wrong = []
    if answered(home, said).get("alone") == "done":
        if (home.state / "vault" / "objects" / next(iter(home.doomed))).exists():
            wrong.append("I3 a receipt says deleted and the payload is there")
        wrong.extend(f"I1 a receipt says deleted and the old root is in {name}" for name in home.key_files())
    return wrong


SCRIPT = Script("delete", prepare, go, at_death=at_death)
