"""One rule applied to one value. ``UnfitError`` says that it cannot be, and holds nothing of the value."""

import hmac
from base64 import b32encode
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from ipaddress import IPv6Address, ip_address
from itertools import pairwise
from typing import Final

import msgspec

from agent.policy.fields.rule import (
    OTHER,
    FieldRule,
    Groups,
    Keep,
    Pseudonym,
    Ranges,
    Round,
    RoundTime,
    Truncate,
)

Scalar = str | int | float | bool | None
Change = Callable[[object], Scalar]
"""Returns what becomes of a value; raises ``UnfitError``."""

NUMBER_MAX: Final = 10**15
"""Beyond it a number of JSON is not exact any more, and is nothing that a camera measures."""

MS_FROM: Final = 10**11
"""From here on a Unix time is in milliseconds: in seconds it would be the year 5138."""

PSEUDONYM_BYTES: Final = 15
"""120 bits, 24 letters of base 32: two values of a log never share one."""

_6TO4_BITS: Final = 16
"""RFC 3056: behind so many bits stands a whole IPv4 address, of which no more is told than of one by itself."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UnfitError(Exception):
    """The value is not of the kind that its rule is for."""


def change_of(  # noqa: PLR0911 - one return per kind of rule
    rule: FieldRule, path: tuple[str, ...], *, keys: dict[int, bytes]
) -> Change:
    """Return what a rule does to a scalar of the field at ``path``; ``keys`` are pseudonyms' keys by period."""
    match rule:
        case Keep():
            return _kept
        case Pseudonym(period_ms):
            return _pseudonym(keys[period_ms], path)
        case Truncate(v4_bits, v6_bits):
            return _truncated(v4_bits, v6_bits)
        case Round(step):
            return _rounded(step)
        case RoundTime(step_ms):
            return _rounded_time(step_ms)
        case Ranges(bounds):
            return _ranged(bounds)
        case Groups(groups):
            return _grouped(groups)
    raise AssertionError(rule)  # to drop and to look inside are the line's


def _kept(value: object) -> Scalar:
    if isinstance(value, (str, int, float)):
        return value
    raise UnfitError


def _pseudonym(key: bytes, path: tuple[str, ...]) -> Change:
    def change(value: object) -> Scalar:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise UnfitError
        about = msgspec.msgpack.encode((path, value if isinstance(value, str) else repr(value)))
        return b32encode(hmac.digest(key, about, "sha256")[:PSEUDONYM_BYTES]).decode("ascii").lower()

    return change


def _truncated(v4_bits: int, v6_bits: int) -> Change:
    def change(value: object) -> Scalar:
        if not isinstance(value, str):
            raise UnfitError
        try:
            address = ip_address(value)
        except ValueError:
            raise UnfitError from None
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or IPv6Address(int(address))  # without the zone
        kept = v6_bits if isinstance(address, IPv6Address) else v4_bits
        if isinstance(address, IPv6Address) and address.sixtofour is not None:
            kept = min(kept, _6TO4_BITS + v4_bits)
        gone = address.max_prefixlen - kept
        return str(type(address)(int(address) >> gone << gone))

    return change


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < NUMBER_MAX:
        raise UnfitError
    return value


def _rounded(step: float) -> Change:
    exact = Decimal(repr(step))

    def change(value: object) -> Scalar:
        told = (Decimal(repr(_number(value))) / exact).to_integral_value(ROUND_FLOOR) * exact
        return int(told) if isinstance(step, int) else float(told)

    return change


def _rounded_time(step_ms: int) -> Change:
    def down(ms: float) -> int:
        return int(ms // step_ms) * step_ms

    def change(value: object) -> Scalar:
        if isinstance(value, str):
            return _written_time(value, down)
        told = _number(value)
        return down(told) if abs(told) >= MS_FROM else down(told * 1000) // 1000

    return change


def _written_time(text: str, down: Callable[[float], int]) -> str:
    try:
        told = datetime.fromisoformat(text)
        moment = told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
        rounded = _EPOCH + timedelta(milliseconds=down((moment - _EPOCH) // timedelta(milliseconds=1)))
    except (ValueError, OverflowError):
        raise UnfitError from None
    whole = rounded.replace(tzinfo=None).isoformat(timespec="seconds" if not rounded.microsecond else "milliseconds")
    return whole if told.tzinfo is None else f"{whole}Z"


def _ranged(bounds: tuple[int | float, ...]) -> Change:
    names = [f"<{bounds[0]}", *(f"{one}..{other}" for one, other in pairwise(bounds))]
    names.append(f">={bounds[-1]}")

    def change(value: object) -> Scalar:
        return names[bisect_right(bounds, _number(value))]

    return change


def _grouped(groups: dict[str, tuple[str, ...]]) -> Change:
    group_of = {member: name for name, members in groups.items() for member in members}

    def change(value: object) -> Scalar:
        if not isinstance(value, str):
            raise UnfitError
        return group_of.get(value, OTHER)

    return change
