"""One line of a log under the field rules, and the count of what was left out."""

from typing import Any, Final

import msgspec

from agent.policy.fields.rule import Drop, FieldRule, Fields, Inside
from agent.policy.fields.tally import Tally
from agent.policy.fields.value import Change, UnfitError, change_of

_object: Final = msgspec.json.Decoder(dict[str, object])
_encode: Final = msgspec.json.Encoder().encode
_NOTHING: Final = object()

_Members = dict[str, "Drop | Change | _Members"]


class Deidentifier:
    """Applies one set of rules to lines; ``keys`` are the pseudonyms' keys, one for each of the rules' periods."""

    def __init__(
        self, fields: Fields, *, keys: dict[int, bytes], counted: dict[str, tuple[str, ...]] | None = None
    ) -> None:
        self.values = {name: dict.fromkeys(values, 0) for name, values in (counted or {}).items()}
        """How often a value was there of those that are counted, by field."""
        self._members = _compiled(fields.rules, (), keys)
        self._counts = dict.fromkeys(Tally.__struct_fields__, 0)

    @property
    def tally(self) -> Tally:
        """What was counted so far."""
        return Tally(**self._counts)

    def bad(self) -> None:
        """Count a line that was not even looked at."""
        self._counts["bad_lines"] += 1

    def line(self, raw: bytes) -> bytes:
        """Return what stays of a line, with its end, or nothing; an empty line is nothing and counts as nothing."""
        if not raw.strip():
            return b""
        try:
            raw.decode("utf-8")
            told = _object.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.bad()
            return b""
        self._count(told)
        left = self._object(told, self._members)
        if not left:
            self._counts["bare_lines"] += 1
            return b""
        self._counts["lines"] += 1
        return _encode(left) + b"\n"

    def _count(self, told: dict[Any, Any]) -> None:
        for name, values in self.values.items():
            value = told.get(name)
            if isinstance(value, str) and value in values:
                values[value] += 1

    def _object(self, told: dict[Any, Any], members: _Members) -> dict[str, object]:
        left: dict[str, object] = {}
        for name, value in told.items():
            rule = members.get(name)
            if rule is None:
                self._counts["unknown"] += 1
            elif isinstance(rule, Drop):
                self._counts["dropped"] += 1
            elif (changed := self._value(value, rule)) is not _NOTHING:
                left[name] = changed
        return left

    def _value(self, value: object, rule: "Change | _Members") -> object:
        if value is None:
            return None
        if isinstance(value, list):
            return [one for one in (self._one(each, rule) for each in value) if one is not _NOTHING]
        return self._one(value, rule)

    def _one(self, value: object, rule: "Change | _Members") -> object:
        if value is None:
            return None
        if isinstance(rule, dict):
            if isinstance(value, dict):
                return self._object(value, rule)
            self._counts["unfit"] += 1
            return _NOTHING
        try:
            changed = rule(value)
        except UnfitError:
            self._counts["unfit"] += 1
            return _NOTHING
        self._counts["changed"] += changed != value
        return changed


def _compiled(rules: dict[str, FieldRule], path: tuple[str, ...], keys: dict[int, bytes]) -> _Members:
    members: _Members = {}
    for name, rule in rules.items():
        here = (*path, name)
        if isinstance(rule, Inside):
            members[name] = _compiled(rule.fields, here, keys)
        else:
            members[name] = rule if isinstance(rule, Drop) else change_of(rule, here, keys=keys)
    return members
