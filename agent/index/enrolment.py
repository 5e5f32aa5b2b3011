"""Rows of ``agent/enrolment.py``: the cameras that are enrolled, and the key that this agent shows them."""

from typing import Final

from agent.index.transaction import Row, Tx

COLUMNS: Final = (
    "camera", "device", "level", "kid", "certificate_sha256", "endpoint", "name", "advert_key", "enrolled_ms",
)  # fmt: skip

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    -- A camera that a person enrolled. Nothing that is heard on a network or by radio writes here (invariant I10).
    CREATE TABLE enrolled_camera (
        camera             TEXT    NOT NULL PRIMARY KEY,  -- id in the table camera, which keeps it while this row is
        device             TEXT    NOT NULL,              -- its own id, as its label says; '' unless proved
        level              TEXT    NOT NULL,              -- proved | pinned | configured
        kid                TEXT    NOT NULL,              -- thumbprint of its device key (RFC 7638); '' unless proved
        certificate_sha256 BLOB    NOT NULL,              -- 32 bytes of a pinned one; else empty
        endpoint           TEXT    NOT NULL,              -- host:port or URL; '' is wherever it is heard
        name               TEXT    NOT NULL,              -- what its owner calls it: personal
        advert_key         BLOB    NOT NULL,              -- 32 bytes that its rotating ids are made with; else empty
        enrolled_ms        INTEGER NOT NULL               -- agent time, Unix milliseconds
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX enrolled_camera_device ON enrolled_camera (device) WHERE device != '';
    CREATE UNIQUE INDEX enrolled_camera_kid ON enrolled_camera (kid) WHERE kid != '';
    CREATE UNIQUE INDEX enrolled_camera_endpoint ON enrolled_camera (endpoint) WHERE endpoint != '';

    -- The P-256 key and the certificate that this agent shows to every camera with a camera link. One row.
    CREATE TABLE link_identity (
        only_row        INTEGER PRIMARY KEY CHECK (only_row = 1),
        key_pem         BLOB    NOT NULL,
        certificate_pem BLOB    NOT NULL
    ) STRICT;
    """,
    """
    -- Where an enrolled camera gave whole answers last, over a session that proved its key: where it is looked for
    -- first after a start. It is trusted as little as any other address.
    CREATE TABLE enrolled_camera_address (
        camera TEXT    NOT NULL PRIMARY KEY REFERENCES enrolled_camera (camera) ON DELETE CASCADE,
        host   TEXT    NOT NULL,  -- an IP address, with its zone where it has one
        port   INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
)

_ALL: Final = f"SELECT {', '.join(COLUMNS)} FROM enrolled_camera"  # noqa: S608 - our own names


def insert(tx: Tx, row: Row) -> None:
    """Add an enrolled camera; ``row`` has the columns in order."""
    marks = ", ".join("?" for _ in COLUMNS)
    tx.execute(f"INSERT INTO enrolled_camera ({', '.join(COLUMNS)}) VALUES ({marks})", row)  # noqa: S608 - our own


def delete(tx: Tx, camera: str) -> None:
    """Remove an enrolled camera."""
    tx.execute("DELETE FROM enrolled_camera WHERE camera = ?", (camera,))


def change(tx: Tx, camera: str, *, endpoint: str, name: str) -> None:
    """Replace where an enrolled camera may be and what it is called."""
    tx.execute("UPDATE enrolled_camera SET endpoint = ?, name = ? WHERE camera = ?", (endpoint, name, camera))


def all_of(tx: Tx) -> list[Row]:
    """Return every row, the one enrolled first comes first."""
    return tx.execute(f"{_ALL} ORDER BY enrolled_ms, camera")


def of_camera(tx: Tx, camera: str) -> list[Row]:
    """Return the row of a camera."""
    return tx.execute(f"{_ALL} WHERE camera = ?", (camera,))


def of_device(tx: Tx, device: str) -> list[Row]:
    """Return the row of a camera's own id."""
    return tx.execute(f"{_ALL} WHERE device = ? AND device != ''", (device,))


def of_kid(tx: Tx, kid: str) -> list[Row]:
    """Return the row of a device key."""
    return tx.execute(f"{_ALL} WHERE kid = ? AND kid != ''", (kid,))


def of_endpoint(tx: Tx, endpoint: str) -> list[Row]:
    """Return the row of an endpoint."""
    return tx.execute(f"{_ALL} WHERE endpoint = ? AND endpoint != ''", (endpoint,))


def set_advert_key(tx: Tx, camera: str, advert_key: bytes) -> None:
    """Keep the key of a camera's rotating ids."""
    tx.execute("UPDATE enrolled_camera SET advert_key = ? WHERE camera = ?", (advert_key, camera))


def served_at(tx: Tx) -> list[Row]:
    """Return (camera, host, port) of all that gave whole answers."""
    return tx.execute("SELECT camera, host, port FROM enrolled_camera_address")


def keep_served_at(tx: Tx, camera: str, *, host: str, port: int) -> None:
    """Keep where a camera gave whole answers last."""
    tx.execute("INSERT OR REPLACE INTO enrolled_camera_address VALUES (?, ?, ?)", (camera, host, port))


def link_identity(tx: Tx) -> tuple[bytes, bytes] | None:
    """Return (key, certificate) in PEM."""
    rows = tx.execute("SELECT key_pem, certificate_pem FROM link_identity WHERE only_row = 1")
    return (rows[0][0], rows[0][1]) if rows else None


def insert_link_identity(tx: Tx, *, key_pem: bytes, certificate_pem: bytes) -> None:
    """Keep the one link identity."""
    tx.execute("INSERT INTO link_identity VALUES (1, ?, ?)", (key_pem, certificate_pem))
