"""Two objects go to a store, one is lost there and goes again: every state that the index keeps of an upload.

The transitions are the ones that the upload flow makes, in its order and in its transactions; what goes over the wire
between them does not touch the disk. The whole flow, with brokers, cut lines and restarts, is in ``tests/upload``.
"""

from functools import partial

from agent.app.parts import Parts, opened
from agent.index import Tx
from agent.model import Object
from tests.torture.home import PHOTO, RECORDING, Home, clock_at
from tests.torture.say import Say

NAME = "upload"


def prepare(home: Home, seed: int) -> None:
    home.fill(seed, RECORDING, PHOTO)
    home.take_in()


async def live(home: Home, say: Say) -> None:
    async with opened(home.config(), read_clock=lambda: clock_at(10)) as parts:
        await upload(parts, home, say)
        lost = min(home.objects)
        found = parts.index.read_now(lambda tx: parts.vault.require(tx, lost))
        await parts.index.write(lambda tx: parts.vault.note_lost(tx, found.upload, moment=parts.now()))
        say(f"lost {lost}")
        await upload(parts, home, say)


async def upload(parts: Parts, home: Home, say: Say) -> None:
    """Bring everything that waits to the store."""
    vault = parts.vault
    for item in await parts.index.read(vault.page):
        if item.state != "sealed":
            continue
        upload_id = await parts.index.write(partial(_begin, parts=parts, home=home, item=item))
        say(f"begun {item.id} {upload_id}")
        for offset in (item.size_bytes // 2, item.size_bytes):
            await parts.index.write(partial(vault.note_offset, upload=upload_id, offset=offset))
            say(f"offset {upload_id} {offset}")
        await parts.index.write(
            partial(
                vault.note_stored,
                upload=upload_id,
                region="eu",
                stated_by=home.store.kid,
                epoch="e1",
                moment=parts.now(),
            )
        )
        say(f"stored {item.id} {upload_id}")


def _begin(tx: Tx, parts: Parts, home: Home, item: Object) -> str:
    upload_id, _ = parts.vault.begin_upload(tx, item.id, moment=parts.now())
    if parts.vault.header(tx, item.id) is None:
        parts.vault.remake_header(tx, item.id)
    row = parts.vault.upload_of(tx, upload_id)
    if row is None or not row.manifest:
        parts.vault.set_manifest(tx, upload_id, "b" * 64, store=home.store.kid, moment=parts.now())
    return upload_id
