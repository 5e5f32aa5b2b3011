"""The store's flow of docs/protocol.md §6: one worker thread reads, one thread syncs and acknowledges.

Rules:
- Nothing a device says counts before its signature holds, except chunk bytes, which only the manifest's hash judges.
- Nothing is answered before the shelf made it durable.
- A payload is written in order. What arrives ahead of a gap waits in memory (bounded); when more keeps coming, a
  ``go`` asks for the missing part.
- All of a device's messages take one queue, which is bounded: a full one holds the link's thread, so the broker waits.
"""

import queue
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from device_sim.cloud import jws, sealing, wire
from device_sim.cloud.failure import MessageError
from device_sim.cloud.faults import Faults
from device_sim.cloud.journal import Journal
from device_sim.cloud.keys import Device, Party
from device_sim.cloud.shelf import MismatchError, Receiving, Row, Shelf
from device_sim.cloud.strictjson import Claims
from device_sim.cloud.wire import Begin, Correction, Item, Kind

Send = Callable[[str, bytes], None]
"""device id, payload: publish on its ``upack``."""

T = TypeVar("T")

QUEUE_MESSAGES: Final = 128
CHUNKS_BEFORE_ASKING: Final = 4
"""That many chunks behind a gap mean loss rather than disorder."""
MAX_OPEN_UPLOADS: Final = 256
ACKS: Final = 4
"""At least so many for a payload of as many chunks, so that a small one that is cut goes on from somewhere too."""
_ELSEWHERE: Final = "elsewhere"


@dataclass(slots=True)
class _Open:
    """An upload that is arriving."""

    receiving: Receiving
    ahead: dict[int, bytes] = field(default_factory=dict)
    ahead_bytes: int = 0
    sync_asked: int = 0
    gap_asked: int = -1
    acknowledged: int = 0
    """Written by the syncing thread alone."""


