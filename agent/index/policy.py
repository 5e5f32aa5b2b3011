"""Tables of the policy: the document in force, the file that proposes, and how far each signer has counted."""

from collections.abc import Iterable
from typing import Any, Final

from agent.index.transaction import Tx

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- The document that is obeyed, whole. One row.
    CREATE TABLE policy_document (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        document BLOB    NOT NULL,  -- TOML, as it was written
        sha256   TEXT    NOT NULL,  -- of those bytes
        signed   BLOB    NOT NULL,  -- the JWS that brought it; empty for one that came as a file
        by       TEXT    NOT NULL,  -- kid of its signer, or 'local'
        revision INTEGER NOT NULL,  -- of its signer; 0 for a file
        since_ms INTEGER NOT NULL,  -- agent time
        bound    INTEGER NOT NULL   -- 1: an agent has run under it, and another one is compared with it
    ) STRICT;

    -- The policy file as it was seen last, and its document where that waits for the owner. One row.
    CREATE TABLE policy_file (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        sha256   TEXT    NOT NULL,
        waiting  TEXT    NOT NULL,  -- random id that an approve names, or ''
        document BLOB    NOT NULL   -- empty where nothing waits
    ) STRICT;

    -- The highest revision of each key that was put in force.
    CREATE TABLE policy_revision (
        kid      TEXT    NOT NULL PRIMARY KEY,
        revision INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Before, only the hash of a document was known: the file's. The file is taken once more.
    INSERT INTO policy_file SELECT 1, sha256, '', x'' FROM policy_in_force;
    DROP TABLE policy_in_force;
    """,
    """
    -- What the owner had no part in deletes with more care; of a document from before that is not known.
    ALTER TABLE policy_document ADD COLUMN owners INTEGER NOT NULL DEFAULT 1;  -- 0: a backend alone put it in force
    """,
    """
    -- The newest word of an owner's client on the policy: a document that it signed, or an approve. One row.
    CREATE TABLE policy_word (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        kid      TEXT    NOT NULL,
        seq      INTEGER NOT NULL,
        iat_s    INTEGER NOT NULL
    ) STRICT;
    """,
    """
    -- Recipients that were the owner's in a policy, and were not in the one that followed: what was sealed to them is
    -- its owner's all the same.
    CREATE TABLE owner_before (
        n         INTEGER PRIMARY KEY,       -- in the order in which they were first given up
        recipient TEXT    NOT NULL UNIQUE
    ) STRICT;
    """,
)


def read_document(tx: Tx) -> dict[str, Any] | None:
    """Return the row by column name, or ``None`` before the first document."""
    names = ("document", "sha256", "signed", "by", "revision", "since_ms", "bound", "owners")
    rows = tx.execute(f"SELECT {', '.join(names)} FROM policy_document WHERE only_row = 1")  # noqa: S608 - our own names
    return dict(zip(names, rows[0], strict=True)) if rows else None


def write_document(
    tx: Tx,
    document: bytes,
    *,
    sha256: str,
    signed: bytes,
    by: str,
    revision: int,
    since_ms: int,
    bound: bool,
    owners: bool,
) -> None:
    """Replace the row."""
    tx.execute(
        "INSERT OR REPLACE INTO policy_document VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (document, sha256, signed, by, revision, since_ms, int(bound), int(owners)),
    )


def note_owners_before(tx: Tx, recipients: Iterable[str], *, limit: int) -> None:
    """Note recipients as the owner's of before, and forget the oldest above a limit."""
    tx.executemany("INSERT OR IGNORE INTO owner_before (recipient) VALUES (?)", ((one,) for one in recipients))
    tx.execute("DELETE FROM owner_before WHERE n <= (SELECT max(n) FROM owner_before) - ?", (limit,))


def owners_before(tx: Tx) -> list[str]:
    """Return the recipients that were the owner's, oldest first."""
    return [row[0] for row in tx.execute("SELECT recipient FROM owner_before ORDER BY n")]


def bind(tx: Tx) -> None:
    """Note that an agent runs under the document in force."""
    tx.execute("UPDATE policy_document SET bound = 1 WHERE only_row = 1")


def read_file(tx: Tx) -> tuple[str, str, bytes]:
    """Return (sha256, waiting, document) of the file; empty before it was seen."""
    rows = tx.execute("SELECT sha256, waiting, document FROM policy_file WHERE only_row = 1")
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else ("", "", b"")


def write_file(tx: Tx, sha256: str, *, waiting: str = "", document: bytes = b"") -> None:
    """Replace the row."""
    tx.execute("INSERT OR REPLACE INTO policy_file VALUES (1, ?, ?, ?)", (sha256, waiting, document))


def revision_of(tx: Tx, kid: str) -> int:
    """Return the highest revision of a key that was put in force; 0 before the first."""
    rows = tx.execute("SELECT revision FROM policy_revision WHERE kid = ?", (kid,))
    return int(rows[0][0]) if rows else 0


def note_revision(tx: Tx, kid: str, revision: int, *, keys: tuple[str, ...]) -> None:
    """Note the revision of a key, and forget those of keys that are in no key set any more."""
    known = ", ".join("?" for _ in keys)
    tx.execute(f"DELETE FROM policy_revision WHERE kid NOT IN ({known})", keys)  # noqa: S608 - question marks alone
    tx.execute("INSERT OR REPLACE INTO policy_revision VALUES (?, ?)", (kid, revision))


def word(tx: Tx) -> tuple[str, int, int] | None:
    """Return (kid, seq, iat_s) of the newest word of an owner's client; ``None`` before the first."""
    rows = tx.execute("SELECT kid, seq, iat_s FROM policy_word WHERE only_row = 1")
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


def set_word(tx: Tx, kid: str, *, seq: int, iat_s: int) -> None:
    """Replace the row."""
    tx.execute("INSERT OR REPLACE INTO policy_word VALUES (1, ?, ?, ?)", (kid, seq, iat_s))
