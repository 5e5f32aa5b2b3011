"""Bytes become a judged command, a refusal, or a counted nothing: the order of checks of ``docs/protocol.md`` §4.

Until the signature holds nobody is known: what fails before is counted and never answered, so a stranger can neither
probe nor flood. After it every failure has a reason. Nothing here has an effect; the numbers are the document's.
"""

import re
from typing import Any, Final, Literal

import msgspec

from agent import age
from agent.clock import MS_PER_S
from agent.envelope import (
    HOLD_MAX_S,
    TYP,
    Ack,
    Command,
    Hold,
    Key,
    Kind,
    SetTime,
    Unverified,
    claimed_jti,
    parse,
    parse_ack,
    parse_command,
    signing_input_sha256,
    unframe,
    verify,
)
from agent.errors import CorruptError, RefusedError
from agent.index import Tx
from agent.keystore import Keystore
from agent.model import Moment
from agent.timeline import LONGEST_OFF_MS
from agent.trust import CommandRow, Trust

IAT_AHEAD_S: Final = 300
_VERB: Final = re.compile(r"[A-Za-z-]{1,32}")
"""What is told back of a verb, whatever it is; longer than any will be."""

_AGE_MAGIC: Final = b"age-encryption.org/v1\n"

Unheard = Literal["unreadable", "unknown_key", "bad_signature"]


