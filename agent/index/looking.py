"""The index read by somebody who changes nothing: while no agent works in the vault, and without finishing its work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from agent.index.opening import damaged, open_to_look
from agent.index.transaction import Tx


@contextmanager
def looking(path: Path, *, key: bytes) -> Iterator[Tx]:
    """Yield one transaction that reads; every byte on disk is as it was afterwards.

    Raises what opening the index raises, ``ConfigError`` also for one that a start would first migrate.
    """
    connection = open_to_look(path, key)
    try:
        tx = Tx(connection)
        connection.execute("BEGIN")
        yield tx
        tx.end()
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise damaged(path, error) from error
    finally:
        connection.close()
