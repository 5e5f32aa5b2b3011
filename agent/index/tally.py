"""Rows of ``agent/tally.py``: what field rules did to usage logs."""

from collections.abc import Sequence
from typing import Final

from agent.index.transaction import Row, Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- What field rules did to the log that became an object; it goes with the object. Numbers only, as in
    -- agent/policy/fields/tally.py.
    CREATE TABLE tally (
        object     INTEGER PRIMARY KEY REFERENCES object (n) ON DELETE CASCADE,
        lines      INTEGER NOT NULL,
        bad_lines  INTEGER NOT NULL,
        bare_lines INTEGER NOT NULL,
        unknown    INTEGER NOT NULL,
        dropped    INTEGER NOT NULL,
        unfit      INTEGER NOT NULL,
        changed    INTEGER NOT NULL
    ) STRICT;

    -- The sums of all that was ever taken in, by the source's name in agent.toml. They stay.
    CREATE TABLE tally_sum (
        source     TEXT    PRIMARY KEY,
        lines      INTEGER NOT NULL,
        bad_lines  INTEGER NOT NULL,
        bare_lines INTEGER NOT NULL,
        unknown    INTEGER NOT NULL,
        dropped    INTEGER NOT NULL,
        unfit      INTEGER NOT NULL,
        changed    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
)

_NUMBERS: Final = ("lines", "bad_lines", "bare_lines", "unknown", "dropped", "unfit", "changed")
_NAMES: Final = ", ".join(_NUMBERS)
_MARKS: Final = ", ".join("?" for _ in _NUMBERS)


def insert(tx: Tx, object_id: str, numbers: Sequence[int]) -> None:
    """Add the numbers of an object that is there."""
    tx.execute(
        f"INSERT INTO tally (object, {_NAMES}) SELECT n, {_MARKS} FROM object WHERE id = ?",  # noqa: S608 - our own words
        (*numbers, object_id),
    )


def add(tx: Tx, source: str, numbers: Sequence[int]) -> None:
    """Add numbers to a source's sums."""
    sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in _NUMBERS)
    tx.execute(
        f"INSERT INTO tally_sum (source, {_NAMES}) VALUES (?, {_MARKS}) ON CONFLICT (source) DO UPDATE SET {sums}",  # noqa: S608 - the same
        (source, *numbers),
    )


def of_object(tx: Tx, object_id: str) -> Row | None:
    """Return the numbers of an object, if it has any."""
    found = tx.execute(
        f"SELECT {_NAMES} FROM tally WHERE object = (SELECT n FROM object WHERE id = ?)",  # noqa: S608 - the same
        (object_id,),
    )
    return found[0] if found else None


def sums(tx: Tx) -> Sequence[Row]:
    """Return (source, numbers …) of all sources, by name."""
    return tx.execute(f"SELECT source, {_NAMES} FROM tally_sum ORDER BY source")  # noqa: S608 - the same
