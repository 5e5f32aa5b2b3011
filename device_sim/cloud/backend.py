"""Somebody who sends commands: the vendor's backend, or an owner's client. Both follow docs/protocol.md §4 and §5.

Rules:
- A command is kept until its terminal receipt and the same bytes go out again when the device comes online, or when
  this side comes back.
- Sequence numbers are durable before the command leaves.
- A receipt counts when it is sealed to us, signed by the device's key, addressed to us and names a command of ours.
  Terminal receipts and alerts are answered with an ``ack``.

The ``raw`` helpers at the end say what no honest party says.
"""

import json
import secrets
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device_sim.cloud import clock, jws, sealing, strictjson, wire
from device_sim.cloud.failure import MessageError, SetupError
from device_sim.cloud.journal import Journal
from device_sim.cloud.keys import Device, Party
from device_sim.cloud.strictjson import Claims
from device_sim.cloud.wire import Kind

Publish = Callable[[str, str, bytes, bool], None]
"""device id, channel, payload, retained."""

TERMINAL: Final = frozenset({"done", "partial", "refused", "failed"})
"""docs/protocol.md §5."""
LIFETIME_S: Final = 7 * 24 * 3600

_SCHEMA: Final = """
-- The last sequence number used towards a device.
CREATE TABLE IF NOT EXISTS sequence (device TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS command (
  jti TEXT PRIMARY KEY, device TEXT NOT NULL, jws BLOB NOT NULL, terminal INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS receipt (
  number INTEGER PRIMARY KEY, jti TEXT NOT NULL UNIQUE, cmd TEXT NOT NULL, claims TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A verified receipt."""

    jti: str
    command: str
    device: str
    status: str
    reason: str
    claims: Claims

    @property
    def is_terminal(self) -> bool:
        """Say whether nothing follows."""
        return self.status in TERMINAL


