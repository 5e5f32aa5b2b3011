"""What waits for a reader until that reader has it: receipts and alerts, signed and sealed to one key each.

Rules: a message is written in the transaction of what it tells; of one thing (a command, an alert code and what it is
about) only the newest message waits for a reader; rows leave when the reader's ``ack`` names them, when its key leaves
the key set, or, light ones first, when a reader that never acknowledges has ``WAITING_MAX`` of them. Who sends
remembers the last row sent in this connection and starts again from 0 at the next one and every ``REPEAT_S``.
"""

from typing import Any, Final, Literal, Protocol, get_args

import msgspec

from agent import age, audit
from agent.audit import Event, Signer
from agent.clock import MS_PER_S, rfc3339_ms
from agent.envelope import TYP, Key, Kind, frame, sign
from agent.errors import ConfigError
from agent.index import Tx
from agent.index import outbox as rows
from agent.index.outbox import Message, Told
from agent.model import Moment, RandomBytes, new_id

AlertCode = Literal[
    "clock_unsure", "clock_jump", "disk_full", "source_failed", "certificate_expiring", "store_rolled_back",
    "upload_region_refused", "mass_delete_waiting", "retention_waiting", "unknown_keys", "takeover", "corrupt_object",
    "audit_broken", "acl_broken", "unusable_key", "removal_failed", "camera_impostor", "forged_message", "key_misused",
    "request_flood", "approval_waiting", "held", "hold_ended",
    "request_due", "request_overdue", "policy_waiting", "policy_tightened", "policy_unreadable",
    "service_ending", "removed_unsent",
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
        "removed_unsent",
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

APART_MAX: Final = 64
"""Alerts of one code, each about something else, that are told apart (I11); further ones share one message."""

_ABOUT_ALERT: Final = "alert/"
_LIGHT, _USUAL, _INCIDENT = range(3)
"""What goes first from the queue of a reader that never acknowledges: the lighter, then the older."""

__all__ = [
    "ALERT_CODES",
    "APART_MAX",
    "INCIDENTS",
    "REPEAT_S",
    "UNTIL_ACKNOWLEDGED",
    "WAITING_MAX",
    "Alert",
    "AlertCode",
    "Message",
    "Outbox",
    "RaiseIn",
    "Warn",
]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, what that means, what to do: sentences for a person, without names or labels.

    ``about`` is the id of the key, command, hold or object that it tells of, ``""`` where that is the whole device.
    One that asks about a policy shows its lines as they are: they are sealed to the owner, who is to judge them.
    """

    code: AlertCode
    what: str
    effect: str
    next: str
    about: str = ""


class RaiseIn(Protocol):
    """Raises an alert in the transaction of what it is about."""

    def __call__(self, tx: Tx, code: str, what: str, moment: Moment, *, about: str = "") -> object:
        """Raise or repeat it; ``what`` is one sentence, ``about`` as an ``Alert`` has it."""
        ...


class Warn(Protocol):
    """Has an alert raised soon, outside any transaction."""

    def __call__(self, code: str, what: str, about: str = "") -> None:
        """Have it raised or repeated, as ``RaiseIn`` does; without ``what`` it has ended."""
        ...


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
        dropped = sum(rows.drop_reader(tx, reader) for reader in rows.readers(tx) if reader not in kids)
        rows.forget_told(tx)
        return dropped

    def acknowledged(self, tx: Tx, kid: str, jtis: tuple[str, ...], *, moment: Moment) -> int:
        """Drop what this reader says it has, and end the alerts that are over with that; return how many messages.

        What other readers have not acknowledged still waits for them.
        """
        abouts = rows.acknowledge(tx, kid, jtis)
        for code, about in (_parted(told) for told in abouts if told.startswith(_ABOUT_ALERT)):
            if code in UNTIL_ACKNOWLEDGED:
                self.clear_alert(tx, code, about=about, moment=moment)
        if abouts:
            rows.forget_told(tx)
        return len(abouts)

    def raise_alert(
        self, tx: Tx, alert: Alert, *, readers: tuple[Key, ...], at_once: bool = False, moment: Moment
    ) -> bool:
        """Raise or repeat an alert, one message for each reader; return whether anything was queued.

        A standing alert about the same counts up and is told again at most every ``ALERT_PAUSE_MS``, or ``at_once``.
        """
        alert = _bounded(tx, alert)
        standing = rows.alert(tx, alert.code, alert.about)
        since_ms, count, raised_ms = standing if standing is not None else (moment.agent_ms, 0, None)
        told = at_once or raised_ms is None or moment.agent_ms - raised_ms >= ALERT_PAUSE_MS
        rows.set_alert(
            tx,
            alert.code,
            alert.about,
            since_ms=since_ms,
            count=count + 1,
            raised_ms=moment.agent_ms if told or raised_ms is None else raised_ms,
        )
        if not told:
            return False
        if standing is None:
            audit.append(tx, Event(kind="alert_raised", rule=alert.code), moment=moment)
        told_last = Told(
            code=alert.code,
            about=alert.about,
            since_ms=since_ms,
            count=count + 1,
            what=alert.what,
            effect=alert.effect,
            next=alert.next,
        )
        rows.set_told(tx, told_last)
        for reader in readers:
            self._tell(tx, told_last, reader, moment=moment)
        return True

    def _tell(self, tx: Tx, told: Told, reader: Key, *, moment: Moment) -> None:
        jti = new_id(self._random)
        claims = {
            "iss": self._device,
            "aud": reader.kid,
            "iat": moment.agent_ms // MS_PER_S,
            "jti": jti,
            "code": told.code,
            "about": told.about,
            "since": rfc3339_ms(told.since_ms),
            "count": told.count,
            "incident": told.code in INCIDENTS,
            "what": told.what,
            "effect": told.effect,
            "next": told.next,
        }
        body = self.sealed("alert", claims, to=reader)
        if not body:
            return
        rows.put(
            tx,
            reader=reader.kid,
            about=f"{_ABOUT_ALERT}{told.code}/{told.about}",
            jti=jti,
            channel="alert",
            weight=_weight(told.code),
            body=body,
        )
        rows.drop_beyond(tx, reader.kid, keep=WAITING_MAX)

    def tell_newcomers(self, tx: Tx, newcomers: tuple[Key, ...], *, moment: Moment) -> None:
        """Tell readers that are new of each alert that stands, or that somebody has not acknowledged.

        Before ``drop_others``: what waits for a key that leaves the set, a lost phone's, passes to who comes in its
        place.
        """
        if newcomers:
            for told in rows.every_told(tx):
                for reader in newcomers:
                    self._tell(tx, told, reader, moment=moment)

    def tell_again(self, tx: Tx, kid: str) -> None:
        """Queue anew the alerts that wait for a reader who is there now: the next repeat may be 15 minutes away."""
        for message in rows.on_channel(tx, kid, "alert"):
            rows.put(
                tx,
                reader=kid,
                about=message.about,
                jti=message.jti,
                channel=message.channel,
                weight=_weight(_parted(message.about)[0]),
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

    def clear_alert(self, tx: Tx, code: AlertCode, *, about: str | None = None, moment: Moment) -> None:
        """End an alert, of all that it is about unless one thing is named; what was not acknowledged is still told."""
        if rows.clear_alert(tx, code, about):
            rows.forget_told(tx)
            audit.append(tx, Event(kind="alert_cleared", rule=code), moment=moment)

    def alerts(self, tx: Tx) -> tuple[tuple[str, int, int], ...]:
        """Return (code, since in agent milliseconds, count) of every code of which an alert stands."""
        return rows.alerts(tx)


def _bounded(tx: Tx, alert: Alert) -> Alert:
    """Return an alert as it is, or, where too many of its code are about something else, as one that they share."""
    apart = rows.told_apart(tx, alert.code, prefix=f"{_ABOUT_ALERT}{alert.code}/") if alert.about else frozenset()
    if alert.about in apart or len(apart) < APART_MAX:
        return alert
    shared = rows.alert(tx, alert.code, "")
    more = 1 if shared is None else shared[1] + 1
    what = f"{alert.what} Beside those that are told one by one this is number {more}."
    return msgspec.structs.replace(alert, what=what, about="")


def _parted(about: str) -> tuple[str, str]:
    """Return the code of an alert and what it is about."""
    code, _, subject = about.removeprefix(_ABOUT_ALERT).partition("/")
    return code, subject


def _weight(code: str) -> int:
    return _INCIDENT if code in INCIDENTS else _USUAL
