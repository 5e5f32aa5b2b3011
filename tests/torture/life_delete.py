"""The owner deletes twice by signed command: what only the device has, then what a cloud has too and confirms."""

import base64
from collections.abc import Callable
from functools import partial

from agent.app.parts import Parts, opened
from agent.index import Tx
from tests.torture.home import LOGS, PHOTO, RECORDING, Home, clock_at
from tests.torture.say import Say

NAME = "delete"
_MANIFEST = "a" * 64


def prepare(home: Home, seed: int) -> None:
    """Four objects in one key group: one of them is deleted alone, one after a store held it, two stay."""
    other = RECORDING.replace("10-15", "11-15")
    home.fill(seed, RECORDING, other, PHOTO, LOGS[0])
    home.take_in()
    by_content = {content: object_id for object_id, content in home.objects.items()}
    home.doomed = {by_content[home.sources[path]]: path for path in (RECORDING, PHOTO)}
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


async def live(home: Home, say: Say) -> None:
    async with opened(home.config(), read_clock=lambda: clock_at(10)) as parts:
        parts.erasure._at = lambda step: say(f"step {step}")
        await command(parts, home, say)


async def command(parts: Parts, home: Home, say: Say) -> None:
    """Give every command to the device, let the store confirm what it is asked for, and ask again."""
    for name, raw in home.commands.items():
        await _tell(parts, name, raw, say)
        confirmed = await confirm(parts, home)
        if confirmed:
            await _tell(parts, name, raw, say)


async def _tell(parts: Parts, name: str, raw: bytes, say: Callable[[str], None]) -> None:
    submitted = await parts.commands.submit(raw, moment=parts.now())
    say(f"receipt {name} {base64.b64encode(submitted.receipt).decode()}")


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
