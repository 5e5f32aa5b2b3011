"""Keys as people keep them: recipient and identity strings, and the files that age-keygen writes.

A wrong string raises ``ConfigError``, which names the line but never repeats what stood there. The post-quantum code
is loaded only when such a key turns up.
"""

from collections.abc import Callable
from os import urandom
from typing import Final, Protocol, TypeVar

from agent.age import bech32
from agent.age.filekey import Unwraps, Wraps, new_file_key
from agent.errors import ConfigError

Key = TypeVar("Key")

# A thousand post-quantum recipients; an identity file has one line or a few.
KEY_FILE_MAX_CHARACTERS: Final = 2_000_000

_RECIPIENT: Final = "age"
_RECIPIENT_PQ: Final = "age1pq"
_IDENTITY: Final = "age-secret-key-"
_IDENTITY_PQ: Final = "age-secret-key-pq-"


class Recipient(Wraps, Protocol):
    """A public key that files are sealed to."""

    def to_text(self) -> str:
        """Write the key as a person keeps it."""


class Identity(Unwraps, Protocol):
    """A secret key that opens files sealed to its recipient."""

    def to_text(self) -> str:
        """Write the secret: only for the file that keeps it."""

    def recipient(self) -> Recipient:
        """Return the public half."""


def generate_identity(*, post_quantum: bool, random: Callable[[int], bytes] = urandom) -> Identity:
    """Make a fresh identity: ``mlkem768x25519`` if ``post_quantum``, else X25519."""
    if post_quantum:
        from agent.age.hybrid import HybridIdentity  # noqa: PLC0415 - see the module's docstring

        return HybridIdentity.generate(random=random)
    from agent.age.x25519 import X25519Identity  # noqa: PLC0415 - the same

    return X25519Identity.generate(random=random)


def parse_recipient(text: str) -> Recipient:
    """Read ``age1…`` or ``age1pq1…``; ``ConfigError`` for anything else."""
    text = text.strip()
    if text[: len(_IDENTITY)].lower() == _IDENTITY:
        raise ConfigError(
            "this is a secret key, not a recipient", hint="give the public key that its file names in a comment"
        )
    if text != text.lower() or not text.startswith("age1"):
        raise ConfigError("this is no age recipient", hint="recipients start with age1 or age1pq1")
    prefix, public = bech32.decode(text)
    if prefix == _RECIPIENT_PQ:
        from agent.age.hybrid import HybridRecipient  # noqa: PLC0415 - see the module's docstring

        return HybridRecipient(public)
    if prefix == _RECIPIENT:
        from agent.age.x25519 import X25519Recipient  # noqa: PLC0415 - the same

        return X25519Recipient(public)
    raise ConfigError(
        "this kind of recipient needs an age plugin, which is not supported", hint="use an age1… or age1pq1… key"
    )


def require_usable(text: str) -> None:
    """Raise ``ConfigError`` unless a file can be sealed to this recipient: it is tried, on a key that is thrown away.

    For whoever accepts a recipient long before the first file is sealed to it.
    """
    parse_recipient(text).wrap(new_file_key())


def parse_identity(text: str) -> Identity:
    """Read ``AGE-SECRET-KEY-1…`` or ``AGE-SECRET-KEY-PQ-1…``; ``ConfigError`` for anything else."""
    text = text.strip()
    if text != text.upper() or not text.startswith("AGE-"):
        raise ConfigError("this is no age identity", hint="identities start with AGE-SECRET-KEY-")
    prefix, secret = bech32.decode(text)
    if prefix == _IDENTITY_PQ:
        from agent.age.hybrid import HybridIdentity  # noqa: PLC0415 - see the module's docstring

        return HybridIdentity(secret)
    if prefix == _IDENTITY:
        from agent.age.x25519 import X25519Identity  # noqa: PLC0415 - the same

        return X25519Identity(secret)
    raise ConfigError("this kind of identity is not supported", hint="use an AGE-SECRET-KEY-… of age-keygen")


def parse_recipient_file(text: str) -> tuple[Recipient, ...]:
    """Read one recipient per line, ``#`` comments and empty lines apart; ``ConfigError`` names a bad line."""
    return tuple(_parse_line(parse_recipient, number, line) for number, line in _lines(text, what="recipient"))


def parse_identity_file(text: str) -> tuple[Identity, ...]:
    """Read one identity per line, ``#`` comments and empty lines apart; ``ConfigError`` names a bad line."""
    return tuple(_parse_line(parse_identity, number, line) for number, line in _lines(text, what="identity"))


def write_identity_file(identity: Identity, *, created: str) -> str:
    """Write an identity as age-keygen does; ``created`` is RFC 3339."""
    return f"# created: {created}\n# public key: {identity.recipient().to_text()}\n{identity.to_text()}\n"


def _lines(text: str, *, what: str) -> list[tuple[int, str]]:
    if len(text) > KEY_FILE_MAX_CHARACTERS:
        raise ConfigError(f"this is no {what} file: it is too large", hint="give the file that holds the keys")
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    found = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not found:
        raise ConfigError(f"the file holds no {what}", hint="give the file that holds the keys")
    return found


def _parse_line(parse: Callable[[str], Key], number: int, line: str) -> Key:
    try:
        return parse(line)
    except ConfigError as error:
        raise ConfigError(f"line {number}: {error.message}", hint=error.hint) from None
