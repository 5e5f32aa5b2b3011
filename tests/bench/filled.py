"""A vault of many objects, made in minutes: a million through the real way in would take an hour.

The rows are those of step 4 (docs/design.md), written in bulk: with the key tree's slots, the event of each in the
audit log and a payload file of some bytes. All objects have one content and one file key, wrapped for each anew; a kept
header is as many random bytes as a true one has. What is missing is the way there: the sealing process, the source, the
sync of each file. Nobody else may have the vault open.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from agent import audit, registry
from agent.age.filekey import new_file_key, wrap_header
from agent.age.keys import parse_recipient
from agent.age.stream import encrypt_bytes
from agent.audit import Event
from agent.files import make_folder
from agent.index import Tx
from agent.index import vault as rows
from agent.index.opening import migrate, open_encrypted
from agent.keystore import Keystore
from agent.keytree import (
    BRANCH_GROUPS,
    GROUP_SLOTS,
    GroupKey,
    Root,
    new_branch,
    new_group,
    seal_header,
    wrap_branch,
    wrap_group,
    wrap_slot,
)
from agent.model import Moment, new_id
from agent.vault import OBJECTS_FOLDER

CATEGORY: Final = "photo"
SOURCE: Final = "spool"

_AT_ONCE: Final = 1 << 17
"""Objects of one transaction: each touches all pages of the indexes whose values are random."""

_TOLD: Final = 1_000
_PLAIN: Final = b"\xff\xd8\xff"
_CACHE_KIB: Final = 1 << 21
_SPAN_MS: Final = 10 * 86_400_000
"""The newest was taken in now, the oldest so long ago: none is due after fourteen days."""

_COLUMNS: Final = (*rows.OBJECT_COLUMNS, "source_gone", "source_folder", "source_sha256", "source_tag", "content_tag")
_INSERT: Final = f"INSERT INTO object ({', '.join(_COLUMNS)}, recipient_set) VALUES ({'?, ' * len(_COLUMNS)}?)"  # noqa: S608 - our own names

_FILES: Final = """
import os, sys
content = bytes.fromhex(sys.argv[1])
for line in sys.stdin:
    fd = os.open(line.rstrip(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, content)
    os.close(fd)
"""


class Filled(NamedTuple):
    """The ids of the cameras, and of some objects of all but the last camera, from all over the vault."""

    cameras: list[str]
    objects: list[str]


def fill(state: Path, count: int, *, recipients: Sequence[str], cameras: Sequence[str], now_ms: int) -> Filled:
    """Add objects to the vault of an agent that is stopped, of these cameras in turn."""
    folder = state / "vault" / OBJECTS_FOLDER
    make_folder(folder.parent)
    make_folder(folder)
    made = _Made(recipients)
    some: list[str] = []
    ids: list[str] = []
    step = count // _TOLD | 1  # odd: of all cameras
    with (
        closing(Keystore.open(state / "keystore")) as keystore,
        _bulk(state / "index.db", keystore.index_key()) as db,
        subprocess.Popen(
            [sys.executable, "-c", _FILES, made.payload.hex()], cwd=folder, stdin=subprocess.PIPE, text=True
        ) as files,
    ):
        assert files.stdin is not None
        for done in range(0, count, _AT_ONCE):
            db.execute("BEGIN IMMEDIATE")
            tx = Tx(db)
            if rows.root_id(tx) is None:
                rows.set_root_id(tx, keystore.roots()[0].id)
            root = next(root for root in keystore.roots() if root.id == rows.root_id(tx))
            since_ms = now_ms - _SPAN_MS * (count - done) // count
            moment = Moment(agent_ms=since_ms, wall_ms=since_ms, trusted=True)
            ids = [registry.camera_id(tx, SOURCE, label, moment=moment) for label in cameras]
            now = range(done, min(count, done + _AT_ONCE))
            numbered = ((place, ids[place % len(ids)]) for place in now)
            for place, object_id in enumerate(_add(tx, numbered, len(now), made=made, root=root, moment=moment), done):
                print(object_id, file=files.stdin)
                if place // step > (place - 1) // step and place % len(cameras) < len(cameras) - 1:
                    some.append(object_id)
            audit.checkpoint(tx, keystore, moment=moment)
            tx.end()
            db.execute("COMMIT")
    if files.returncode:
        raise RuntimeError("the payload files were not written")
    return Filled(ids, some)


class _Made:
    """What all of them have in common."""

    def __init__(self, recipients: Sequence[str]) -> None:
        self.file_key = new_file_key()
        self.payload = encrypt_bytes(self.file_key, _PLAIN)
        self.sha256 = hashlib.sha256(self.payload).digest()
        self.recipients = "\n".join(recipients)
        header = wrap_header(self.file_key, [parse_recipient(one) for one in recipients])
        self._header_bytes = len(seal_header(self.file_key, header, object_id=new_id()))

    def header(self) -> bytes:
        return os.urandom(self._header_bytes)


@contextmanager
def _bulk(path: Path, key: bytes) -> Iterator[Any]:
    """Open the index as an agent does, with room for all of its pages: ids come in no order."""
    db = open_encrypted(path, key)
    try:
        migrate(db, path)
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        yield db
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()


def _add(
    tx: Tx, numbered: Iterator[tuple[int, str]], count: int, *, made: _Made, root: Root, moment: Moment
) -> Iterator[str]:
    for start in range(0, count, GROUP_SLOTS):
        some = list(islice(numbered, min(GROUP_SLOTS, count - start)))
        ids = [new_id() for _ in some]
        group = new_group()
        if start // GROUP_SLOTS % BRANCH_GROUPS == 0:
            above = new_branch()
            branch = rows.insert_branch(tx, above.id, above.version, wrap_branch(root, above))
        n_group = rows.insert_group(tx, group.id, group.version, wrap_group(above, group), branch=branch)
        first = rows.insert_object(tx, _values(ids[0], *some[0], made, moment))
        ((recipients,),) = tx.execute("SELECT recipient_set FROM object WHERE n = ?", (first,))
        more = (_values(one, *place, made, moment) for one, place in zip(ids[1:], some[1:], strict=True))
        tx.executemany(_INSERT, ((*(values[name] for name in _COLUMNS), recipients) for values in more))
        tx.executemany("INSERT INTO slot VALUES (?, ?, ?, ?)", _slots(ids, first, n_group, made, group))
        tx.execute("UPDATE key_group SET slots = ? WHERE n = ?", (len(ids), n_group))
        tx.executemany("INSERT INTO header VALUES (?, ?)", ((first + at, made.header()) for at in range(len(ids))))
        for object_id in ids:
            detail: dict[str, str | int] = {"bytes": len(made.payload), "category": CATEGORY}
            audit.append(tx, Event(kind="admitted", object=object_id, detail=detail), moment=moment)
        yield from ids


def _slots(ids: Sequence[str], first: int, n_group: int, made: _Made, group: GroupKey) -> Iterator[tuple[Any, ...]]:
    for n, object_id in enumerate(ids, first):
        slot = wrap_slot(group, made.file_key, object_id=object_id, payload_sha256=made.sha256, kind="file-key")
        yield n, n_group, group.version, slot


def _values(object_id: str, place: int, camera: str, made: _Made, moment: Moment) -> dict[str, Any]:
    return {
        "id": object_id,
        "camera": camera,
        "category": CATEGORY,
        "purposes": "security",
        "source": SOURCE,
        "media_type": "image/jpeg",
        "source_name": f"camera/photo/{place}.jpg",
        "captured_from_ms": moment.agent_ms - 1,
        "captured_to_ms": moment.agent_ms,
        "taken_in_ms": moment.agent_ms,
        "plain_bytes": len(_PLAIN),
        "size_bytes": len(made.payload),
        "payload_sha256": made.sha256,
        "header_sha256": made.sha256,
        "kind": "file-key",
        "state": "sealed",
        "upload": "",
        "source_copy": "taken",
        "medium": "tmpfs",
        "recipients": made.recipients,
        "source_gone": 1,
        "source_folder": 0,
        "source_sha256": b"",
        "source_tag": os.urandom(32),
        "content_tag": os.urandom(32),
    }
