"""What is answered to a camera that demands credentials: a digest, never the password itself on an open line.

RFC 7616 (and RFC 2617, which most cameras still mean), as RTSP uses it: the address of the request is hashed as it
stands in the request line. Of several demands the strongest is answered.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from agent.errors import ConfigError, CorruptError

LINE_MAX: Final = 256

# Strongest first. MD5 is what RFC 2617 has and nearly all cameras ask for; a digest of it still hides a good password.
_HASHES: Final = {"SHA-256": "sha256", "MD5": "md5"}
_PARAMETER: Final = re.compile(r'([A-Za-z0-9-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)\s*')
_SCHEME: Final = re.compile(r"\s*([A-Za-z]+)\s*(.*)", re.DOTALL)


class Credentials(msgspec.Struct, frozen=True):
    """A user and a password; it prints neither."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """A demand that can be answered; ``algorithm`` is empty for Basic."""

    realm: str
    nonce: str = ""
    algorithm: str = ""
    opaque: str | None = None
    counts: bool = False
    stale: bool = False

    def answer(self, credentials: Credentials, *, method: str, address: str, count: int, client_nonce: str) -> str:
        """Return what ``Authorization`` says; ``count`` is of requests under this nonce, from 1 on."""
        if not self.algorithm:
            pair = f"{credentials.user}:{credentials.password}".encode()
            return f"Basic {base64.b64encode(pair).decode('ascii')}"
        secret = self._hash(f"{credentials.user}:{self.realm}:{credentials.password}")
        asked = self._hash(f"{method}:{address}")
        said = [
            ("username", credentials.user),
            ("realm", self.realm),
            ("nonce", self.nonce),
            ("uri", address),
        ]
        plain = [("algorithm", self.algorithm)] if self.algorithm != "MD5" else []
        if self.counts:
            told = f"{count:08x}"
            plain += [("qop", "auth"), ("nc", told)]
            said.append(("cnonce", client_nonce))
            response = self._hash(f"{secret}:{self.nonce}:{told}:{client_nonce}:auth:{asked}")
        else:
            response = self._hash(f"{secret}:{self.nonce}:{asked}")
        said.append(("response", response))
        if self.opaque is not None:
            said.append(("opaque", self.opaque))
        quoted = [f'{name}="{_quoted(value)}"' for name, value in said]
        return f"Digest {', '.join([*quoted, *(f'{name}={value}' for name, value in plain)])}"

    def _hash(self, text: str) -> str:
        return hashlib.new(
            _HASHES[self.algorithm], text.encode("utf-8", "surrogateescape"), usedforsecurity=False
        ).hexdigest()


def read_credentials(raw: bytes) -> Credentials:
    """Read a file of two lines; raises ``ConfigError``, which repeats nothing of it."""
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        lines = []
    good = len(lines) == 2 and all(0 < len(line) <= LINE_MAX and line.isprintable() for line in lines)  # noqa: PLR2004 - user and password
    if not good or ":" in lines[0]:
        raise ConfigError(
            "the file of credentials is not two lines, user and password",
            hint="write it anew: the user in the first line, the password in the second, nothing else",
        )
    return Credentials(lines[0], lines[1])


def choose(demands: Sequence[str], *, secure: bool) -> Challenge:
    """Return the demand to answer.

    Raises ``ConfigError`` where only a password in clear would do, ``CorruptError`` when no demand can be read.
    """
    digests, basic = [], None
    for demand in demands:
        match = _SCHEME.fullmatch(demand)
        scheme = match[1].lower() if match else ""
        told = _parameters(match[2]) if match else {}
        if scheme == "basic":
            basic = Challenge(realm=told.get("realm", ""))
        elif scheme == "digest" and (found := _digest(told)) is not None:
            digests.append(found)
    if digests:
        return min(digests, key=lambda one: list(_HASHES).index(one.algorithm))
    if basic is None:
        raise CorruptError("the camera demands credentials in a way that nobody here knows")
    if not secure:
        raise ConfigError(
            "the camera wants its password in clear (Basic), which is not sent over an open line",
            hint="switch digest authentication on in the camera, or its TLS, and write rtsps://",
        )
    return basic


def _digest(told: dict[str, str]) -> Challenge | None:
    algorithm = told.get("algorithm", "MD5").upper()
    kinds = [one.strip() for one in told.get("qop", "").split(",") if one.strip()]
    if "nonce" not in told or algorithm not in _HASHES or (kinds and "auth" not in kinds):
        return None
    return Challenge(
        realm=told.get("realm", ""),
        nonce=told["nonce"],
        algorithm=algorithm,
        opaque=told.get("opaque"),
        counts=bool(kinds),
        stale=told.get("stale", "").lower() == "true",
    )


def _parameters(text: str) -> dict[str, str]:
    told: dict[str, str] = {}
    at = 0
    while match := _PARAMETER.match(text, at):
        value = match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
        told.setdefault(match[1].lower(), value)
        at = match.end()
    return told


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
