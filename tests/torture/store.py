"""A store at the far end of a scripted line: it answers as docs/protocol.md §6 says and remembers what it was told.

No fault here reaches its memory: what it took up it says aloud, and those lines are what it begins with after a death.
It reads and writes with the simulator's code, not with the agent's, and says as ``wrong`` what no device may send it.

Its line is as bad as lines are, in the same places in each life: once it falls under the first chunk, which arrives
and is not acknowledged; the first ``end`` is acknowledged by the broker and never arrives; and of each upload's first
chunk the store takes only half.
"""

import asyncio
import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from agent.envelope import Key
from agent.errors import LinkError
from agent.keystore import Keystore
from device_sim.cloud import jws, sealing, wire
from device_sim.cloud.strictjson import Claims
from device_sim.cloud.wire import Item, Kind
from tests.commands.office import Party
from tests.torture.say import Say

REGION: Final = "eu"


@dataclass(slots=True)
class Copy:
    """What the store has of one upload; ``manifest`` is bound to the upload's id for ever."""

    manifest: str
    object: str
    payload: wire.Part
    header: bytes
    data: bytearray = field(default_factory=bytearray)
    stored: bool = False

    def lose(self) -> None:
        """Forget everything but the manifest."""
        self.data.clear()
        self.stored = False


