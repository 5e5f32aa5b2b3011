"""Two objects go to a store by the real flow of uploads, one is lost there and goes again.

The line is scripted (``store.py``); everything on this side of it is what runs in the agent. The whole flow over real
brokers is in ``tests/upload``.
"""

import asyncio
from typing import Final

from agent.app.parts import Parts, opened
from agent.envelope import Failed, Go, UpAck, UploadAck
from agent.uplink import Device
from agent.upload import Upload
from tests.torture.home import PHOTO, RECORDING, Home
from tests.torture.say import Say
from tests.torture.script import Script
from tests.torture.store import Store

ATTEMPTS: Final = 12
"""Times that a life tries again what a full disk had refused before it ends as it is."""


def prepare(home: Home, seed: int) -> None:
    home.fill(seed, RECORDING, PHOTO)
    home.take_in()
    home.uploading = True


async def live(home: Home, say: Say) -> None:
    async with opened(home.config(), read_clock=lambda: home.clock(10)) as parts:
        store = await upload(parts, home, say)
        item = parts.index.read_now(lambda tx: parts.vault.require(tx, min(home.objects)))
        if store.memory.has(item.upload):
            store.lose(item.upload)
            await upload(parts, home, say, store=store)


async def go(parts: Parts, home: Home, say: Say) -> None:
    await upload(parts, home, say)


async def upload(parts: Parts, home: Home, say: Say, *, store: Store | None = None) -> Store:
    """Run the flow until this side and the store agree about every object; return the store."""
    if store is None:
        store = Store(home.store, device=home.config().device, keystore=parts.keystore, told=home.told, say=say)
    else:
        await store.reconnect()
    flow = _Flow(parts, store, say)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(flow.run(), name="upload")
        try:
            for _ in range(ATTEMPTS):
                if await _agreed(parts, store, flow, say):
                    break
                await store.reconnect()
                flow.changed()
        finally:
            running.cancel()
    return store


async def _agreed(parts: Parts, store: Store, flow: "_Flow", say: Say) -> bool:
    """Wait until everything is stored, or until something stands still."""
    noted: set[str] = set()
    while True:
        items = await parts.index.read(parts.vault.page)
        for item in items:
            if item.state == "uploaded" and item.upload not in noted:
                noted.add(item.upload)
                say(f"noted {item.id} {item.upload}")
        if all(item.state == "uploaded" and store.memory.has(item.upload) for item in items):
            return True
        if await flow.news.get() == "stands still":
            return False


class _Flow(Upload):
    """The flow as it runs in the agent, which tells in ``news`` when something came to an end."""

    def __init__(self, parts: Parts, store: Store, say: Say) -> None:
        super().__init__(
            index=parts.index,
            vault=parts.vault,
            erasure=parts.erasure,
            line=store,
            device=Device.of(parts.keystore, name=parts.config.device),
            stores=lambda _tx: (store.key,),
            policy=parts.policy_in_force,
            now=parts.now,
            snapshot=parts.snapshot,
            alert=lambda _code, _what, _about="": None,
            clock_s=store.clock_s,
            wait=store.pause,
        )
        self._parts = parts
        self._store = store
        self._say = say
        self._told: dict[str, int] = {}
        self.news: asyncio.Queue[str] = asyncio.Queue()

    def _ended(self, object_id: str, task: asyncio.Task[None]) -> None:
        super()._ended(object_id, task)
        found = self._parts.index.read_now(lambda tx: self._parts.vault.get(tx, object_id))
        over = found is not None and found.state == "uploaded" and self._store.memory.has(found.upload)
        self.news.put_nowait("over" if over else "stands still")

    async def _take(self, value: UpAck) -> bool:
        try:
            return await super()._take(value)
        finally:
            if isinstance(value, UploadAck):
                self.wake()  # so that the offset is noted
            elif isinstance(value, Go | Failed) and value.re:
                held = self._parts.index.read_now(lambda tx: self._parts.vault.upload_of(tx, value.upload))
                unheard = held is not None and held.current and held.stored
                self.news.put_nowait("stands still" if unheard else "over")

    async def _look_at_running(self) -> None:
        await super()._look_at_running()
        for upload, offset in tuple(self._noted.items()):
            if self._told.get(upload) != offset:
                self._told[upload] = offset
                self._say(f"offset {upload} {offset}")


SCRIPT = Script("upload", prepare, go, live=live)
