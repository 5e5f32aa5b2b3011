"""What the owner's tool reads: receipts, alerts, states, exports' manifests, audit logs, records and the sheet."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import age, chain
from agent.envelope import MAX_MANIFEST_BYTES, TYP, TYP_EXPORT, Kind, decode_strictly
from agent.envelope.json import encode
from agent.errors import ConfigError, CorruptError
from agent.model import Moment, Selection
from agent.owner import said, show
from agent.owner.manifest import Manifest, read_manifest, signer_of
from agent.owner.receipt import Receipt, jws_of, read_alert, read_receipt, read_state
from agent.owner.sheet import read_sheet, write_sheet
from agent.shell.times import parse_until, parse_when, when, when_text
from tests.docs.make_vectors import NOW_S
from tests.fuzz.target import Target, text, words
from tests.fuzz.vectors import IDENTITIES, PARTIES, claims, descriptor, payloads, sign, signed

DEVICE: Final = descriptor("device")
LARGE: Final = 8192
_ID: Final = "k3x4" + "a" * 22
_HASH: Final = "0" * 64
NOW: Final = Moment(agent_ms=NOW_S * 1000, wall_ms=NOW_S * 1000, trusted=True)


def shown(receipt: Receipt) -> None:
    """Show a receipt in every way that the commands do."""
    show.progress(receipt)
    show.news(receipt)
    show.end(receipt)
    show.shortfall(receipt)
    show.after_refusal(receipt)
    show.waits_for(receipt)
    show.unread(receipt.cursor)
    told = receipt.outcomes or ()
    show.held(told, Selection(all=True), own=())
    msgspec.json.encode(show.held_facts(told))
    show.missing(told)
    assert receipt.head.seq >= 0


def receipt(raw: bytes) -> object:
    """Read the claims of a receipt and show them."""
    found = read_receipt(signed(raw, typ=TYP["receipt"], party="device"), device=DEVICE, kid="")
    shown(found)
    return found


def alert(raw: bytes) -> object:
    """Read the claims of an alert and show them."""
    return show.alert(read_alert(signed(raw, typ=TYP["alert"], party="device"), device=DEVICE, kid=""))


def state(raw: bytes) -> object:
    """Read the claims of a state."""
    return read_state(b"\x40" + signed(raw, typ=TYP["state"], party="device"), device=DEVICE)


def sealed(raw: bytes) -> object:
    """Unseal an answer as a payload, a sealed body or a line, and read what it is."""
    kind: Kind = "alert" if raw[:1] == b"\x50" else "receipt"
    found = jws_of(raw, kind=kind, identities=IDENTITIES)
    return (read_alert if kind == "alert" else read_receipt)(found, device=DEVICE, kid="")


def manifest(raw: bytes) -> object:
    """Read the claims of an export's manifest, and name its files."""
    line = signed(raw, typ=TYP_EXPORT, party="device")
    signer_of(line)
    found: Manifest = read_manifest(line, device=DEVICE)
    for item in found.objects:
        name = item.safe_name()
        assert name == name.strip(".").replace("/", "")
    return found


def manifest_line(raw: bytes) -> object:
    """Read an export's manifest as it is when it was unsealed."""
    assert len(raw) <= MAX_MANIFEST_BYTES
    signer_of(raw)
    return read_manifest(raw, device=DEVICE)


def records(raw: bytes) -> object:
    """Say a consent record in a line."""
    return said.line(decode_strictly(raw, max_bytes=LARGE))


def log(raw: bytes) -> object:
    """Judge an audit log."""
    return chain.verify_lines(raw.splitlines(keepends=True), jwk=PARTIES["device"]["jwk"]).sentence()


def log_anchored(raw: bytes) -> object:
    """Judge an audit log whose second entry is known."""
    anchor = chain.Head(2, chain.line_hash(LOG[1]))
    return chain.verify_lines(raw.splitlines(keepends=True), jwk=PARTIES["device"]["jwk"], anchor=anchor)


