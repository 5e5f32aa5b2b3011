"""Bech32 (BIP 173) as age writes its keys: no length limit, any prefix, one case.

Keys are given by people, so a bad string raises ``ConfigError``. The message never repeats the string: it may be
a secret key.
"""

from typing import Final

from agent.errors import ConfigError

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE_OF: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_CHECKSUM_LETTERS: Final = 6
_CHECKSUM_BITS: Final = 30
_LOW_BITS: Final = (1 << (_CHECKSUM_BITS - 5)) - 1
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_REMAINDER: Final = tuple(
    (top & 1) * _GENERATOR[0]
    ^ (top >> 1 & 1) * _GENERATOR[1]
    ^ (top >> 2 & 1) * _GENERATOR[2]
    ^ (top >> 3 & 1) * _GENERATOR[3]
    ^ (top >> 4 & 1) * _GENERATOR[4]
    for top in range(32)
)
"""What the generator adds for each value of the five bits shifted out; a table keeps 2 kB keys under a millisecond."""

# A post-quantum recipient has 1,959 characters; four times that is refused before any work is done.
TEXT_MAX_CHARACTERS: Final = 8192

_HINT: Final = "copy the whole key again, without spaces or line breaks"


def encode(prefix: str, data: bytes) -> str:
    """Write ``data`` after the lower-case ``prefix``; callers upper-case the result where age wants that."""
    values = _regroup(data, from_bits=8, to_bits=5)
    check = _checksum(prefix, values + [0] * _CHECKSUM_LETTERS) ^ 1
    letters = [check >> 5 * place & 31 for place in range(_CHECKSUM_LETTERS - 1, -1, -1)]
    return prefix + "1" + "".join(_ALPHABET[value] for value in values + letters)


def decode(text: str) -> tuple[str, bytes]:
    """Read a string into (lower-case prefix, bytes).

    Raises ``ConfigError`` for mixed case, letters outside the alphabet, a wrong checksum, or bits left over.
    """
    if len(text) > TEXT_MAX_CHARACTERS or not text.isascii():
        raise ConfigError("this is no age key", hint=_HINT)
    if text not in (text.lower(), text.upper()):
        raise ConfigError("a key is written in one case, this one mixes upper and lower", hint=_HINT)
    prefix, separator, letters = text.lower().rpartition("1")
    if not separator or not prefix or len(letters) < _CHECKSUM_LETTERS or not prefix.isprintable():
        raise ConfigError("this is no age key", hint=_HINT)
    try:
        values = [_VALUE_OF[letter] for letter in letters]
    except KeyError:
        raise ConfigError("the key holds a letter that keys never hold", hint=_HINT) from None
    if _checksum(prefix, values) != 1:
        raise ConfigError("the key's check letters don't match: a letter is wrong or missing", hint=_HINT)
    return prefix, bytes(_regroup(values[:-_CHECKSUM_LETTERS], from_bits=5, to_bits=8))


def _checksum(prefix: str, values: list[int]) -> int:
    remainder = 1
    expanded = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    for value in expanded + values:
        remainder = (remainder & _LOW_BITS) << 5 ^ value ^ _REMAINDER[remainder >> _CHECKSUM_BITS - 5]
    return remainder


def _regroup(values: bytes | list[int], *, from_bits: int, to_bits: int) -> list[int]:
    grouped: list[int] = []
    pending = pending_bits = 0
    for value in values:
        pending = pending << from_bits | value
        pending_bits += from_bits
        while pending_bits >= to_bits:
            pending_bits -= to_bits
            grouped.append(pending >> pending_bits)
            pending &= (1 << pending_bits) - 1
    if to_bits < from_bits:
        if pending_bits:
            grouped.append(pending << to_bits - pending_bits)
    elif pending or pending_bits >= from_bits:
        raise ConfigError("the key's last letter holds bits that mean nothing", hint=_HINT)
    return grouped
