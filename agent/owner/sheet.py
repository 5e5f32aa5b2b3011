"""The recovery sheet: the owner's two secrets on paper, typed back when the machine that held them is gone.

Keys are Bech32 (their own checksum) in capitals, in groups of five, a few groups to a line; each line ends in a check
of two letters, so that a slip is found in its line and not only in the whole. ``R`` lines are the root, ``I`` lines
the identity. Case, blanks and everything that is no such line are ignored when it is read.
"""

import base64
import hashlib
import re
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent import age
from agent.age import bech32
from agent.errors import ConfigError

_PREFIX: Final = "owner-root-"
_GROUP: Final = 5
_GROUPS: Final = 6
_SEED_BYTES: Final = 32
_CLIENT: Final = b"pv1 owner's first client"
_LINE: Final = re.compile(r"\s*([RI])(\d{1,2})\s*:([A-Z0-9\s-]+)/\s*([A-Z2-7]{2})\s*", re.ASCII)
_NAME: Final = re.compile(r"\s*name\s*:\s*(\S.*?)\s*", re.IGNORECASE)

_TEXT: Final = """\
RECOVERY SHEET                                        keep on paper, hidden
===========================================================================

Name:         {name}
Made:         {made}
Fingerprint:  {fingerprint}

Whoever holds this sheet can open what the cameras of this owner recorded,
and can decide who commands them. Print it, put it where you keep what must
not be lost, and delete the file:  shred -u {file}

To use it, type the lines with R and I into a text file (case and blanks do
not matter; the two letters after / find a slip in their line), then

    privacy-owner recover FILE

It makes a new home with the root, the identity and the first client's key.
Bring owner.pub or the newest key set file too, if you can:  --keyset FILE

ROOT KEY (signs who may command the cameras)

{root}

IDENTITY (opens recordings and receipts; the same as in identity.txt)

{identity}
"""


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What a sheet gives back; ``client`` follows from the root, and ``name`` is empty where none was typed."""

    name: str
    root: Ed25519PrivateKey
    client: Ed25519PrivateKey
    identity: age.Identity


def first_client(root: Ed25519PrivateKey) -> Ed25519PrivateKey:
    """Return the first client's key: derived, so that the sheet restores it; it tells nothing about the root."""
    seed = HKDF(algorithm=SHA256(), length=_SEED_BYTES, salt=None, info=_CLIENT).derive(root.private_bytes_raw())
    return Ed25519PrivateKey.from_private_bytes(seed)


def write_sheet(
    root: Ed25519PrivateKey, identity: age.Identity, *, name: str, fingerprint: str, made: str, file: str
) -> str:
    """Return the sheet's text; it holds both secrets."""
    root_text = bech32.encode(_PREFIX, root.private_bytes_raw()).upper()
    return _TEXT.format(
        name=name,
        made=made,
        fingerprint=fingerprint,
        file=file,
        root=_lines("R", root_text),
        identity=_lines("I", identity.to_text()),
    )


def read_sheet(text: str) -> Recovered:
    """Read what a person typed back; raises ``ConfigError`` that names the line, never what stood there."""
    parts: dict[str, dict[int, str]] = {"R": {}, "I": {}}
    name = ""
    for line in text.splitlines():
        named = _NAME.fullmatch(line)
        match = _LINE.fullmatch(line.upper())
        if named is not None:
            name = named[1]
        elif match is not None:
            mark, number = match[1], int(match[2])
            typed = re.sub(r"\s", "", match[3])
            if _check(mark, number, typed) != match[4]:
                raise ConfigError(f"line {mark}{number} was not typed as it stands", hint="compare it letter by letter")
            parts[mark][number] = typed
    root_text, identity_text = (_joined(mark, parts[mark]) for mark in ("R", "I"))
    prefix, seed = bech32.decode(root_text)
    if prefix != _PREFIX or len(seed) != _SEED_BYTES:
        raise ConfigError("the R lines are no owner's root", hint="type the lines of a recovery sheet")
    root = Ed25519PrivateKey.from_private_bytes(seed)
    return Recovered(name=name, root=root, client=first_client(root), identity=age.parse_identity(identity_text))


def _lines(mark: str, text: str) -> str:
    width = _GROUP * _GROUPS
    lines = []
    for number, start in enumerate(range(0, len(text), width), start=1):
        piece = text[start : start + width]
        groups = " ".join(piece[at : at + _GROUP] for at in range(0, len(piece), _GROUP))
        lines.append(f"  {mark}{number}:  {groups} /{_check(mark, number, piece)}")
    return "\n".join(lines)


def _check(mark: str, number: int, piece: str) -> str:
    digest = hashlib.sha256(f"{mark}{number}:{piece}".encode("ascii")).digest()
    return base64.b32encode(digest).decode("ascii")[:2]


def _joined(mark: str, lines: dict[int, str]) -> str:
    missing = next((number for number in range(1, max(lines, default=1) + 1) if number not in lines), None)
    if missing is not None:
        raise ConfigError(f"line {mark}{missing} is missing", hint="type every R and I line, its /XX included")
    return "".join(lines[number] for number in sorted(lines))
