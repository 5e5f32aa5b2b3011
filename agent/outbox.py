"""What waits for a reader until that reader has it: receipts and alerts, signed and sealed to one key each.

Rules: a message is written in the transaction of what it tells; of one thing (a command, an alert code) only the
newest message waits for a reader; rows leave when the reader's ``ack`` names them, when its key leaves the key set, or,
light ones first, when a reader that never acknowledges has ``WAITING_MAX`` of them. Who sends remembers the last row
sent in this connection and starts again from 0 at the next one and every ``REPEAT_S``.
"""

from typing import Any, Final, Literal, get_args

import msgspec

from agent import age, audit
from agent.audit import Event, Signer
from agent.clock import MS_PER_S, rfc3339_ms
from agent.envelope import TYP, Key, Kind, frame, sign
from agent.errors import ConfigError
from agent.index import Tx
from agent.index import outbox as rows
from agent.index.outbox import Message
from agent.model import Moment, RandomBytes, new_id

AlertCode = Literal[
    "clock_unsure", "clock_jump", "disk_full", "source_failed", "certificate_expiring", "store_rolled_back",
    "upload_region_refused", "mass_delete_waiting", "retention_waiting", "unknown_keys", "takeover", "corrupt_object",
    "audit_broken", "acl_broken", "unusable_key", "removal_failed", "camera_impostor", "forged_message", "key_misused",
    "request_flood", "approval_waiting", "held", "hold_ended",
    "request_due", "request_overdue", "policy_waiting", "policy_tightened",
    "service_ending",
]  # fmt: skip
ALERT_CODES: Final[tuple[AlertCode, ...]] = get_args(AlertCode)

UNTIL_ACKNOWLEDGED: Final[frozenset[AlertCode]] = frozenset(
    {
        "store_rolled_back",
        "unknown_keys",
        "corrupt_object",
        "audit_broken",
        "forged_message",
        "key_misused",
        "request_flood",
        "policy_tightened",
        "hold_ended",
    }
)
"""What happened and cannot be over: these end when a reader has them, the others when what they tell of does (§8)."""

INCIDENTS: Final[frozenset[AlertCode]] = frozenset(
    {
        "unknown_keys", "forged_message", "key_misused", "request_flood", "takeover",
        "camera_impostor", "corrupt_object", "audit_broken", "store_rolled_back", "clock_jump",
    }
)  # fmt: skip
"""What somebody may have done to this device or in its name; told as such, and pushed out of the queue by nothing."""

WAITING_MAX: Final = 2048
"""Messages to one reader; then the lightest and oldest go. A command sent again still gets its stored receipt."""

REPEAT_S: Final = 15 * 60
"""How often unacknowledged messages are repeated while connected (``docs/protocol.md`` §5, §8)."""

PROTOCOL_KEPT_MS: Final = 7 * 86_400_000
"""Then MQTT 5 is tried first again: the broker may have been renewed."""

ALERT_PAUSE_MS: Final = 60_000
"""An alert that keeps being raised is told again at most this often."""

_ABOUT_ALERT: Final = "alert/"
_LIGHT, _USUAL, _INCIDENT = range(3)
"""What goes first from the queue of a reader that never acknowledges: the lighter, then the older."""