class Incoming(msgspec.Struct, frozen=True):
    """A message that has the form of one; nobody is known yet."""

    kind: Kind
    unverified: Unverified
    digest: str


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A command of a known key that passed steps up to 3; its rights and quota are not judged."""

    key: Key
    command: Command
    digest: str
    claims: bytes


class Repeat(msgspec.Struct, frozen=True):
    """The very bytes of a command that was taken up before."""

    row: CommandRow


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """A command of a known key that is refused without being taken up."""

    key: Key
    digest: str
    jti: str
    verb: str
    seq: int
    error: RefusedError


class Stranger(msgspec.Struct, frozen=True):
    """Nobody we know said this, or nobody at all."""

    why: Unheard


def read_payload(raw: bytes, *, keystore: Keystore) -> Incoming:
    """Read an MQTT payload of ``cmd``: kind byte, then a sealed command or an ack; raises ``CorruptError``."""
    kind, body = unframe(raw, channel="cmd")
    jws = _opened(body, keystore) if kind == "command" else body
    return Incoming(kind, parse(jws, typ=TYP[kind]), signing_input_sha256(jws))


def read_file(raw: bytes, *, keystore: Keystore) -> Incoming:
    """Read a command file: an MQTT payload, a sealed JWS, or a bare one; raises ``CorruptError``."""
    if raw[:1] in {b"\x01", b"\x02"}:
        return read_payload(raw, keystore=keystore)
    jws = _opened(raw, keystore) if raw.startswith(_AGE_MAGIC) else raw.strip()
    return Incoming("command", parse(jws, typ=TYP["command"]), signing_input_sha256(jws))


def _opened(sealed: bytes, keystore: Keystore) -> bytes:
    return age.decrypt(sealed, keystore.identities(), stanzas_max=age.STANZAS_MAX)


def hear(
    tx: Tx, incoming: Incoming, *, trust: Trust, device: str, moment: Moment
) -> Heard | Repeat | Turned | Stranger:
    """Judge a command up to and with step 3; changes nothing."""
    unverified = incoming.unverified
    key = trust.valid_key(tx, unverified.unverified_kid, moment=moment)
    if key is None:
        return Stranger("unknown_key")
    claims: dict[str, Any] = {}
    try:
        claims = verify(unverified, jwk=key.jwk, alg=key.alg)
        _require_audience(claims, device=device, kid=key.kid)
        command = parse_command(claims)
        found = _known(tx, command, key, incoming.digest, trust=trust)
        if found is not None:
            return Repeat(found)
        _require_fresh_seq(tx, command, key, trust=trust)
        _require_not_ahead(command, moment=moment)
        _require_end_in_reach(command, moment=moment)
    except RefusedError as error:
        if error.reason == "bad_signature":
            return Stranger("bad_signature")
        return _turned(key, incoming.digest, claims, error)
    except CorruptError as error:
        wrong = RefusedError(error.message, reason="malformed", retry="after_fix")
        return _turned(key, incoming.digest, claims, wrong)
    return Heard(key=key, command=command, digest=incoming.digest, claims=unverified.unverified_payload)


def hear_ack(tx: Tx, incoming: Incoming, *, trust: Trust, device: str) -> Ack | Stranger:
    """Judge an ack: signature, audience, form; it has no sequence number because repeating it changes nothing."""
    key = trust.key(tx, incoming.unverified.unverified_kid)
    if key is None:
        return Stranger("unknown_key")
    try:
        claims = verify(incoming.unverified, jwk=key.jwk, alg=key.alg)
        _require_audience(claims, device=device, kid=key.kid)
        return parse_ack(claims)
    except RefusedError as error:
        return Stranger("bad_signature" if error.reason == "bad_signature" else "unreadable")
    except CorruptError:
        return Stranger("unreadable")


def judge_verb(heard: Heard, *, moment: Moment) -> None:
    """Do the part of 3 and 4 whose refusal is kept: raises ``expired`` or ``verb_not_allowed``."""
    command = heard.command
    if moment.trusted and moment.agent_ms // MS_PER_S >= command.exp:
        raise RefusedError("exp has passed", reason="expired", retry="after_fix")
    if command.verb not in heard.key.verbs:
        raise RefusedError("the key does not hold this verb", reason="verb_not_allowed")
    if isinstance(command.request, SetTime) and not command.iat - IAT_AHEAD_S <= command.request.now < command.exp:
        raise RefusedError("now lies outside iat and exp", reason="malformed", retry="after_fix")


def _require_audience(claims: dict[str, Any], *, device: str, kid: str) -> None:
    audience = claims.get("aud")
    if isinstance(audience, str) and audience != device:
        raise RefusedError("addressed to another device", reason="wrong_audience")
    if claims.get("iss") != kid:
        raise RefusedError("iss is not the key that signed", reason="malformed", retry="after_fix")


def _known(tx: Tx, command: Command, key: Key, digest: str, *, trust: Trust) -> CommandRow | None:
    # 1. The id first: a repeat of old bytes must find its receipt even when its number has left the window.
    found = trust.command(tx, command.jti)
    if found is None:
        return None
    if found.digest != digest or found.kid != key.kid:
        raise RefusedError("this jti was used with other bytes", reason="jti_reused", retry="after_fix")
    return found


def _require_fresh_seq(tx: Tx, command: Command, key: Key, *, trust: Trust) -> None:
    # 2. The window.
    verdict = trust.judge_seq(tx, key.kid, command.seq)
    if verdict == "used":
        raise RefusedError("this seq was used by another command", reason="seq_reused", retry="after_fix")
    if verdict == "stale":
        raise RefusedError("this seq lies below the window", reason="stale_seq", retry="after_fix")


def _require_not_ahead(command: Command, *, moment: Moment) -> None:
    # 3. The part that waiting cures; while the clock is unsure neither part is judged.
    if moment.trusted and command.iat > moment.agent_ms // MS_PER_S + IAT_AHEAD_S:
        raise RefusedError("iat lies ahead", reason="not_yet_valid", retry="later")


def _require_end_in_reach(command: Command, *, moment: Moment) -> None:
    # 3. While the clock is unsure a hold's end is bound to the sender's clock alone, and ours may be behind by so much.
    reach_ms = HOLD_MAX_S * MS_PER_S + LONGEST_OFF_MS
    if isinstance(command.request, Hold) and command.request.until_ms > moment.agent_ms + reach_ms:
        raise RefusedError("until lies ahead of every clock that may be right", reason="not_yet_valid", retry="later")


def _turned(key: Key, digest: str, claims: dict[str, Any], error: RefusedError) -> Turned:
    verb, seq = claims.get("verb"), claims.get("seq")
    return Turned(
        key=key,
        digest=digest,
        jti=claimed_jti(claims),
        verb=verb if isinstance(verb, str) and _VERB.fullmatch(verb) else "",
        seq=seq if isinstance(seq, int) and not isinstance(seq, bool) else 0,
        error=error,
    )
