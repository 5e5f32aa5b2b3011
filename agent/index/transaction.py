"""A running transaction, as the files of this package see it; everybody else passes it on without looking inside.

Rules: whatever a statement answers is fetched at once (the driver runs a script of several statements only as far as
its rows are asked for), so no statement stays open across a checkpoint; and a transaction that has ended is of no use.
What must be done in memory because of a transaction is handed to ``then``: it happens when the commit is durable, or
not at all.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw

Value = None | int | float | str | bytes
Row = tuple[Any, ...]


class Tx:
    """One transaction; made only by ``Index`` and valid only inside the function that it was given to."""

    __slots__ = ("_connection", "_over", "followers", "statements")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._over = False
        self.statements = 0
        self.followers: list[Callable[[], object]] = []

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Run one statement (or a script without parameters) and return all of its rows."""
        assert not self._over, "a transaction was used after its end"  # noqa: S101 - a caller's mistake
        self.statements += 1
        return self._connection.execute(sql, tuple(params)).fetchall()

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement once for each row of parameters."""
        assert not self._over, "a transaction was used after its end"  # noqa: S101 - a caller's mistake
        self.statements += 1
        self._connection.executemany(sql, (tuple(row) for row in rows)).fetchall()

    def write_large(self, table: str, column: str, rowid: int, value: bytes) -> None:
        """Fill a value that was inserted as that many zeros (``zeroblob``): a parameter is in memory three times."""
        assert not self._over, "a transaction was used after its end"  # noqa: S101 - a caller's mistake
        self.statements += 1
        with self._connection.blob_open("main", table, column, rowid, True) as blob:  # noqa: FBT003 - its argument has no name
            blob.write(value)

    def read_large(self, table: str, column: str, rowid: int) -> bytes:
        """Return a large value: in a row of ``execute`` it would be in memory twice."""
        assert not self._over, "a transaction was used after its end"  # noqa: S101 - a caller's mistake
        self.statements += 1
        with self._connection.blob_open("main", table, column, rowid, False) as blob:  # noqa: FBT003 - the same
            value: bytes = blob.read()
        return value

    def changes(self) -> int:
        """Return how many rows the last statement changed."""
        return self._connection.changes()

    def then(self, follow: Callable[[], object]) -> None:
        """Have ``follow`` called on the index's thread once this is durable, before ``write`` returns; it is quick."""
        self.followers.append(follow)

    def end(self) -> None:
        """Refuse all further use; called by ``Index`` alone."""
        self._over = True
