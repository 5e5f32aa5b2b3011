"""Exports that go to a third party whom the owner named: which file is next, and what was handed out to whom.

Rules: the manifest goes last, so that whoever has it has all; a file is noted as taken when the server said so, never
before; how it ends is written before anything of it goes; what was handed out, of one that failed too, is remembered
while the object is held, for its owner alone.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from agent.clock import rfc3339_ms
from agent.ids import Ids
from agent.index import Tx
from agent.index import delivery as rows
from agent.model import Moment, Outcome

KEPT: Final = 200
"""Deliveries that are remembered; the receipts of older ones are with their owner."""

TOLD_MAX: Final = 8

_SAID: Final = {"delivered": "handed out", "failed": "handed out, then ended"}

FILES_TOLD: Final = 100
"""Files that a receipt names; the manifest, always the first, names all."""

_PAGE: Final = 500


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
    why: str
    objects: int
    bytes: int
    files: int
    certificate_sha256: str
    ended_ms: int | None


def begin(
    tx: Tx,
    export: str,
    *,
    party: str,
    host: str,
    objects: Iterable[tuple[str, str]],
    files: Iterable[tuple[str, int, str]],
) -> None:
    """Note, in the transaction of the finished export, that its files are put from now on; the manifest is first.

    ``objects`` are (id, name of the file that it is in).
    """
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


def files_left(tx: Tx, export: str) -> int:
    """Return how many files the server does not have yet."""
    return rows.files_left(tx, export)


def taken(tx: Tx, export: str, file: ToPut, *, certificate_sha256: str) -> None:
    """Note that the server said that it has a file."""
    rows.taken(tx, export, file.n, certificate_sha256=certificate_sha256)


def objects_in(tx: Tx, export: str, file: ToPut) -> tuple[str, ...]:
    """Return the objects that a file holds."""
    return rows.in_file(tx, export, file.name)


def covering(tx: Tx, ids: Ids) -> tuple[str, ...]:
    """Return the exports whose files are put, and that hold one of some objects."""
    return tuple(export for export in rows.under_way(tx) if any(object_id in ids for object_id in objects(tx, export)))


def objects(tx: Tx, export: str) -> Iterator[str]:
    """Yield the objects that are in an export, sorted."""
    after = ""
    while page := rows.objects(tx, export, after=after, limit=_PAGE):
        yield from (row[0] for row in page)
        after = page[-1][0]


def ending(tx: Tx, export: str, *, why: str) -> None:
    """Write how it ends, ``why`` it failed or "" where the server has all, before the folder goes."""
    rows.ending(tx, export, why=why)


def ended(tx: Tx, export: str, *, moment: Moment) -> None:
    """Note that nothing more is put, and forget the objects that the server does not have."""
    rows.ended(tx, export, at_ms=moment.agent_ms, keep=KEPT)


def not_taken(tx: Tx, export: str) -> Iterator[tuple[Outcome, ...]]:
    """Yield, in parts, the outcomes of the objects that the server does not have; before ``ended``."""
    after = ""
    while page := rows.objects(tx, export, after=after, limit=_PAGE):
        yield tuple(
            Outcome(id=object_id, result="failed") for object_id, file in page if not rows.is_taken(tx, export, file)
        )
        after = page[-1][0]


def told(tx: Tx, export: str, *, recipients: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the ``export`` claim of a receipt, with how much the server took by its own word; before ``ended``.

    ``None`` where it is gone, as when its owner left.
    """
    found = get(tx, export)
    if found is None:
        return None
    why = found.why
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
            "state": _SAID.get(state, "being handed out"),
            "export": export,
            **({} if ended_ms is None else {"since": rfc3339_ms(ended_ms)}),
        }
        for export, party, host, state, ended_ms in rows.of_object(tx, object_id, limit=TOLD_MAX)
    ]
