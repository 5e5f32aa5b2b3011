"""Uploads everything that a hub holds while one payload cannot be read at first, and says what came of it.

Run by ``test_unreadable_payload.py`` where the medium fails. Words: the hub's folder, the broker, the TLS identities.
"""

import asyncio
import json
import sys
from pathlib import Path

from agent.broker import Broker
from agent.model import Object
from agent.upload import Upload
from tests.upload.cloud import Keys, cloud_at
from tests.upload.hub import Hub, policy, uploading
from tests.upload.line import TENANT, short_pause, until


def tried_again(flow: Upload, hub: Hub, *items: Object) -> bool:
    flow.changed()  # as after a person looked at the disk; the Nth call that fails is counted in each thread
    return hub.uploaded(*items)


async def upload(folder: Path, url: str, tls: Path) -> None:
    hub = Hub(folder)
    items = hub.index.read_now(hub.vault.page)
    hub.policy = policy(owner=items[0].recipients[0])  # another process put them in
    broker = Broker(url, tenant=TENANT, identity=tls / "cam-1", wait=short_pause)
    with cloud_at(url, tls=tls, folder=folder.parent / "cloud", keys=Keys.of(hub)) as (cloud, store):
        async with uploading(hub, broker, store) as flow:
            await until(lambda: bool(hub.alerts) and sum(hub.uploaded(item) for item in items) == len(items) - 1)
            first, tries = {item.id: hub.state(item) for item in items}, len(hub.alerts)
            await until(lambda: tried_again(flow, hub, *items))
        whole = {row.object: row.payload.sha256 for row in cloud.store.stored()}
    print(json.dumps({"alerts": hub.alerts, "first": first, "tries": tries, "stored": whole}))
    hub.close()


if __name__ == "__main__":
    asyncio.run(upload(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