class Store:
    """Receives uploads and tells the truth about them, as far as its faults let it."""

    def __init__(
        self,
        folder: Path,
        *,
        party: Party,
        devices: dict[str, Device],
        region: str,
        send: Send,
        faults: Faults,
        journal: Journal,
        now_s: Callable[[], int],
    ) -> None:
        self._shelf = Shelf(folder, new_epoch=_new_id())
        self._party = party
        self._devices = devices
        self._region = region
        self._send = send
        self._faults = faults
        self._journal = journal
        self._now_s = now_s
        self._open: dict[tuple[str, str], _Open] = {}
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(QUEUE_MESSAGES)
        self._dirty: queue.SimpleQueue[_Open | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name="store", daemon=True),
            threading.Thread(target=self._sync, name="store-sync", daemon=True),
        ]

    @property
    def party(self) -> Party:
        """The store's keys."""
        return self._party

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is queued, close everything."""
        self._queue.put(None)
        self._threads[0].join()
        self._dirty.put(None)
        self._threads[1].join()
        for one in self._open.values():
            one.receiving.close()
        self._shelf.close()

    def receive(self, kind: Kind, device: str, upload: str, payload: bytes) -> None:
        """Take a message from the link's thread; waits while the queue is full."""
        self._faults.passes(kind, lambda: self._queue.put(lambda: self._handle(kind, device, upload, payload)))

    def snapshot(self, target: Path) -> None:
        """Copy the whole state to ``target``."""
        self._call(lambda: self._shelf.snapshot(target))

    def roll_back(self, source: Path) -> None:
        """Become an earlier state, under a new epoch."""
        self._call(lambda: self._roll_back(source))

    def epoch(self) -> str:
        """Return the epoch."""
        return self._call(lambda: self._shelf.epoch)

    def stored(self) -> list[Row]:
        """Return what is stored and whose files are there."""
        return self._call(lambda: [row for row in self._shelf.rows("stored") if self._shelf.has_files(row)])

    def corrections(self, upload: str) -> dict[str, bytes]:
        """Return what corrections are kept with a stored upload, sealed as they came, by what they are about."""
        return self._call(
            lambda: next(
                (self._shelf.corrections(row) for row in self._shelf.rows("stored") if row.upload == upload), {}
            )
        )

    def say(self, device: str, kind: Kind, claims: Claims) -> None:
        """Send any signed message to a device, for hostile tests."""
        self._answer(self._devices[device], kind, claims)

    # Threads.

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job()

    def _sync(self) -> None:
        while (one := self._dirty.get()) is not None:
            offset = one.receiving.sync()
            if offset > one.acknowledged:
                one.acknowledged = offset
                self._acknowledge(one.receiving.row, offset)

    def _call(self, job: Callable[[], T]) -> T:
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except Exception as error:  # noqa: BLE001 - handed to the caller's thread
                future.set_exception(error)

        self._queue.put(run)
        return future.result()

    # Messages.

    def _handle(self, kind: Kind, device: str, upload: str, payload: bytes) -> None:
        known = self._devices.get(device)
        if known is None:
            self._journal.note("dropped", kind=kind, device=device, why="a device whose descriptor was not given")
            return
        try:
            if kind == "chunk":
                self._chunk(known, upload, payload)
            else:
                self._signed(kind, known, upload, payload)
        except MessageError as error:
            self._journal.note("dropped", kind=kind, device=device, why=str(error))
        except OSError as error:
            self._journal.note("disk-error", kind=kind, device=device, why=error.strerror)

    def _signed(self, kind: Kind, device: Device, upload: str, payload: bytes) -> None:
        parsed = jws.parse(sealing.unseal(payload[1:], self._party.identity))
        claims = jws.verify(parsed, device.key, typ=wire.typ(kind))
        if claims.get("iss") != device.id or claims.get("aud") != self._party.kid:
            raise MessageError("not from this device to this store")
        if upload != (kind if kind in {"erase", "rectify", "resync"} else claims.get("upload")):
            raise MessageError("the topic does not fit the message")
        match kind:
            case "begin":
                self._begin(device, wire.parse_begin(claims, manifest=parsed.signing_input_sha256))
            case "end":
                self._end(device, upload=upload, manifest=wire.digest(claims, "manifest"))
            case "abort":
                manifest = wire.digest(claims, "manifest")
                self._abort(device, upload=upload, manifest=manifest, jti=wire.identifier(claims, "jti"))
            case "erase":
                self._erase(device, wire.parse_items(claims, "items"), jti=wire.identifier(claims, "jti"))
            case "rectify":
                self._rectify(device, wire.parse_rectify(claims), jti=wire.identifier(claims, "jti"))
            case "resync":
                self._resync(device, wire.parse_items(claims, "stored"), jti=wire.identifier(claims, "jti"))
            case _:
                raise MessageError("a kind that stores do not read")

    def _begin(self, device: Device, begin: Begin) -> None:
        known = self._shelf.row(device.id, begin.upload)
        self._journal.note(
            "begin", device=device.id, upload=begin.upload, object=begin.object, bytes=begin.payload.bytes
        )
        if known is not None and known.state == "erased":
            self._fail(device, begin.upload, begin.manifest, reason="erased")
        elif known is not None and known.manifest != begin.manifest:
            self._fail(device, begin.upload, begin.manifest, reason="manifest_changed")
        elif known is not None and known.state == "stored":
            self._state_stored(device, known)
        elif self._faults.refuses_region() or (begin.regions and self._region not in begin.regions):
            self._fail(device, begin.upload, begin.manifest, reason="region_refused")
        elif self._faults.lacks_room() or len(self._open) >= MAX_OPEN_UPLOADS:
            self._fail(device, begin.upload, begin.manifest, reason="no_room")
        else:
            one = self._open.get((device.id, begin.upload))
            if one is None:
                one = self._open[device.id, begin.upload] = _Open(self._shelf.begin(device.id, begin))
            self._go(device, one)

    def _chunk(self, device: Device, upload: str, payload: bytes) -> None:
        one = self._opened(device, upload)
        if one is None:
            raise MessageError("a chunk of an upload that has not begun")
        data = memoryview(payload)[wire.CHUNK_PREFIX_BYTES :]
        offset = int.from_bytes(payload[1 : wire.CHUNK_PREFIX_BYTES])
        receiving = one.receiving
        if not data or offset + len(data) > receiving.row.payload.bytes:
            raise MessageError("a chunk outside its payload")
        if offset > receiving.written:
            self._wait_for_gap(device, one, offset, bytes(data))
            return
        self._append(one, offset, data)
        while one.ahead and (first := min(one.ahead)) <= receiving.written:
            waiting = one.ahead.pop(first)
            one.ahead_bytes -= len(waiting)
            self._append(one, first, memoryview(waiting))
        total = receiving.row.payload.bytes
        if receiving.written == total or receiving.written - one.sync_asked >= min(wire.ACK_EVERY_BYTES, total // ACKS):
            receiving.flush()
            one.sync_asked = receiving.written
            self._dirty.put(one)

    def _append(self, one: _Open, offset: int, data: memoryview) -> None:
        already = one.receiving.written - offset
        if already < len(data):
            one.receiving.append(data[already:])

    def _wait_for_gap(self, device: Device, one: _Open, offset: int, data: bytes) -> None:
        beyond = offset + len(data) > one.receiving.written + wire.AHEAD_BYTES
        if not beyond and offset not in one.ahead and one.ahead_bytes + len(data) <= wire.AHEAD_BYTES:
            one.ahead[offset] = data
            one.ahead_bytes += len(data)
        if (beyond or len(one.ahead) >= CHUNKS_BEFORE_ASKING) and one.gap_asked != one.receiving.written:
            one.gap_asked = one.receiving.written
            self._go(device, one)

    def _end(self, device: Device, *, upload: str, manifest: str) -> None:
        row = self._shelf.row(device.id, upload)
        if row is None or row.state == "erased" or row.manifest != manifest:
            self._fail(device, upload, manifest, reason="erased" if row and row.state == "erased" else "unknown_upload")
            return
        if row.state == "stored":
            self._state_stored(device, row)
            return
        one = self._opened(device, upload)
        if one is None:
            raise AssertionError("a receiving row opens")
        if one.receiving.written < row.payload.bytes:
            self._go(device, one)
            return
        del self._open[device.id, upload]
        try:
            stored = self._shelf.store(one.receiving)
        except MismatchError:
            self._journal.note("mismatch", device=device.id, upload=upload)
            self._fail(device, upload, manifest, reason="hash_mismatch")
            return
        if self._faults.lies("not_stored"):
            self._shelf.forget(device.id, upload)
        self._journal.note("stored", device=device.id, upload=upload, object=row.object, bytes=row.payload.bytes)
        self._state_stored(device, stored)

    def _abort(self, device: Device, *, upload: str, manifest: str, jti: str) -> None:
        row = self._shelf.row(device.id, upload)
        if row is not None and row.state == "stored":
            self._state_stored(device, row)
            return
        self._shut(device.id, upload)
        result = self._shelf.forget(device.id, upload) if row is None or row.state == "receiving" else "absent"
        self._journal.note("aborted", device=device.id, upload=upload)
        item: Claims = {"upload": upload, "manifest": manifest, "header": result, "payload": result}
        self._answer(device, "erased", {"re": jti, "items": [item]})

    def _erase(self, device: Device, items: tuple[Item, ...], *, jti: str) -> None:
        keep = self._faults.lies("not_erased")
        answers: list[Claims] = []
        for item in items:
            self._shut(device.id, item.upload)
            gone = "erased" if keep else self._shelf.forget(device.id, item.upload, refuse_later=item.object)
            self._journal.note("erased", device=device.id, upload=item.upload, object=item.object, result=gone)
            answers.append({"upload": item.upload, "manifest": item.manifest, "header": gone, "payload": gone})
        self._answer(device, "erased", {"re": jti, "items": answers})

    def _rectify(self, device: Device, correction: Correction, *, jti: str) -> None:
        """Keep a correction with each copy that is stored; of several about the same the highest number is kept."""
        answers: list[Claims] = []
        for item in correction.items:
            row = self._shelf.row(device.id, item.upload)
            here = row is not None and (row.state, row.manifest) == ("stored", item.manifest)
            if row is not None and here:
                self._shelf.correct(row, about=correction.about, number=correction.number, sealed=correction.sealed)
            result = "kept" if here else "absent"
            self._journal.note("rectified", device=device.id, upload=item.upload, object=item.object, result=result)
            answers.append({"upload": item.upload, "manifest": item.manifest, "result": result})
        self._answer(device, "rectified", {"re": jti, "items": answers})

    def _resync(self, device: Device, items: tuple[Item, ...], *, jti: str) -> None:
        for item in items:
            row = self._shelf.row(device.id, item.upload)
            if row is not None and row.state == "erased":
                self._fail(device, item.upload, item.manifest, reason="erased", re=jti)
            elif (
                row is not None
                and (row.state, row.object, row.manifest) == ("stored", item.object, item.manifest)
                and self._shelf.has_files(row)
            ):
                self._state_stored(device, row, re=jti)
            else:
                self._answer_go(device, item.upload, manifest=item.manifest, offset=0, re=jti)
        self._journal.note("resync", device=device.id, count=len(items))

    def _roll_back(self, source: Path) -> None:
        for device, upload in list(self._open):
            self._shut(device, upload)
        self._shelf.roll_back(source, new_epoch=_new_id())
        self._journal.note("rolled-back", epoch=self._shelf.epoch)

    def _opened(self, device: Device, upload: str) -> _Open | None:
        """Return an upload that is arriving; after a restart the first message opens it and asks for the rest."""
        one = self._open.get((device.id, upload))
        if one is None:
            row = self._shelf.row(device.id, upload)
            if row is None or row.state != "receiving":
                return None
            one = self._open[device.id, upload] = _Open(self._shelf.receiving(row))
            one.gap_asked = one.receiving.written
            self._go(device, one)
        return one

    def _shut(self, device: str, upload: str) -> None:
        one = self._open.pop((device, upload), None)
        if one is not None:
            one.receiving.close()

    # Answers.

    def _go(self, device: Device, one: _Open) -> None:
        row = one.receiving.row
        one.receiving.flush()
        self._answer_go(device, row.upload, manifest=row.manifest, offset=one.receiving.sync())

    def _answer_go(self, device: Device, upload: str, *, manifest: str, offset: int, re: str = "") -> None:
        self._journal.note("go", device=device.id, upload=upload, offset=offset)
        self._answer(
            device,
            "go",
            {
                "upload": upload,
                "manifest": manifest,
                "region": self._region,
                "offset": offset,
                "epoch": self._said_epoch(),
                **_re(re),
            },
        )

    def _acknowledge(self, row: Row, offset: int) -> None:
        if self._faults.lies("ack_ahead"):
            offset = row.payload.bytes
        self._journal.note("ack", device=row.device, upload=row.upload, offset=offset)
        claims: Claims = {"upload": row.upload, "manifest": row.manifest, "offset": offset}
        self._answer(self._devices[row.device], "upload-ack", claims)

    def _state_stored(self, device: Device, row: Row, *, re: str = "") -> None:
        payload = row.payload.claims()
        if self._faults.lies("wrong_hash"):
            payload["sha256"] = "0" * 64
        self._answer(
            device,
            "stored",
            {
                "upload": row.upload,
                "manifest": row.manifest,
                "object": row.object,
                "payload": payload,
                "header": row.header.claims(),
                "region": _ELSEWHERE if self._faults.lies("other_region") else self._region,
                "epoch": self._said_epoch(),
                **_re(re),
            },
        )

    def _said_epoch(self) -> str:
        return _new_id() if self._faults.lies("new_epoch") else self._shelf.epoch

    def _fail(self, device: Device, upload: str, manifest: str, *, reason: str, re: str = "") -> None:
        self._journal.note("failed", device=device.id, upload=upload, reason=reason)
        self._answer(device, "failed", {"upload": upload, "manifest": manifest, "reason": reason, **_re(re)})

    def _answer(self, device: Device, kind: Kind, claims: Claims) -> None:
        if self._faults.is_silent(kind):
            return
        whole: Claims = {"iss": self._party.kid, "aud": device.id, "iat": self._now_s(), **claims}
        said, signature = self._faults.signs(kind, whole, party=self._party)
        body = jws.sign(said, signature.key, typ=wire.typ(kind), kid=signature.kid)
        if kind not in wire.UNSEALED:
            body = sealing.seal(body, device.recipient)
        payload = bytes([wire.BYTE[kind]]) + body
        self._faults.passes(kind, lambda: self._send(device.id, payload))


def _re(jti: str) -> Claims:
    """Name the ``resync`` that is answered, if one is."""
    return {"re": jti} if jti else {}


def _new_id() -> str:
    """Return a new random id: 128 bits in 26 characters of lower-case base32."""
    return wire.encode_id(secrets.token_bytes(16))
