"""Who will be able to read an export, said before it goes: pure words, for a person to compare."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Final

_SHOWN: Final = 20
_DIGITS: Final = 32
_GROUP: Final = 4


def told(recipients: Sequence[str], *, own: Collection[str]) -> str:
    """Say for each recipient whose it is, as far as this home knows, with what two people compare of it."""
    lines = ["who will be able to read it:"]
    for recipient in recipients:
        whose = "you" if recipient in own else "whoever holds the identity of this recipient"
        kind = "post-quantum" if recipient.startswith("age1pq1") else "X25519"
        lines.append(f"  {recipient[:_SHOWN]}…  {kind}  {whose}")
        lines.append(f"    fingerprint {fingerprint(recipient)}")
    if not set(recipients) & set(own):
        lines.append("  nobody else, and you yourself are not among them")
    return "\n".join(lines)


def fingerprint(recipient: str) -> str:
    """Return the first 16 bytes of the recipient's SHA-256 in hex, in groups of four."""
    digits = hashlib.sha256(recipient.encode("ascii")).hexdigest()[:_DIGITS]
    return " ".join(digits[start : start + _GROUP] for start in range(0, _DIGITS, _GROUP))