class Memory:
    """What a store knows, as the lines that it said tell it."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.copies: dict[str, Copy] = {}
        self.losses = 0
        self.confirmed: set[str] = set()  # uploads of which it ever stated ``stored``
        for line in lines:
            self.learn(line)

    def learn(self, line: str) -> None:
        """Take one line up; those of others are passed over."""
        word, *rest = line.split()
        match word, rest:
            case "begin", [upload, manifest, object_id, size, sha256, header]:
                part = wire.Part(int(size), sha256)
                self.copies[upload] = Copy(manifest, object_id, part, base64.b64decode(header))
            case "durable", [upload, _, data]:
                self.copies[upload].data += base64.b64decode(data)
            case "stored", [upload]:
                self.copies[upload].stored = True
                self.confirmed.add(upload)
            case "lost", [upload]:
                self.copies[upload].lose()
                self.losses += 1
            case _:
                return

    def has(self, upload: str) -> bool:
        """Whether it holds this upload, whole and confirmed."""
        copy = self.copies.get(upload)
        return copy is not None and copy.stored


class Store:
    """The line and the store behind it, as the flow of uploads sees them: ``submit``, ``next_session``, ``receive``.

    ``pause`` and ``clock_s`` are the flow's time: it passes only while everything said was heard.
    """

    def __init__(self, party: Party, *, device: str, keystore: Keystore, told: Iterable[str], say: Say) -> None:
        self.key: Key = party.key()
        self._kid = party.kid
        self._signing = jws.SigningKey(party.private)
        self._identity = party.identity.to_text()
        self._device = device
        self._device_key = jws.PublicKey.from_jwk(keystore.public_jwk())
        self._device_recipient = keystore.recipient()
        self._say = say
        self.memory = Memory(told)
        self._session = 1
        self._sessions = asyncio.Condition()
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._heard = asyncio.Event()
        self._now_s = 0.0
        self._falls = self._loses_end = True

    # The line.

    async def submit(self, channel: str, payload: bytes | bytearray, *, bulk: bool = False) -> asyncio.Future[None]:
        """Carry a packet; what the future tells is the broker's word only."""
        raw = bytes(payload)
        assert bulk == (raw[0] == wire.CHUNK_BYTE)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take(channel, raw)
        if raw[0] == wire.CHUNK_BYTE and self._falls:
            self._falls = False
            await self.reconnect()
            done.set_exception(LinkError("the line fell", hint="wait"))
        else:
            done.set_result(None)
        return done

    async def next_session(self, after: int) -> int:
        """Return the number of a connection later than ``after``."""
        async with self._sessions:
            await self._sessions.wait_for(lambda: self._session > after)
            return self._session

    async def receive(self, _channel: str) -> bytes:
        """Return the store's next answer."""
        while True:
            if self._answers.empty():
                self._heard.set()
            if answer := await self._answers.get():
                return answer

    async def reconnect(self) -> None:
        """Fall and come back; answers under way are gone."""
        async with self._sessions:
            while not self._answers.empty():
                self._answers.get_nowait()
            self._answers.put_nowait(b"")  # whoever was about to hear one of them looks again: there is nothing to hear
            self._session += 1
            self._sessions.notify_all()

    # Time.

    def clock_s(self) -> float:
        """Return the flow's time."""
        return self._now_s

    async def pause(self, seconds: float, news: asyncio.Event) -> None:
        """Let the time pass once nothing is left to hear; sooner when there is news."""
        waits = [asyncio.ensure_future(event.wait()) for event in (news, self._heard)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not news.is_set():
            self._now_s += seconds

    # The store.

    def lose(self, upload: str) -> None:
        """Lose what was confirmed, as a store does that was put back from a backup."""
        self._note(f"lost {upload}")

    def _note(self, line: str) -> None:
        self._say(line)
        self.memory.learn(line)

    def _take(self, channel: str, raw: bytes) -> None:
        kind = wire.parse_kind(raw, channel="up")
        upload = channel.removeprefix("up/")
        if kind == "chunk":
            self._chunk(upload, int.from_bytes(raw[1 : wire.CHUNK_PREFIX_BYTES]), raw[wire.CHUNK_PREFIX_BYTES :])
            return
        parsed = jws.parse(sealing.unseal(raw[1:], self._identity))
        claims = jws.verify(parsed, self._device_key, typ=wire.typ(kind))
        match kind:
            case "begin":
                self._begin(wire.parse_begin(claims, manifest=parsed.signing_input_sha256))
            case "end":
                self._end(upload, wire.digest(claims, "manifest"))
            case "resync":
                self._resync(wire.parse_items(claims, "stored"), re=wire.identifier(claims, "jti"))
            case _:
                self._say(f"wrong: {kind} of an upload that nobody gave up")

    def _begin(self, begin: wire.Begin) -> None:
        copy = self.memory.copies.get(begin.upload)
        if copy is not None and copy.manifest != begin.manifest:
            self._say(f"wrong: another manifest under the upload id {begin.upload}")
            self._fail(begin.upload, begin.manifest, reason="manifest_changed")
            return
        if hashlib.sha256(begin.header_data).hexdigest() != begin.header.sha256:
            self._say(f"wrong: the header of {begin.upload} does not fit its hash")
        if copy is None:
            header = base64.b64encode(begin.header_data).decode()
            payload = begin.payload
            self._note(
                f"begin {begin.upload} {begin.manifest} {begin.object} {payload.bytes} {payload.sha256} {header}"
            )
            copy = self.memory.copies[begin.upload]
        if copy.stored:
            self._state_stored(begin.upload, copy)
        else:
            self._go(begin.upload, copy.manifest, offset=len(copy.data))

    def _chunk(self, upload: str, offset: int, data: bytes) -> None:
        copy = self.memory.copies.get(upload)
        if copy is None:
            self._say(f"wrong: a chunk of {upload} before its go")
            return
        durable = len(copy.data)
        if offset < durable:
            self._say(f"wrong: {upload} is sent again from {offset}, durable are {durable}")
            offset, data = durable, data[durable - offset :]
        if not data or offset != durable or offset + len(data) > copy.payload.bytes:
            return
        if durable == 0 and len(data) > 1:
            data = data[: len(data) // 2]
        durable += len(data)
        self._note(f"durable {upload} {durable} {base64.b64encode(data).decode()}")
        self._answer("upload-ack", {"upload": upload, "manifest": copy.manifest, "offset": durable})

    def _end(self, upload: str, manifest: str) -> None:
        copy = self.memory.copies.get(upload)
        if copy is None or copy.manifest != manifest:
            self._say(f"wrong: the end of {upload}, which did not begin so")
        elif self._loses_end:
            self._loses_end = False
        elif copy.stored:
            self._state_stored(upload, copy)
        elif len(copy.data) < copy.payload.bytes:
            self._go(upload, manifest, offset=len(copy.data))
        elif hashlib.sha256(copy.data).hexdigest() != copy.payload.sha256:
            self._say(f"wrong: {upload} is other bytes than its begin stated")
        else:
            self._note(f"stored {upload}")
            self._state_stored(upload, copy)

    def _resync(self, items: Iterable[Item], *, re: str) -> None:
        for item in items:
            copy = self.memory.copies.get(item.upload)
            if item.upload not in self.memory.confirmed:
                self._say(f"wrong: {item.upload} counts as stored, and no receipt was given")
            if copy is not None and copy.stored and (copy.object, copy.manifest) == (item.object, item.manifest):
                self._state_stored(item.upload, copy, re=re)
            else:
                self._go(item.upload, item.manifest, offset=0, re=re)

    # Its answers.

    @property
    def _epoch(self) -> str:
        return wire.encode_id(self.memory.losses.to_bytes(16))

    def _go(self, upload: str, manifest: str, *, offset: int, re: str = "") -> None:
        claims: Claims = {"upload": upload, "manifest": manifest, "region": REGION, "offset": offset}
        self._answer("go", claims | {"epoch": self._epoch} | ({"re": re} if re else {}))

    def _state_stored(self, upload: str, copy: Copy, *, re: str = "") -> None:
        header: Claims = {"bytes": len(copy.header), "sha256": hashlib.sha256(copy.header).hexdigest()}
        claims: Claims = {"upload": upload, "manifest": copy.manifest, "object": copy.object, "region": REGION}
        claims |= {"payload": copy.payload.claims(), "header": header, "epoch": self._epoch}
        self._answer("stored", claims | ({"re": re} if re else {}))

    def _fail(self, upload: str, manifest: str, *, reason: str) -> None:
        self._answer("failed", {"upload": upload, "manifest": manifest, "reason": reason})

    def _answer(self, kind: Kind, claims: Claims) -> None:
        whole: Claims = {"iss": self._kid, "aud": self._device, "iat": 1, **claims}
        body = jws.sign(whole, self._signing, typ=wire.typ(kind))
        if kind not in wire.UNSEALED:
            body = sealing.seal(body, self._device_recipient)
        self._heard.clear()
        self._answers.put_nowait(bytes([wire.BYTE[kind]]) + body)
