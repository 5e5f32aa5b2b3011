"""A writer of small age files for one post-quantum recipient (``age1pq1…``), and the bech32 that names it.

pyrage knows X25519 only, and this is on purpose a second implementation of ``mlkem768x25519``: the agent's reader and
this writer agree because both follow the format (C2SP ``age.md``), not because they share a line. It stands on
``cryptography`` alone, so that whoever writes a peer can take this file as it is.
"""

import base64
import hashlib
import hmac
import os
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HRP: Final = "age1pq"
FILE_KEY_BYTES: Final = 16
NONCE_BYTES: Final = 16
CHUNK_BYTES: Final = 64 * 1024
MAX_CHUNKS: Final = 256
"""Messages are below 128 KiB; this writer is not for files."""
ENC_BYTES: Final = 1120
ML_KEM_BYTES: Final = 1184
X25519_BYTES: Final = 32
_INFO: Final = b"age-encryption.org/mlkem768x25519"
_COLUMNS: Final = 64
_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_SYMBOLS: Final = 6


class RecipientError(ValueError):
    """The text is no ``age1pq1…``, or not a whole one."""


def encrypt(clear: bytes, recipient: str) -> bytes:
    """Return a binary age file; raises ``RecipientError``, and ``ValueError`` beyond ``MAX_CHUNKS``."""
    public = parse_recipient(recipient)
    file_key = os.urandom(FILE_KEY_BYTES)
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    wrapped = suite.encrypt(file_key, public, info=_INFO)
    stanza = f"-> mlkem768x25519 {_b64(wrapped[:ENC_BYTES])}\n{_body(wrapped[ENC_BYTES:])}"
    unauthenticated = f"age-encryption.org/v1\n{stanza}---".encode()
    mac = hmac.new(_hkdf(file_key, salt=b"", info=b"header"), unauthenticated, hashlib.sha256).digest()
    nonce = os.urandom(NONCE_BYTES)
    return unauthenticated + f" {_b64(mac)}\n".encode() + nonce + _payload(clear, _hkdf(file_key, nonce, b"payload"))


def parse_recipient(recipient: str) -> MLKEM768X25519PublicKey:
    """Read ``age1pq1…``; raises ``RecipientError``."""
    hrp, data = bech32_decode(recipient)
    if hrp != HRP or len(data) != ML_KEM_BYTES + X25519_BYTES:
        raise RecipientError("not a post-quantum age recipient: one starts with age1pq1 and has 1959 characters")
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(data[:ML_KEM_BYTES]),
            X25519PublicKey.from_public_bytes(data[ML_KEM_BYTES:]),
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RecipientError("the post-quantum age recipient holds no key") from error


def bech32_decode(text: str) -> tuple[str, bytes]:
    """Return the prefix and the data of a BIP 173 string without its length limit; raises ``RecipientError``."""
    hrp, mark, symbols = text.rpartition("1")
    if not mark or not hrp or text != text.lower() or not set(symbols) <= set(_ALPHABET):
        raise RecipientError("not a bech32 string")
    values = [_ALPHABET.index(symbol) for symbol in symbols]
    expanded = [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]
    if len(values) < _CHECKSUM_SYMBOLS or _polymod(expanded + values) != 1:
        raise RecipientError("the recipient's checksum does not hold")
    bits = "".join(f"{value:05b}" for value in values[:-_CHECKSUM_SYMBOLS])
    whole, rest = bits[: len(bits) // 8 * 8], bits[len(bits) // 8 * 8 :]
    if len(rest) >= 5 or "1" in rest:  # noqa: PLR2004 - a whole symbol of 5 bits may not be padding
        raise RecipientError("the recipient has stray bits at its end")
    return hrp, int(whole or "0", 2).to_bytes(len(whole) // 8)


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            check ^= generator if top >> bit & 1 else 0
    return check


def _payload(clear: bytes, key: bytes) -> bytes:
    aead = ChaCha20Poly1305(key)
    chunks = [clear[at : at + CHUNK_BYTES] for at in range(0, len(clear), CHUNK_BYTES)] or [b""]
    if len(chunks) > MAX_CHUNKS:
        raise ValueError("too long for a message")
    last = len(chunks) - 1
    return b"".join(
        aead.encrypt(number.to_bytes(11) + bytes([number == last]), chunk, None) for number, chunk in enumerate(chunks)
    )


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(key)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()


def _body(data: bytes) -> str:
    text = _b64(data)
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    if not lines or len(lines[-1]) == _COLUMNS:
        lines.append("")
    return "".join(f"{line}\n" for line in lines)
