"""Seals and unseals messages in the age format: X25519 by pyrage, post-quantum recipients by ``age_pq``.

The cloud's own keys are X25519, so everything that it reads is opened by pyrage: an implementation of age that is not
the agent's.
"""

from importlib import import_module
from typing import Protocol, cast

from device_sim.cloud import age_pq
from device_sim.cloud.failure import MessageError, SetupError


class _Identity(Protocol):
    def to_public(self) -> object: ...


class _X25519Identity(Protocol):
    def generate(self) -> _Identity: ...
    def from_str(self, text: str) -> _Identity: ...


class _X25519Recipient(Protocol):
    def from_str(self, text: str) -> object: ...


class _X25519(Protocol):
    Identity: _X25519Identity
    Recipient: _X25519Recipient


class _Pyrage(Protocol):
    """What is used of pyrage, which ships no types."""

    DecryptError: type[Exception]
    IdentityError: type[Exception]
    RecipientError: type[Exception]
    x25519: _X25519

    def encrypt(self, clear: bytes, recipients: list[object]) -> bytes: ...
    def decrypt(self, sealed: bytes, identities: list[_Identity]) -> bytes: ...


_pyrage = cast("_Pyrage", import_module("pyrage"))


def generate_identity() -> tuple[str, str]:
    """Make an X25519 identity; returns it and its recipient."""
    identity = _pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def seal(clear: bytes, recipient: str) -> bytes:
    """Encrypt a message to its one reader; raises ``SetupError`` if the recipient is none."""
    if recipient.startswith(f"{age_pq.HRP}1"):
        try:
            return age_pq.encrypt(clear, recipient)
        except age_pq.RecipientError as error:
            raise SetupError(str(error), hint="copy the recipient again, whole") from error
        except ValueError as error:
            raise MessageError(str(error)) from error
    try:
        return _pyrage.encrypt(clear, [_pyrage.x25519.Recipient.from_str(recipient)])
    except _pyrage.RecipientError as error:
        raise SetupError("not an age recipient", hint="give one that starts with age1") from error


def unseal(sealed: bytes, identity: str) -> bytes:
    """Decrypt a message; raises ``MessageError`` if it is not for this identity or damaged."""
    try:
        return _pyrage.decrypt(sealed, [_pyrage.x25519.Identity.from_str(identity)])
    except _pyrage.DecryptError as error:
        raise MessageError("the seal cannot be opened") from error
    except _pyrage.IdentityError as error:
        raise SetupError("not an age identity", hint="make new keys: device-sim cloud init DIR") from error
