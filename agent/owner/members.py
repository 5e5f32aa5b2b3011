"""Who may ask a device for what: versions of the key set, made and signed. Bytes and values only.

The root signs nothing else. Each version is read back by the very parser that the device uses, so what is handed out is
what will be accepted.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Final, Literal

import msgspec

from agent.envelope import (
    TYP_KEYSET,
    Approvals,
    Descriptor,
    Key,
    KeySet,
    PrivateKey,
    Quota,
    keyset_claims,
    parse_keyset,
    public_jwk,
    raw_signature,
    sign,
    thumbprint,
)
from agent.envelope.jws import alg_of
from agent.envelope.keyset import BACKEND_VERBS, GRANTED_ALONE, ROLE_VERBS, KeyRole, Verb
from agent.errors import ConfigError

BACKEND_QUOTA: Final = Quota(objects=100, bytes=10 * 10**9, window_s=24 * 3600)
"""Above it a backend's command waits for the owner: a stolen backend key empties no vault overnight."""

_ROLES: Final[dict[str, KeyRole]] = {"client": "client", "backend": "backend", "store": "store", "time": "time"}


def entry(descriptor: Descriptor, *, quota: Quota | None = None, grant: Collection[Verb] = ()) -> Key:
    """Return the key set's entry for a descriptor: its role's usual verbs and what is granted, a backend under a quota.

    A backend gets ``BACKEND_VERBS`` alone, and what its owner grants it besides.

    A device or an owner is no member: ``ConfigError``.
    """
    role = _ROLES.get(descriptor.role)
    if role is None:
        raise ConfigError(
            f"this describes a {descriptor.role}, which is no member of a key set",
            hint="give the descriptor of a client, backend, store or time source",
        )
    limit = quota or (BACKEND_QUOTA if role == "backend" else None)
    return Key(
        jwk=descriptor.jwk,
        alg=descriptor.alg,
        role=role,
        name=descriptor.name,
        verbs=_verbs(role, grant),
        recipient=descriptor.recipient,
        quota=limit,
    )


def usual_verbs(role: KeyRole) -> tuple[Verb, ...]:
    """Return what a key of a role may do without being granted anything by name."""
    usual = BACKEND_VERBS if role == "backend" else ROLE_VERBS[role]
    return tuple(verb for verb in usual if verb not in GRANTED_ALONE)


def _verbs(role: KeyRole, grant: Collection[Verb]) -> tuple[Verb, ...]:
    if wrong := sorted(set(grant) - set(ROLE_VERBS[role])):
        raise ConfigError(f"a {role} may not hold {', '.join(wrong)}", hint="docs/protocol.md section 4 has the table")
    return tuple(verb for verb in ROLE_VERBS[role] if verb in usual_verbs(role) or verb in grant)


def with_verbs(current: KeySet, name: str, more: Iterable[Verb], *, look: str) -> tuple[Key, ...]:
    """Return the keys with one that may do all that is usual for its role, and ``more``; raises ``ConfigError``.

    What it was granted before it keeps.
    """
    key = _named(current, name, look=look)
    verbs = _verbs(key.role, {*key.verbs, *more})
    return tuple(msgspec.structs.replace(one, verbs=verbs) if one is key else one for one in current.keys)


def issue(
    keys: Iterable[Key],
    *,
    current: KeySet | None,
    root: PrivateKey,
    iat_s: int,
    approvals: Approvals | Literal["as before"] | None = "as before",
) -> KeySet:
    """Sign the version after ``current``; what it asked of several clients stays unless ``approvals`` says otherwise.

    Raises ``RefusedError`` for a key that cannot be, ``ConfigError`` for a root that is not the one that signed before.
    """
    jwk = public_jwk(root)
    if current is not None and current.root != jwk:
        raise ConfigError("this is another owner's root key", hint="name the root.key that was made with this home")
    if approvals == "as before":
        approvals = current.approvals if current is not None else None
    claims = keyset_claims(
        keys,
        approvals=approvals,
        version=current.version + 1 if current is not None else 1,
        prev=current.sha256 if current is not None else "",
        iat=iat_s,
        root_jwk=jwk,
    )
    raw = sign(claims, typ=TYP_KEYSET, kid=thumbprint(jwk), alg=alg_of(jwk), sign=signer(root))
    return parse_keyset(raw, root_jwk=jwk, current=current)


def succeed(keys: Iterable[Key], *, current: KeySet, root: PrivateKey, iat_s: int) -> KeySet:
    """Sign the version after ``current`` with the root that takes the place of the one that signed it."""
    jwk = public_jwk(root)
    former = msgspec.structs.replace(current, root=jwk)  # the chain goes on; who signs it is another
    return issue(keys, current=former, root=root, iat_s=iat_s)


def with_member(
    current: KeySet, descriptor: Descriptor, *, look: str, quota: Quota | None = None, grant: Collection[Verb] = ()
) -> tuple[Key, ...]:
    """Return the keys with one more; one that is there already is a ``ConfigError``.

    ``look``, here as in the others, is the command that shows the keys: such an error names it.
    """
    if current.key(descriptor.kid) is not None:
        raise ConfigError(f"{descriptor.name!r} is in the key set already", hint=look)
    return (*current.keys, entry(descriptor, quota=quota, grant=grant))


def without_member(current: KeySet, name: str, *, look: str) -> tuple[Key, ...]:
    """Return the keys without the one of that name or key id; raises ``ConfigError`` if it is not exactly one."""
    gone = _named(current, name, look=look)
    return tuple(key for key in current.keys if key is not gone)


def _named(current: KeySet, name: str, *, look: str) -> Key:
    found = [key for key in current.keys if name in {key.name, key.kid}]
    if len(found) != 1:
        what = "no key" if not found else f"{len(found)} keys"
        raise ConfigError(f"{what} of the key set has the name or id {name!r}", hint=look)
    return found[0]


def signer(key: PrivateKey) -> Callable[[bytes], bytes]:
    """Return what ``envelope.sign`` asks for."""
    return lambda data: raw_signature(key, data)
