"""One owner's root hands over to another (``docs/protocol.md`` §3): two lines, a statement and the next key set.

The root that is left signs who the owner is from now on; the new root signs the next version of the key set. Either
line alone changes nothing. Whoever holds the former root then, on paper or stolen, signs nothing more that a device
believes.
"""

from typing import Any, Final

import msgspec

from agent.envelope.form import SECONDS
from agent.envelope.jws import alg_of, parse, verify
from agent.envelope.keyset import Descriptor, KeySet, parse_descriptor, parse_keyset
from agent.envelope.kinds import TYP_SUCCESSION
from agent.errors import CorruptError, RefusedError

_MEMBERS: Final = frozenset({"iat", "root", "owner"})


class Succession(msgspec.Struct, frozen=True):
    """A verified hand-over: who the owner is from now on, and the key set that is in force then."""

    owner: Descriptor
    key_set: KeySet


def succession_claims(owner: Descriptor, *, root_jwk: dict[str, str], iat: int) -> dict[str, Any]:
    """Return the claims that the root that is left signs as ``pv1.succession``."""
    return {"iat": iat, "root": root_jwk, "owner": msgspec.to_builtins(owner)}


def is_succession(raw: bytes) -> bool:
    """Tell whether bytes have the form of a hand-over; nothing is verified."""
    try:
        parse(raw.strip().partition(b"\n")[0], typ=TYP_SUCCESSION)
    except CorruptError:
        return False
    return True


def read_succession(raw: bytes, *, root_jwk: dict[str, str], current: KeySet | None) -> Succession:
    """Return the hand-over if this root signed it and its key set follows ``current``.

    Raises ``CorruptError`` for bytes without form, ``RefusedError`` with ``bad_signature`` (another root),
    ``stale_seq`` (a key set that does not go on) or ``malformed``.
    """
    first, _, second = raw.strip().partition(b"\n")
    claims = verify(parse(first, typ=TYP_SUCCESSION), jwk=root_jwk, alg=alg_of(root_jwk))
    iat = claims.get("iat")
    if set(claims) != _MEMBERS or claims["root"] != root_jwk or type(iat) is not int or not 0 <= iat <= SECONDS:
        raise _malformed("a succession has iat, the root that signed it, and owner")
    try:
        owner = parse_descriptor(msgspec.json.encode(claims["owner"]))
    except CorruptError as error:
        raise _malformed(error.message) from error
    if owner.role != "owner" or owner.jwk == root_jwk:
        raise _malformed("a succession names another root as the owner's")
    key_set = parse_keyset(second, root_jwk=owner.jwk, current=current)
    if current is not None and key_set is current:
        raise _malformed("a succession brings the next key set")
    return Succession(owner, key_set)


def _malformed(message: str) -> RefusedError:
    return RefusedError(message, reason="malformed", retry="after_fix")
