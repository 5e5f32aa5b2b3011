"""The peer of a vault of many objects: a plain SQLite file with rows of the same values and size, and their indexes.

It syncs as the agent's index does (WAL, ``synchronous=FULL``); it encrypts nothing, proves nothing and has no files.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.bench.meter import now_s

HEADER_BYTES: Final = 1_800
"""Of one post-quantum recipient, sealed."""

PART: Final = 500
_AT_ONCE: Final = 131_072

_SCHEMA: Final = """
CREATE TABLE object (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, camera INTEGER NOT NULL, category TEXT NOT NULL, name TEXT NOT NULL,
  taken_in_ms INTEGER NOT NULL, size_bytes INTEGER NOT NULL, sha256 BLOB NOT NULL, source_tag BLOB NOT NULL UNIQUE,
  content_tag BLOB NOT NULL, slot BLOB NOT NULL, header BLOB NOT NULL
);
CREATE INDEX object_of_set ON object (camera, category, n, size_bytes, id);
"""
_INSERT: Final = "INSERT INTO object VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class PlainRows:
    """The file at ``path``, with so many rows, of ten cameras in turn."""

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        self._count = count
        self.insert_ms: list[float] = []
        self.delete_ms: list[float] = []
        self.many_s = 0.0
        with closing(self._opened()) as db:
            db.executescript(_SCHEMA)
            db.execute("PRAGMA cache_size = -2097152")
            for start in range(0, count, _AT_ONCE):
                with db:
                    db.executemany(_INSERT, self._rows(start, min(count, start + _AT_ONCE)))

    def measure(self, *, inserts: int, deletes: int) -> None:
        """Insert and delete rows one by one, then delete all of the last camera."""
        with closing(self._opened()) as db:
            for row in self._rows(self._count, self._count + inserts):
                self.insert_ms.append(_ms(db, _INSERT, row))
            step = self._count // deletes | 1
            for n in range(0, self._count, step):
                ((name,),) = db.execute("SELECT id FROM object WHERE n = ?", (n,)).fetchall()
                self.delete_ms.append(_ms(db, "DELETE FROM object WHERE id = ?", (name,)))
            begin_s = now_s()
            names = db.execute("SELECT id FROM object WHERE camera = 9 ORDER BY n").fetchall()
            for start in range(0, len(names), PART):
                with db:
                    db.executemany("DELETE FROM object WHERE id = ?", names[start : start + PART])
            self.many_s = now_s() - begin_s

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        return db

    def _rows(self, start: int, end: int) -> Iterator[tuple[Any, ...]]:
        for n in range(start, end):
            name = os.urandom(13).hex()
            blobs = (os.urandom(size) for size in (32, 32, 32, 44, HEADER_BYTES))
            yield n, name, n % 10, "photo", f"camera/photo/{n}.jpg", n, 2_000, *blobs


def _ms(db: sqlite3.Connection, sql: str, row: tuple[Any, ...]) -> float:
    begin_s = now_s()
    with db:
        db.execute(sql, row)
    return (now_s() - begin_s) * 1000