def sheet(raw: bytes) -> object:
    """Read a recovery sheet that was typed."""
    return read_sheet(text(raw)).name


def times(raw: bytes) -> object:
    """Read a time that was typed, and a time that was sent."""
    when_text(words(raw))
    parse_until(words(raw), now_ms=NOW.agent_ms)
    return when(parse_when(words(raw), now_ms=NOW.agent_ms))


def _log() -> tuple[bytes, ...]:
    first = chain.entry_line(chain.Event(kind="started"), head=chain.EMPTY, moment=NOW)
    head = chain.Head(1, chain.line_hash(first))
    event = chain.Event(kind="admitted", object=_ID, rule="frigate", detail={"bytes": 7, "why": "code"})
    second = chain.entry_line(event, head=head, moment=NOW)
    head = chain.Head(2, chain.line_hash(second))
    mark = chain.checkpoint_line(head, partial(sign, "device"), alg="EdDSA", kid=PARTIES["device"]["kid"], moment=NOW)
    return first, second, mark


LOG: Final = _log()


def logs() -> Iterator[bytes]:
    """Yield a log with a checkpoint, one that goes on, and one without an end."""
    yield b"\n".join(LOG) + b"\n"
    yield b"\n".join(LOG[:2])
    yield b"\n".join(LOG[1:])


def receipts() -> Iterator[bytes]:
    """Yield the vectors' receipts, and one that tells all that a receipt can."""
    yield from claims("receipt")
    base: dict[str, Any] = {
        "iss": DEVICE.name, "aud": PARTIES["client"]["kid"], "iat": NOW_S, "jti": _ID, "cmd": _ID, "verb": "export",
        "status": "partial", "seq": 3, "audit_head": {"seq": 2, "hash": _HASH}, "protection": "software",
    }  # fmt: skip
    held = {
        "camera": "k3x9", "camera_label": "door", "category": "usage-log", "captured_from": "2026-11-22T10:15:00.000Z",
        "bytes": 10, "state": "sealed", "until": "2026-12-22T10:15:00.000Z", "name": "a", "fields": {"lines": 3},
        "restrictions": ["x"], "holds": [],
    }  # fmt: skip
    outcome = {
        "id": _ID, "result": "source_copy_remains", "remarks": ["medium_clear"], "stated_by": PARTIES["store"]["kid"],
        "camera_stated_by": PARTIES["device"]["kid"], "exports": [_ID],
    }  # fmt: skip
    file = {"bytes": 4, "sha256": _HASH, "name": "part-001.zip.age"}
    delivery = {
        "party": "Eva", "host": "host.example", "files": 2, "taken": 1, "state": "given_up",
        "certificate_sha256": _HASH, "why": "rejected",
    }  # fmt: skip
    request = {
        "command": _ID, "verb": "erase-all", "asked": "2026-11-22T10:15:00.000Z", "due": "2026-12-10T10:15:00.000Z",
        "state": "open", "working_days_left": 14, "answered": "", "status": "done",
    }  # fmt: skip
    farewell = {"phase": 1, "cloud": "unconfirmed", "cameras": "confirmed", "held": 1, "deadline": "x"}
    more: tuple[dict[str, Any], ...] = (
        {"outcomes": [outcome | {"object": held}, outcome], "selection": {"count": 2, "hash": _HASH}},
        {"outcomes": [outcome, outcome | {"result": "held"}], "progress": {"done": 1, "total": 2}},
        {"export": {"object": _ID, "files": [file], "recipients": ["age1x"], "delivery": delivery}},
        {"requests": [request, request | {"state": "answered"}], "due": "2026-12-10T10:15:00.000Z"},
        {"farewell": farewell},
        {"late": {"destroyed": 1, "remaining": 2}, "covers": {"objects": 1, "bytes": 2}, "verb": "hold"},
        {"status": "refused", "reason": "stale_seq", "retry": "after_fix", "detail": "why", "next_seq": 9},
        {"status": "waiting", "reason": "quota_exceeded", "outcomes_hash": _HASH, "cursor": "abc.def"},
        {"records": [_RECORD], "remarks": ["best_effort"]},
    )
    yield from (encode(base | one) for one in more)


