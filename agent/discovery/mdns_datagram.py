"""A datagram of multicast DNS (RFC 6762 §18, RFC 1035 §4.1), looked at before the library unpacks it. Pure.

1. Only a response is let through: the agent announces nothing, so no question is for it.
2. Questions and records are stepped over one by one; of a name that is compressed only its end is needed, so no pointer
   is followed. What ends behind the datagram's end is malformed.
3. A record is at most ``RDATA_MAX_BYTES``, and there are at most ``RECORDS_MAX`` of them, ``ADDRESSES_MAX`` addresses
   among these: each new address costs the library a look at every service of its host.
4. An NSEC record is of the restricted form of RFC 6762 §6.1, one block with number 0: the library makes a number of
   each bit, so that one datagram with all blocks takes 2.5 MB for as long as it says.
"""

from typing import Final

RDATA_MAX_BYTES: Final = 1500
"""RFC 6763 §6.2 recommends no TXT record above 1,300, for it has to fit into one Ethernet frame."""
RECORDS_MAX: Final = 128
"""Questions and records of one datagram. More do not fit into an Ethernet frame, and what is larger than one may hold
only a single record (RFC 6762 §17)."""
ADDRESSES_MAX: Final = 64

_A: Final = 1
_AAAA: Final = 28
_NSEC: Final = 47

_HEADER_BYTES: Final = 12
_QUESTION_BYTES: Final = 4
_RECORD_BYTES: Final = 10
_POINTER_BYTES: Final = 2
_RESPONSE: Final = 0x80
_POINTER: Final = 0xC0
_LABEL_MAX: Final = 0x40
_BITMAP_MAX_BYTES: Final = 32


def admissible(raw: bytes) -> bool:
    """Whether the library may have a datagram."""
    try:
        return _admissible(raw)
    except IndexError:  # it ends within what it announces
        return False


def _admissible(raw: bytes) -> bool:
    questions, answers, authorities, additionals = (_u16(raw, at) for at in (4, 6, 8, 10))
    records = answers + authorities + additionals
    if not raw[2] & _RESPONSE or questions + records > RECORDS_MAX:
        return False
    at = _HEADER_BYTES
    for _ in range(questions):
        at = _behind_name(raw, at) + _QUESTION_BYTES
    addresses = 0
    for _ in range(records):
        at = _behind_name(raw, at)
        kind, size = _u16(raw, at), _u16(raw, at + 8)
        at += _RECORD_BYTES
        end = at + size
        if size > RDATA_MAX_BYTES or (kind == _NSEC and not _restricted(raw, at, end)):
            return False
        addresses += kind in {_A, _AAAA}
        at = end
    return at <= len(raw) and addresses <= ADDRESSES_MAX


def _behind_name(raw: bytes, at: int) -> int:
    while True:
        length = raw[at]
        if length >= _POINTER:
            return at + _POINTER_BYTES
        if length >= _LABEL_MAX:
            raise IndexError
        at += 1 + length
        if not length:
            return at


def _restricted(raw: bytes, at: int, end: int) -> bool:
    """Whether the data of an NSEC record, from ``at`` to ``end``, name types below 256 alone, or none."""
    at = _behind_name(raw, at)
    return at == end or (raw[at] == 0 and 0 < raw[at + 1] <= _BITMAP_MAX_BYTES and at + 2 + raw[at + 1] == end)


def _u16(raw: bytes, at: int) -> int:
    return raw[at] << 8 | raw[at + 1]
