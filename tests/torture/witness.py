"""The first start after a fault: everything is finished that was begun, then what is there is written down.

``settle`` is the ordinary start of the agent and the ordinary repetition of whoever did not get an answer: a camera's
file that is still there, a command without a receipt, an upload without a storage receipt. It is itself a life that
is killed at every call (``life_start.py``).
"""

import json
from typing import Any

from agent import age, audit, chain
from agent.app.parts import Parts, opened
from agent.index import Tx
from agent.model import Object
from tests.intake import take_in
from tests.torture.home import Home, admitted, digest
from tests.torture.lives import LIVES
from tests.torture.say import Say
from tests.torture.store import Memory


async def settle(parts: Parts, home: Home, say: Say) -> None:
    """Do what is left to do."""
    await take_in(parts, lambda event: say(f"admitted {admitted(event)}") if admitted(event) else None)
    await LIVES[home.scenario].go(parts, home, say)


async def start(home: Home, say: Say) -> None:
    """Be the start after a fault, as a life of its own."""
    script = LIVES[home.scenario]
    if script.see is not None:
        await script.lived(home, say)
        return
    async with opened(home.config(), read_clock=lambda: home.clock(60)) as parts:
        parts.erasure._at = lambda step: say(f"step {step}")
        await settle(parts, home, say)


async def see(home: Home) -> dict[str, Any]:
    """Start, finish, bring back what was deleted, and tell what is there."""
    script = LIVES[home.scenario]
    if script.see is not None:
        return await script.see(home)
    lines: list[str] = []
    async with opened(home.config(), read_clock=lambda: home.clock(120)) as parts:
        found = parts.index.read_now(lambda tx: _found(tx, parts, home))
        await settle(parts, home, lines.append)
        if home.returns:
            for path in home.doomed.values():
                home.put_back(path)
            await take_in(parts)
        return parts.index.read_now(lambda tx: _tell(tx, parts)) | {
            "look": parts.index.read_now(lambda tx: script.look(tx, parts, home)),
            "opened": _opened(home, parts),
            "lines": lines,
            "found": found,
            "stored": _stored(home, [*home.told, *lines]),
            "files": sorted(file.name for file in parts.vault.payloads.folder.iterdir()),
            "left": sorted(str(file.relative_to(home.spool)) for file in home.spool.rglob("*") if file.is_file()),
        }


def _found(tx: Tx, parts: Parts, home: Home) -> dict[str, Any]:
    """Tell what a start finds before anybody asks for anything: payloads that are not there, what is known of uploads.

    And what the life itself asks about.
    """
    items = parts.vault.page(tx)
    rows = {upload: parts.vault.upload_of(tx, upload) for upload in Memory(home.told).copies}
    return {
        "look": LIVES[home.scenario].look(tx, parts, home),
        "missing": [item.id for item in items if not parts.vault.payload_path(item.id).exists()],
        "objects": {item.id: _object(tx, parts, item) for item in items},
        "manifests": {upload: row.manifest for upload, row in rows.items() if row is not None},
        "without_header": [item.id for item in items if parts.vault.header(tx, item.id) is None],
    }


def _stored(home: Home, lines: list[str]) -> dict[str, str]:
    """Open what the store holds as its owner does, by upload: header and payload are a whole age file."""
    copies = Memory(lines).copies
    return {
        upload: digest(age.decrypt(copy.header + copy.data, [home.owner]))
        for upload, copy in copies.items()
        if copy.stored
    }


def _opened(home: Home, parts: Parts) -> dict[str, str]:
    return {item.id: home.open(parts, item.id).decode("latin-1") for item in parts.index.read_now(parts.vault.page)}


def _tell(tx: Tx, parts: Parts) -> dict[str, Any]:
    items = parts.vault.page(tx)
    lines = audit.entries(tx, 0)[1]
    head = audit.head(tx)
    chain.verify_lines(lines, jwk=parts.keystore.public_jwk(), anchor=head)
    totals = parts.vault.totals(tx).all
    return {
        "objects": {item.id: _object(tx, parts, item) for item in items},
        "roots": [root.id for root in parts.keystore.roots()],
        "root": parts.vault.root(tx).id,
        "slots": tx.execute("SELECT count(*) FROM slot")[0][0],
        "unfinished": tx.execute("SELECT (SELECT count(*) FROM intent) + (SELECT count(*) FROM erasure)")[0][0],
        "tombstones": tx.execute("SELECT count(*) FROM tombstone")[0][0],
        "totals": [totals.objects, totals.bytes],
        "audit": [json.loads(line) for line in lines if b'"checkpoint"' not in line[:20]],
        "waiting": [message.jti for message in parts.outbox.pending(tx, limit=100)],
    }


def _object(tx: Tx, parts: Parts, item: Object) -> dict[str, Any]:
    upload = parts.vault.upload_of(tx, item.upload) if item.upload else None
    return {
        "category": item.category,
        "bytes": item.size_bytes,
        "state": item.state,
        "upload": item.upload,
        "offset": upload.offset if upload is not None else 0,
        "slot": digest(parts.vault.slot_key(tx, item.id)),
    }
