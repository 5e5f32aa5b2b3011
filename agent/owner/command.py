"""Signed requests: what a person asks for becomes claims, a signature and bytes for one device. No files, no clock.

What is made here is read back by the parser that the device uses, so a request that it would call malformed is found
before a sequence number is spent.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agent import age
from agent.clock import rfc3339_ms
from agent.envelope import (
    TYP,
    Alg,
    Command,
    Descriptor,
    PrivateKey,
    decode_strictly,
    frame,
    parse_command,
    sign,
)
from agent.envelope import parse as parse_jws
from agent.envelope.command import MAX_LIFETIME_S
from agent.envelope.form import HASH
from agent.envelope.kinds import MAX_SELECT_IDS
from agent.errors import ConfigError, RefusedError
from agent.model import CATEGORIES, Selection, is_camera_id, is_id
from agent.owner.members import signer
from agent.shell.times import parse_when

DESTRUCTIVE: Final = frozenset({"delete", "approve", "erase-all", "end-service", "policy"})
"""Verbs that end recordings, or let something else do so: nothing sends them without a yes."""

WHERE_IT_WAITS: Final = (
    "its alert (privacy-owner listen, then privacy-owner alerts); of a command of yours privacy-owner pending; "
    "at the device, of a policy privacy-agent policy show --waiting, else privacy-agent status"
)
"""Where a person finds the id and the hash of what waits for an ``approve``."""


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs: this client's public side and its key."""

    kid: str
    alg: Alg
    key: PrivateKey


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A command ready to be sent: the same bytes at every repeat."""

    jti: str
    seq: int
    verb: str
    jws: bytes
    payload: bytes


def selection(
    *,
    ids: Sequence[str] = (),
    camera: str = "",
    category: str = "",
    start: str = "",
    end: str = "",
    everything: bool = False,
    now_ms: int,
) -> Selection:
    """Return the selection that the arguments name; raises ``ConfigError`` unless they name exactly one kind."""
    by_range = any((camera, category, start, end))
    if bool(ids) + by_range + everything != 1:
        raise ConfigError(
            "which objects? nothing was selected, or by two kinds at once",
            hint="name ids, or some of --camera --category --from --to, or --all",
        )
    if category and category not in CATEGORIES:
        raise ConfigError(f"category {category!r} is not known", hint=f"use one of: {', '.join(CATEGORIES)}")
    if len(set(ids)) > MAX_SELECT_IDS:
        raise ConfigError(
            f"{len(set(ids))} ids, and a command takes {MAX_SELECT_IDS}",
            hint="give several commands, or select by --camera, --category, --from and --to",
        )
    if camera:
        require_camera(camera)
    for name in ids:
        require_object(name)
    begin_ms, end_ms = (parse_when(text, now_ms=now_ms) if text else None for text in (start, end))
    if begin_ms is not None and end_ms is not None and begin_ms >= end_ms:
        raise ConfigError("from is not before to", hint="name the earlier time first: --from 14d --to 7d")
    return Selection(
        ids=tuple(dict.fromkeys(ids)) or None,
        camera=camera or None,
        category=msgspec.convert(category, type=Any) if category else None,
        from_=None if begin_ms is None else rfc3339_ms(begin_ms),
        to=None if end_ms is None else rfc3339_ms(end_ms),
        all=True if everything else None,
    )


def require_camera(text: str) -> str:
    """Return ``text`` if a camera can have that id; raises ``ConfigError``."""
    if not is_camera_id(text):
        raise ConfigError(
            f"--camera {text!r} is no camera's id",
            hint="privacy-owner inventory --json tells each camera's, or privacy-agent cameras at the device",
        )
    return text


def require_object(text: str) -> str:
    """Return ``text`` if an object can have that id; raises ``ConfigError``."""
    if not is_id(text):
        raise ConfigError(f"{text!r} is not an id", hint="copy the 26 characters from: privacy-owner inventory")
    return text


def require_command_id(text: str, *, what: str, where: str = "privacy-owner pending") -> str:
    """Return ``text`` if a command can have that id; raises ``ConfigError`` naming ``what``, and ``where`` ids are."""
    if not is_id(text):
        raise ConfigError(f"{what} {text!r} is no command's id", hint=f"copy the 26 characters from: {where}")
    return text


def require_hash(text: str) -> str:
    """Return ``text`` if it can be a selection's hash; raises ``ConfigError``."""
    if re.fullmatch(HASH, text) is None:
        raise ConfigError(
            f"SELECTION-HASH {text!r} is not 64 digits 0 to 9 and a to f",
            hint=f"copy COMMAND and SELECTION-HASH from: {WHERE_IT_WAITS}",
        )
    return text


def require_recipients(texts: Sequence[str]) -> list[str]:
    """Return the recipients if files can be sealed to each; raises ``ConfigError``."""
    for text in texts:
        try:
            age.parse_recipient(text)
        except ConfigError as error:
            raise ConfigError(f"--recipient {text!r}: {error.message}", hint=error.hint) from error
    return list(texts)


def build(
    verb: str,
    own: dict[str, Any],
    *,
    me: Me,
    device: Descriptor,
    jti: str,
    seq: int,
    iat_s: int,
    lifetime_s: int,
    after: str = "",
) -> Signed:
    """Sign a command and seal it to the device; raises ``ConfigError`` for one that the device would refuse."""
    claims: dict[str, Any] = {
        "iss": me.kid,
        "aud": device.name,
        "iat": iat_s,
        "exp": iat_s + lifetime_s,
        "jti": jti,
        "seq": seq,
        "verb": verb,
        **({"after": after} if after else {}),
        **own,
    }
    require_sound(claims)
    jws = sign(claims, typ=TYP["command"], kid=me.kid, alg=me.alg, sign=signer(me.key))
    payload = frame("command", age.encrypt(jws, [age.parse_recipient(device.recipient)]))
    return Signed(jti=jti, seq=seq, verb=verb, jws=jws, payload=payload)


def require_sound(claims: dict[str, Any]) -> None:
    """Raise ``ConfigError`` for claims that a device would call malformed."""
    try:
        parse_command(claims)
    except RefusedError as error:
        is_long = claims["exp"] - claims["iat"] > MAX_LIFETIME_S
        hint = "at most 31 days" if is_long else "see what the command's --help says, and correct what is named"
        raise ConfigError(error.message, hint=hint) from error


def as_claim(select: Selection) -> dict[str, Any]:
    """Write a selection as ``select`` has it."""
    built: dict[str, Any] = msgspec.to_builtins(select)
    return built


def ack(jtis: Sequence[str], *, me: Me, device: str, iat_s: int) -> bytes:
    """Return the payload that tells a device which receipts and alerts we keep."""
    claims = {"iss": me.kid, "aud": device, "iat": iat_s, "acks": list(jtis)}
    return frame("ack", sign(claims, typ=TYP["ack"], kid=me.kid, alg=me.alg, sign=signer(me.key)))


def claims_of(jws: bytes) -> dict[str, Any]:
    """Read back the claims of a command that we signed and kept."""
    unverified = parse_jws(jws, typ=TYP["command"])
    return decode_strictly(unverified.unverified_payload, max_bytes=len(unverified.unverified_payload))


def command_of(signed: Signed) -> Command:
    """Read back a command that we signed and kept."""
    return parse_command(claims_of(signed.jws))