__all__ = [
    "ALERT_CODES",
    "INCIDENTS",
    "REPEAT_S",
    "UNTIL_ACKNOWLEDGED",
    "WAITING_MAX",
    "Alert",
    "AlertCode",
    "Message",
    "Outbox",
]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, what that means, what to do: sentences for a person, without names or labels."""

    code: AlertCode
    what: str
    effect: str
    next: str


class Outbox:
    """Signs as ``device`` with ``signer`` and queues; all state is rows."""

    def __init__(self, *, device: str, signer: Signer, random: RandomBytes) -> None:
        self._device = device
        self._signer = signer
        self._random = random

    def sealed(self, kind: Kind, claims: dict[str, Any], *, to: Key) -> bytes:
        """Return the MQTT payload of a message to one reader: signed, sealed to the key's recipient, framed.

        Empty for a recipient that nothing can be sealed to (``Trust.unusable_keys``): that reader is told nothing, and
        what was to be told happens all the same.
        """
        jws = sign(claims, typ=TYP[kind], kid=self._signer.kid, alg=self._signer.alg, sign=self._signer.sign)
        try:
            return frame(kind, age.encrypt(jws, [age.parse_recipient(to.recipient)]))
        except ConfigError:
            return b""

    def put_receipt(self, tx: Tx, *, to: str, about: str, jti: str, body: bytes, light: bool = False) -> None:
        """Queue a receipt for the key ``to`` in place of an older one about the same command."""
        weight = _LIGHT if light else _USUAL
        rows.put(tx, reader=to, about=about, jti=jti, channel=f"rcpt/{to}", weight=weight, body=body)
        rows.drop_beyond(tx, to, keep=WAITING_MAX)

    def pending(self, tx: Tx, *, after: int = 0, limit: int = 64) -> tuple[Message, ...]:
        """Return what waits behind row ``after``, in the order of sending."""
        return rows.pending(tx, after=after, limit=limit)

    def waiting(self, tx: Tx, *, reader: str, about: str) -> bytes | None:
        """Return the message about something that waits for a reader."""
        return rows.body(tx, reader=reader, about=about)

    def withdraw(self, tx: Tx, *, reader: str, about: str) -> None:
        """Take back what waits for a reader about something, because it is no longer true."""
        rows.withdraw(tx, reader=reader, about=about)

    def drop_others(self, tx: Tx, kids: frozenset[str]) -> int:
        """Drop what waits for readers that are not named, whose ``ack`` nobody believes; return how many messages."""
        return sum(rows.drop_reader(tx, reader) for reader in rows.readers(tx) if reader not in kids)

    def acknowledged(self, tx: Tx, kid: str, jtis: tuple[str, ...], *, moment: Moment) -> int:
        """Drop what this reader says it has, and end the alerts that are over with that; return how many messages.

        What other readers have not acknowledged still waits for them.
        """
        abouts = rows.acknowledge(tx, kid, jtis)
        for code in UNTIL_ACKNOWLEDGED.intersection(about.removeprefix(_ABOUT_ALERT) for about in abouts):
            self.clear_alert(tx, code, moment=moment)
        return len(abouts)

    def raise_alert(
        self, tx: Tx, alert: Alert, *, readers: tuple[Key, ...], at_once: bool = False, moment: Moment
    ) -> bool:
        """Raise or repeat an alert, one message for each reader; return whether anything was queued.

        A standing alert counts up and is told again at most every ``ALERT_PAUSE_MS``, or ``at_once``.
        """
        standing = rows.alert(tx, alert.code)
        since_ms, count, raised_ms = standing if standing is not None else (moment.agent_ms, 0, None)
        told = at_once or raised_ms is None or moment.agent_ms - raised_ms >= ALERT_PAUSE_MS
        rows.set_alert(
            tx,
            alert.code,
            since_ms=since_ms,
            count=count + 1,
            raised_ms=moment.agent_ms if told or raised_ms is None else raised_ms,
        )
        if not told:
            return False
        if standing is None:
            audit.append(tx, Event(kind="alert_raised", rule=alert.code), moment=moment)
        for reader in readers:
            jti = new_id(self._random)
            claims = {
                "iss": self._device,
                "aud": reader.kid,
                "iat": moment.agent_ms // MS_PER_S,
                "jti": jti,
                "code": alert.code,
                "since": rfc3339_ms(since_ms),
                "count": count + 1,
                "incident": alert.code in INCIDENTS,
                "what": alert.what,
                "effect": alert.effect,
                "next": alert.next,
            }
            body = self.sealed("alert", claims, to=reader)
            if not body:
                continue
            rows.put(
                tx,
                reader=reader.kid,
                about=f"{_ABOUT_ALERT}{alert.code}",
                jti=jti,
                channel="alert",
                weight=_weight(alert.code),
                body=body,
            )
            rows.drop_beyond(tx, reader.kid, keep=WAITING_MAX)
        return True

    def tell_again(self, tx: Tx, kid: str) -> None:
        """Queue anew the alerts that wait for a reader who is there now: the next repeat may be 15 minutes away."""
        for message in rows.on_channel(tx, kid, "alert"):
            rows.put(
                tx,
                reader=kid,
                about=message.about,
                jti=message.jti,
                channel=message.channel,
                weight=_weight(message.about.removeprefix(_ABOUT_ALERT)),
                body=message.body,
            )

    def protocol_of(self, tx: Tx, url: str, *, moment: Moment) -> int | None:
        """Return the MQTT version that this broker spoke last, while that is recent enough to rest on."""
        found = rows.line(tx)
        if found is None or found[0] != url or moment.agent_ms - found[2] > PROTOCOL_KEPT_MS:
            return None
        return found[1]

    def note_protocol(self, tx: Tx, *, url: str, protocol: int, moment: Moment) -> None:
        """Remember the MQTT version that this broker speaks."""
        rows.note_line(tx, url, protocol=protocol, noted_ms=moment.agent_ms)

    def clear_alert(self, tx: Tx, code: AlertCode, *, moment: Moment) -> None:
        """End an alert; what was not acknowledged is still told, because it did happen."""
        if rows.clear_alert(tx, code):
            audit.append(tx, Event(kind="alert_cleared", rule=code), moment=moment)

    def alerts(self, tx: Tx) -> tuple[tuple[str, int, int], ...]:
        """Return (code, since in agent milliseconds, count) of every alert that stands."""
        return rows.alerts(tx)


def _weight(code: str) -> int:
    return _INCIDENT if code in INCIDENTS else _USUAL
