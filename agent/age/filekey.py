"""The file key: made fresh for one payload, wrapped for recipients in a header, got back with an identity.

A header can be made again from the file key alone, for other recipients, while the payload stays as it is: that is
what lets an export rewrap instead of re-encrypt. Rewrapping is never a revocation.

Rules of our writer, refused with ``ConfigError``: at least one recipient; post-quantum and classic are not mixed,
because the weakest recipient decides; a passphrase stands alone. The reader follows age and accepts mixed headers.
"""

import os
from collections.abc import Callable, Iterable
from typing import Protocol

from agent.age.failure import HeaderError, NoMatchError
from agent.age.format import FILE_KEY_BYTES, HEADER_MAX_BYTES, Stanza, check_mac, parse_header, write_header
from agent.errors import ConfigError

_LONE_KIND = "scrypt"  # the stanza kind that must stand alone; its module is loaded only by who uses it


class Wraps(Protocol):
    """What a file key can be wrapped for; ``label`` says which recipients may share a header."""

    @property
    def label(self) -> str:
        """Give '' for classic keys; recipients of different labels never share a header."""

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap a file key."""


class Unwraps(Protocol):
    """What may open a header; ``kind`` names the stanza type that it reads."""

    @property
    def kind(self) -> str:
        """Give the kind of its stanzas; it is shown no other."""

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """Return the file key if the stanza is for this identity; raises ``HeaderError`` if it is malformed."""


def new_file_key(random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Make the key of exactly one payload; using it for a second one breaks the encryption of both."""
    return random(FILE_KEY_BYTES)


def wrap_header(file_key: bytes, recipients: Iterable[Wraps]) -> bytes:
    """Return the whole header, MAC line included, that opens ``file_key`` for the recipients.

    Raises ``ConfigError`` when they are none, too many for ``HEADER_MAX_BYTES``, or may not share a header.
    """
    assert len(file_key) == FILE_KEY_BYTES  # noqa: S101 - a caller's mistake, not bad input
    chosen = tuple(recipients)
    if not chosen:
        raise ConfigError("no recipient is given, so nobody could open the file", hint="name at least one recipient")
    labels = {recipient.label for recipient in chosen}
    if len(labels) > 1:
        raise ConfigError(
            "post-quantum and classic recipients can't share a file: the classic one would weaken the other",
            hint="use only age1pq1… keys, or none",
        )
    stanzas = tuple(recipient.wrap(file_key) for recipient in chosen)
    if len(stanzas) > 1 and any(stanza.kind == _LONE_KIND for stanza in stanzas):
        raise ConfigError("a passphrase must be the only recipient", hint="seal a second file for the others")
    header = write_header(stanzas, file_key)
    if len(header) > HEADER_MAX_BYTES:
        raise ConfigError(
            f"{len(stanzas)} recipients need a header of {len(header)} bytes, more than {HEADER_MAX_BYTES}",
            hint="seal to fewer recipients",
        )
    return header


def unwrap_header(header: bytes, identities: Iterable[Unwraps]) -> bytes:
    """Return the file key of a whole header after checking its MAC.

    Raises ``HeaderError``, ``NoMatchError`` or ``HmacError``, all of them ``CorruptError``.
    """
    parsed = parse_header(header)
    if len(parsed.stanzas) > 1 and any(stanza.kind == _LONE_KIND for stanza in parsed.stanzas):
        raise HeaderError("a passphrase stanza is not alone in its header")
    for identity in identities:
        for stanza in parsed.stanzas:
            if stanza.kind == identity.kind and (file_key := identity.unwrap(stanza)) is not None:
                check_mac(parsed, file_key)
                return file_key
    raise NoMatchError("none of the identities opens this file", hint="use the identity of one of its recipients")