_RECORD: Final = {
    "dpv:hasIdentifier": _ID,
    "dpv:hasProcess": [
        {
            "dpv:hasConsentStatus": [
                {
                    "@type": ["dpv:ConsentGiven"],
                    "dpv:isIndicatedBy": PARTIES["client"]["kid"],
                    "dpv:isIndicatedAtTime": "2026-11-22T10:15:00.000Z",
                }
            ],
            "dpv:hasPurpose": [{"dpv:hasIdentifier": "diagnosis"}],
            "dpv:hasPersonalData": [{"skos:prefLabel": "usage-log"}],
        }
    ],
    "dpv:hasEntity": {PARTIES["client"]["kid"]: {"dpv:hasName": "Ada"}},
    "dpv:hasNotice": [{"dpv:hasIdentifier": "sha256:" + _HASH}],
}


def manifests() -> Iterator[bytes]:
    """Yield manifests of both forms."""
    item = {
        "id": _ID, "camera": "k3x9", "camera_label": "door", "category": "recording",
        "captured_from": "2026-11-22T10:15:00.000Z", "media_type": "video/mp4", "bytes": 7,
    }  # fmt: skip
    base: dict[str, Any] = {"v": 1, "iss": DEVICE.name, "iat": NOW_S, "export": _ID, "recipients": ["age1x"]}
    name = f"{_ID}.age"
    one = {"name": name, "bytes": 9, "sha256": _HASH}
    gone = [{"id": _ID, "result": "held"}]
    yield encode(base | {"form": "objects", "files": [one], "objects": [item | {"file": name}], "left_out": gone})
    part = one | {"name": "part-001.zip.age"}
    entry = item | {"part": part["name"], "files": ["recordings/door.mp4"]}
    yield encode(base | {"form": "zip", "files": [part], "objects": [entry]})


def sheets() -> Iterator[bytes]:
    """Yield a sheet of keys that everybody has, of either kind of identity."""
    for number in (1, 2):
        root = Ed25519PrivateKey.from_private_bytes(bytes((number,)) * 32)
        identity = age.generate_identity(post_quantum=number == 1, random=bytes)
        yield write_sheet(root, identity, name="Ada", fingerprint="0b20", made="2026", file="sheet.txt").encode()


_BAD: Final = (CorruptError,)

TARGETS: Final = (
    Target(name="receipt", read=receipt, declared=_BAD, seeds=receipts),
    Target(name="alert", read=alert, declared=_BAD, seeds=lambda: claims("alert")),
    Target(name="state", read=state, declared=_BAD, seeds=lambda: claims("state")),
    Target(name="answer-sealed", read=sealed, declared=_BAD, seeds=lambda: payloads("rcpt", "alert"), largest=LARGE),
    Target(name="manifest", read=manifest, declared=_BAD, seeds=manifests),
    Target(
        name="manifest-line",
        read=manifest_line,
        declared=_BAD,
        seeds=lambda: (signed(raw, typ=TYP_EXPORT, party="device") for raw in manifests()),
    ),
    Target(name="consent-record", read=records, declared=_BAD, seeds=lambda: (encode(_RECORD),)),
    Target(name="audit-log", read=log, declared=_BAD, seeds=logs),
    Target(name="audit-log-anchored", read=log_anchored, declared=_BAD, seeds=logs),
    Target(name="recovery-sheet", read=sheet, declared=(ConfigError,), seeds=sheets),
    Target(
        name="times",
        read=times,
        declared=(ConfigError,),
        seeds=lambda: (b"2026-03-01T10:15:00Z", b"36h", b"now", b"2026-03-01 10:15:00 +0100", b"2026-W10-1"),
    ),
)
