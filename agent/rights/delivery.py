"""Exports that go to a third party whom the owner named: which file is next, and what was handed out to whom.

Rules: the manifest goes last, so that whoever has it has all; a file is noted as taken when the server said so, never
before; what was handed out is remembered while the object is held, for its owner alone.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from agent.clock import rfc3339_ms
from agent.index import Tx
from agent.index import delivery as rows
from agent.model import Moment

KEPT: Final = 200
"""Deliveries that are remembered; the receipts of older ones are with their owner."""

TOLD_MAX: Final = 8

FILES_TOLD: Final = 100
"""Files that a receipt names; the manifest, always the first, names all."""


class ToPut(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is put next."""

    n: int
    name: str
    bytes: int
    sha256: str


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An export on its way, or handed out."""

    party: str
    host: str
    state: str
    objects: int
    bytes: int
    files: int
    certificate_sha256: str
    delivered_ms: int | None


def begin(
    tx: Tx, export: str, *, party: str, host: str, objects: Iterable[str], files: Iterable[tuple[str, int, str]]
) -> None:
    """Note, in the transaction of the finished export, that its files are put from now on; the manifest is first."""
    manifest, *others = files
    rows.begin(tx, export, party=party, host=host, objects=objects, files=(*others, manifest))


def get(tx: Tx, export: str) -> Delivery | None:
    """Return a delivery."""
    found = rows.get(tx, export)
    return None if found is None else Delivery(**dict(zip(Delivery.__struct_fields__, found, strict=True)))


def next_file(tx: Tx, export: str) -> ToPut | None:
    """Return the file to put next; ``None`` when all were taken."""
    found = rows.next_file(tx, export)
    return None if found is None else ToPut(**dict(zip(ToPut.__struct_fields__, found, strict=True)))


def taken(tx: Tx, export: str, file: ToPut, *, certificate_sha256: str) -> None:
    """Note that the server said that it has a file."""
    rows.taken(tx, export, file.n, certificate_sha256=certificate_sha256)


def delivered(tx: Tx, export: str, *, moment: Moment) -> None:
    """Note that the server has all."""
    rows.delivered(tx, export, at_ms=moment.agent_ms, keep=KEPT)


def drop(tx: Tx, export: str) -> None:
    """Forget a delivery that came to nothing."""
    rows.drop(tx, export)


def told(tx: Tx, export: str, *, recipients: tuple[str, ...], why: str = "") -> dict[str, Any]:
    """Return the ``export`` claim of a receipt, with how much the server took by its own word; before ``delivered``."""
    found = get(tx, export)
    assert found is not None  # noqa: S101 - a caller's mistake
    delivery: dict[str, Any] = {
        "party": found.party,
        "host": found.host,
        "files": found.files,
        "taken": found.files - rows.files_left(tx, export),
        "state": "failed" if why else "delivered",
    }
    if found.certificate_sha256:
        delivery["certificate_sha256"] = found.certificate_sha256
    if why:
        delivery["why"] = why
    files = [
        {"name": name, "bytes": size_bytes, "sha256": sha256}
        for name, size_bytes, sha256 in rows.files(tx, export, limit=FILES_TOLD)
    ]
    return {"object": export, "files": files, "recipients": list(recipients), "delivery": delivery}


def copies(tx: Tx, object_id: str) -> list[dict[str, Any]]:
    """Return where an object was handed out to, as ``explain`` tells of copies."""
    return [
        {
            "where": f"third party {party} ({host})",
            "state": "handed out" if state == "delivered" else "being handed out",
            "export": export,
            **({} if delivered_ms is None else {"since": rfc3339_ms(delivered_ms)}),
        }
        for export, party, host, state, delivered_ms in rows.of_object(tx, object_id, limit=TOLD_MAX)
    ]