class Backend:
    """Sends commands as one key and verifies what comes back; any thread may call."""

    def __init__(
        self,
        file: Path,
        *,
        party: Party,
        devices: dict[str, Device],
        publish: Publish,
        journal: Journal,
        now_s: Callable[[], int],
    ) -> None:
        self.party = party
        self.acknowledges = True
        """Set it to False to leave receipts and alerts unacknowledged."""
        self._devices = devices
        self._publish = publish
        self._journal = journal
        self._now_s = now_s
        self._alerts: dict[str, Claims] = {}
        self._states: dict[str, Claims] = {}
        self._changed = threading.Condition()
        self._db = sqlite3.connect(file, check_same_thread=False)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the state."""
        with self._changed:
            self._db.close()

    # Commands.

    def command(self, verb: str, *, device: str = "", **claims: object) -> str:
        """Sign, keep and send a command; returns its ``jti``. A claim given here replaces the usual one."""
        target = self._device(device)
        jti = new_id()
        now_s = self._now_s()
        whole: Claims = {
            "iss": self.party.kid,
            "aud": target.id,
            "iat": now_s,
            "exp": now_s + LIFETIME_S,
            "jti": jti,
            "seq": 0,
            "verb": verb,
            **claims,
        }
        if "seq" not in claims:
            whole["seq"] = self.next_seq(target.id)
        signed = jws.sign(whole, self.party.signing, typ=wire.typ("command"))
        jti = str(whole["jti"])
        with self._changed, self._db:
            self._db.execute("INSERT OR REPLACE INTO command VALUES (?,?,?,0)", (jti, target.id, signed))
        self._journal.note("command", device=target.id, jti=jti, verb=verb, seq=whole["seq"])
        self._transmit(target, signed)
        return jti

    def policy(self, document: str, *, revision: int, device: str = "") -> str:
        """Propose a policy: signed by itself (section 4), then sent in a command; returns that command's ``jti``."""
        claims: Claims = {
            "iss": self.party.kid,
            "iat": self._now_s(),
            "revision": revision,
            "document": document,
        }
        signed = jws.sign(claims, self.party.signing, typ="pv1.policy")
        return self.command("policy", device=device, policy=signed.decode("ascii"))

    def next_seq(self, device: str = "") -> int:
        """Take the next sequence number, durably."""
        name = self._device(device).id
        with self._changed, self._db:
            self._db.execute(
                "INSERT INTO sequence VALUES (?, 1) ON CONFLICT (device) DO UPDATE SET seq = seq + 1", (name,)
            )
            (seq,) = self._db.execute("SELECT seq FROM sequence WHERE device = ?", (name,)).fetchone()
        return int(seq)

    def resend(self, device: str = "") -> int:
        """Send every command again that has no terminal receipt; returns how many."""
        with self._changed:
            rows = self._db.execute(
                "SELECT jti, device, jws FROM command WHERE terminal = 0 AND device LIKE ? ORDER BY rowid",
                (device or "%",),
            ).fetchall()
        for jti, name, signed in rows:
            target = self._devices.get(name)
            if target is not None:
                self._journal.note("resent", device=name, jti=jti)
                self._transmit(target, signed)
        return len(rows)

    def receipts(self, jti: str) -> tuple[Receipt, ...]:
        """Return the verified receipts of a command, in order of arrival."""
        with self._changed:
            rows = self._db.execute("SELECT claims FROM receipt WHERE cmd = ? ORDER BY number", (jti,)).fetchall()
        return tuple(_receipt(json.loads(claims)) for (claims,) in rows)

    def wait(self, jti: str, *, timeout_s: float = 60.0) -> Receipt:
        """Wait for the terminal receipt of a command; raises ``TimeoutError``."""
        deadline_s = clock.monotonic_s() + timeout_s
        with self._changed:
            while True:
                found = self.receipts(jti)
                if found and found[-1].is_terminal:
                    return found[-1]
                left_s = deadline_s - clock.monotonic_s()
                if left_s <= 0 or not self._changed.wait(left_s):
                    seen = [receipt.status for receipt in found]
                    raise TimeoutError(f"no terminal receipt of {jti} within {timeout_s} s; so far: {seen}")

    def alerts(self) -> tuple[Claims, ...]:
        """Return the verified alerts, in order of arrival."""
        with self._changed:
            return tuple(self._alerts.values())

    def state(self, device: str = "") -> Claims | None:
        """Return the last verified ``state`` of a device."""
        return self._states.get(self._device(device).id)

    def acknowledge(self, *jtis: str, device: str = "") -> None:
        """Send an ``ack`` of receipts or alerts."""
        target = self._device(device)
        claims: Claims = {"iss": self.party.kid, "aud": target.id, "iat": self._now_s(), "acks": list(jtis)}
        signed = jws.sign(claims, self.party.signing, typ=wire.typ("ack"))
        self.send_raw(bytes([wire.BYTE["ack"]]) + signed, device=target.id)

    # What the link hands over.

    def receive(self, kind: Kind, device: str, payload: bytes) -> None:
        """Read a ``receipt``, ``alert`` or ``state``; what does not verify is noted and dropped."""
        try:
            self._read(kind, device, payload)
        except MessageError as error:
            self._journal.note("dropped", kind=kind, device=device, why=str(error))

    def can_open(self, payload: bytes) -> bool:
        """Say whether a message is sealed to us."""
        try:
            sealing.unseal(payload[1:], self.party.identity)
        except MessageError:
            return False
        return True

    def _read(self, kind: Kind, device: str, payload: bytes) -> None:
        known = self._devices.get(device)
        if known is None:
            raise MessageError("a device whose descriptor was not given")
        match kind:
            case "receipt":
                self._read_receipt(known, self._open(kind, known, payload))
            case "alert":
                self._read_alert(known, self._open(kind, known, payload))
            case "state":
                self._read_state(known, jws.verify(jws.parse(payload[1:]), known.key, typ=wire.typ("state")))
            case _:
                raise MessageError("a kind that backends do not read")

    def _open(self, kind: Kind, device: Device, payload: bytes) -> Claims:
        parsed = jws.parse(sealing.unseal(payload[1:], self.party.identity))
        claims = jws.verify(parsed, device.key, typ=wire.typ(kind))
        if claims.get("iss") != device.id or claims.get("aud") != self.party.kid:
            raise MessageError("not from this device to us")
        return claims

    def _read_receipt(self, device: Device, claims: Claims) -> None:
        receipt = _receipt(claims)
        with self._changed:
            self._must_have_sent(receipt.command, device)
            with self._db:
                fresh = self._db.execute(
                    "INSERT OR IGNORE INTO receipt (jti, cmd, claims) VALUES (?,?,?)",
                    (receipt.jti, receipt.command, strictjson.dumps(claims).decode()),
                ).rowcount
                if receipt.is_terminal:
                    self._db.execute("UPDATE command SET terminal = 1 WHERE jti = ?", (receipt.command,))
            self._changed.notify_all()
        self._journal.note(
            "receipt" if fresh else "receipt-repeated",
            device=device.id,
            command=receipt.command,
            status=receipt.status,
            reason=receipt.reason,
        )
        if receipt.is_terminal and self.acknowledges:
            self.acknowledge(receipt.jti, device=device.id)

    def _must_have_sent(self, jti: str, device: Device) -> None:
        sent = self._db.execute("SELECT device FROM command WHERE jti = ?", (jti,)).fetchone()
        if sent is None or sent[0] != device.id:
            raise MessageError("a receipt of a command that we did not send there")

    def _read_alert(self, device: Device, claims: Claims) -> None:
        jti = wire.identifier(claims, "jti")
        with self._changed:
            self._alerts[jti] = claims
            self._changed.notify_all()
        self._journal.note("alert", device=device.id, code=wire.text(claims, "code"))
        if self.acknowledges:
            self.acknowledge(jti, device=device.id)

    def _read_state(self, device: Device, claims: Claims) -> None:
        if claims.get("iss") != device.id:
            raise MessageError("not from this device")
        session, online = wire.number(claims, "session"), claims.get("online")
        last = self._states.get(device.id)
        if last is not None and wire.number(last, "session") > session:
            raise MessageError("the state of an older session")
        self._states[device.id] = claims
        self._journal.note("state", device=device.id, online=online, session=session)
        came_online = online is True and (
            last is None or last.get("online") is not True or wire.number(last, "session") < session
        )
        if came_online:
            self.resend(device.id)

    # What no honest party says.

    def craft(
        self,
        claims: Claims,
        *,
        device: str = "",
        signer: Party | None = None,
        kid: str = "",
        typ: str = "pv1.command",
        kind: int = wire.BYTE["command"],
        seal_to: str | None = None,
    ) -> bytes:
        """Return the payload of any signed and sealed message, true or not; ``seal_to=""`` leaves it unsealed."""
        key = (signer or self.party).signing
        signed = jws.sign(claims, key, typ=typ, kid=kid or None)
        return self.frame(signed, kind=kind, seal_to=self._device(device).recipient if seal_to is None else seal_to)

    def frame(self, body: bytes, *, kind: int = wire.BYTE["command"], seal_to: str = "") -> bytes:
        """Return kind byte and body, sealed if there is somebody to seal to."""
        return bytes([kind]) + (sealing.seal(body, seal_to) if seal_to else body)

    def command_bytes(self, jti: str) -> bytes:
        """Return the signed bytes of a command that was sent, to replay or to bend them."""
        with self._changed:
            found = self._db.execute("SELECT jws FROM command WHERE jti = ?", (jti,)).fetchone()
        if found is None:
            raise KeyError(jti)
        return bytes(found[0])

    def replay(self, jti: str, *, device: str = "", retain: bool = False) -> None:
        """Send a command's bytes again, whatever became of it; ``retain`` as no command may be."""
        target = self._device(device)
        self.send_raw(self.frame(self.command_bytes(jti), seal_to=target.recipient), device=target.id, retain=retain)

    def send_raw(self, payload: bytes, *, device: str = "", channel: str = "cmd", retain: bool = False) -> None:
        """Publish any bytes on a channel of a device."""
        self._publish(self._device(device).id, channel, payload, retain)

    def _transmit(self, device: Device, signed: bytes) -> None:
        self.send_raw(self.frame(signed, seal_to=device.recipient), device=device.id)

    def _device(self, name: str) -> Device:
        if name:
            found = self._devices.get(name)
        else:
            found = next(iter(self._devices.values())) if len(self._devices) == 1 else None
        if found is None:
            raise SetupError(f"no device {name!r} here", hint="give its descriptor: --device-descriptor FILE")
        return found


def new_id() -> str:
    """Return a new random id."""
    return wire.encode_id(secrets.token_bytes(16))


def _receipt(claims: Claims) -> Receipt:
    return Receipt(
        jti=wire.identifier(claims, "jti"),
        command=wire.identifier(claims, "cmd"),
        device=wire.text(claims, "iss"),
        status=wire.text(claims, "status"),
        reason=wire.text(claims, "reason") if "reason" in claims else "",
        claims=claims,
    )
