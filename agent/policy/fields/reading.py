"""A table of field rules becomes ``Fields``.

The document::

    [category.usage-log.fields]
    event = "keep"
    mac = "drop"                                # to drop is also what happens to a field that is not named
    serial.pseudonym = "30d"                    # keyed; a new key each 30 days, and the old one is destroyed
    ip.truncate = "/24"                         # of an IPv4 address; of an IPv6 one /48, or "/24 /56"
    gps_lat.round = 0.1                         # down to a multiple
    time.round = "1h"                           # the same, of a time
    battery_percent.ranges = [20, 50, 80]       # "<20", "20..50", "50..80", ">=80"
    motion_zone.groups = { outside = ["door", "path"], inside = ["hall"] }    # else "other"
    wifi.fields.rssi_dbm.round = 10             # a field of an object

A camera's table inherits the rules of the fields that it does not name.
"""

import re
from itertools import pairwise
from typing import Final

from agent.document import Table
from agent.errors import ConfigError
from agent.policy.fields.rule import (
    DEPTH_MAX,
    FIELDS_MAX,
    OTHER,
    Drop,
    FieldRule,
    Fields,
    Groups,
    Inside,
    Keep,
    Pseudonym,
    Ranges,
    Round,
    RoundTime,
    Truncate,
    count_rules,
)

NAME_MAX: Final = 64
"""Characters of a field's or a group's name."""

VALUES_MAX: Final = 256
"""Of one rule's ranges, or of all its groups together."""

PERIOD_MIN_MS: Final = 3_600_000
"""A key is rotated no oftener than hourly: each rotation is a write to the keystore, which wears out."""

PERIOD_MAX_MS: Final = 366 * 86_400_000

STEP_MIN: Final = 1e-9
STEP_MAX: Final = 10**9
"""Of a number that is rounded."""

_KINDS: Final = ("pseudonym", "truncate", "round", "ranges", "groups", "fields")
_PREFIXES: Final = re.compile(r"/(\d{1,2})(?: /(\d{1,3}))?")
_V4_BITS: Final = 32
_V6_BITS: Final = 128
_USUAL_V6_BITS: Final = 48


def read_fields(table: Table, base: Fields | None = None) -> Fields:
    """Read the rules, and take those of ``base`` for the fields that are not named. Raises ``ConfigError``."""
    fields = Fields({**(base.rules if base else {}), **_rules(table, depth=1)})
    if count_rules(fields.rules) > FIELDS_MAX:
        raise table.error("", f"holds more than {FIELDS_MAX} rules", hint="what is not named is dropped anyway")
    return fields


def _rules(table: Table, *, depth: int) -> dict[str, FieldRule]:
    rules: dict[str, FieldRule] = {}
    for name in tuple(table.keys()):
        if not 0 < len(name) <= NAME_MAX:
            raise table.error(name, "is not a field's name", hint=f"it has 1 to {NAME_MAX} characters")
        if table.kind_of(name) is dict:
            rules[name] = _shaped(table.table(name), depth=depth)
        elif table.choice(name, ("keep", "drop")) == "keep":
            rules[name] = Keep()
        else:
            rules[name] = Drop()
    return rules


def _shaped(table: Table, *, depth: int) -> FieldRule:
    told = table.keys()
    if len(told) != 1 or told[0] not in _KINDS:
        raise table.error("", "is not one rule", hint=f'write "keep", "drop", or one of: {", ".join(_KINDS)}')
    match told[0]:
        case "pseudonym":
            return _pseudonym(table)
        case "truncate":
            return _truncate(table)
        case "round":
            return _round(table)
        case "ranges":
            return _ranges(table)
        case "groups":
            return _groups(table)
    if depth >= DEPTH_MAX:
        raise table.error("fields", "is nested too deeply", hint=f"{DEPTH_MAX} levels of objects are told apart")
    return Inside(_rules(table.table("fields"), depth=depth + 1))


def _pseudonym(table: Table) -> Pseudonym:
    period_ms = table.duration_ms("pseudonym")
    if period_ms is None or not PERIOD_MIN_MS <= period_ms <= PERIOD_MAX_MS:
        raise table.error("pseudonym", "is no period of rotation", hint='write "1h" to "366d", for example "30d"')
    return Pseudonym(period_ms)


def _truncate(table: Table) -> Truncate:
    told = _PREFIXES.fullmatch(table.take("truncate", str))
    v4_bits, v6_bits = (int(told[1]), int(told[2] or _USUAL_V6_BITS)) if told else (_V4_BITS, _V6_BITS)
    if v4_bits >= _V4_BITS or v6_bits >= _V6_BITS:
        raise table.error("truncate", "leaves a whole address", hint='write for example "/24", or "/24 /48" with IPv6')
    return Truncate(v4_bits, v6_bits)


def _round(table: Table) -> Round | RoundTime:
    if table.kind_of("round") is str:
        step_ms = table.duration_ms("round")
        if not step_ms:
            raise table.error("round", "rounds nothing", hint='write for example "1h"')
        return RoundTime(step_ms)
    step = table.number("round")
    if not STEP_MIN <= step <= STEP_MAX:
        raise table.error("round", f"{step} is no step", hint='write for example 0.1, or "1h" for a time')
    return Round(step)


def _ranges(table: Table) -> Ranges:
    bounds = table.numbers("ranges")
    if not 0 < len(bounds) <= VALUES_MAX or any(one >= other for one, other in pairwise(bounds)):
        raise table.error("ranges", "should be numbers that rise", hint="for example [20, 50, 80]")
    return Ranges(bounds)


def _groups(table: Table) -> Groups:
    told = table.table("groups")
    groups = {name: told.texts(name) for name in tuple(told.keys())}
    members = [member for group in groups.values() for member in group]
    if not groups or OTHER in groups or len(set(members)) < len(members) or len(members) > VALUES_MAX:
        raise _bad_groups(table)
    if any(not 0 < len(text) <= NAME_MAX for text in (*groups, *members)):
        raise _bad_groups(table)
    return Groups(groups)


def _bad_groups(table: Table) -> ConfigError:
    return table.error(
        "groups",
        "are no groups",
        hint=f'write for example groups = {{ outside = ["door", "path"] }}: each value once, {VALUES_MAX} at most, '
        f'of {NAME_MAX} characters; what is in none becomes "{OTHER}"',
    )
