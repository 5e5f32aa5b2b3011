"""What a retention pass is expected to remove, seen from the last one; whatever is above that surprises.

- By age: what was to be due within a day of the last pass, by the age that the set had then and by the one that it has
  now. An age that is new, or shorter, makes nothing expected that it alone ends.
- By count and by size: as much of a set as was taken into it since the last pass.
- By a floor: as much as was taken in since, of any set; somebody else who fills the disk surprises.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from agent.model import Category
from agent.policy.values import Policy, Rule

FORECAST_MS: Final = 86_400_000
"""An age limit may make this much of the timeline due at once without anybody wondering."""


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What the last pass left: when (agent time), and the age limits that it obeyed, by scope.

    Of a pass that an older version made no ages are known: then today's stand for them.
    """

    passed_ms: int
    ages: dict[str, int] | None


class Turnover(msgspec.Struct, frozen=True):
    """How much was taken into a set."""

    objects: int
    bytes: int


class _Left:
    __slots__ = ("bytes", "objects")

    def __init__(self, objects: int, size_bytes: int) -> None:
        self.objects = objects
        self.bytes = size_bytes


class Forecast:
    """Asked about what a pass would remove, oldest first; what it expected once it does not expect again.

    ``arrived`` is the turnover since the last pass by (camera, category). Before the first pass nothing surprises.
    """

    def __init__(
        self, policy: Policy, before: Before | None, *, arrived: Mapping[tuple[str, Category], Turnover]
    ) -> None:
        self._policy = policy
        self._before = before
        self._arrived = arrived
        self._sets: dict[str, _Left] = {}
        self._any_bytes = sum(turnover.bytes for turnover in arrived.values())

    def expects(self, rule: Rule, ended_by: str, *, taken_in_ms: int, size_bytes: int) -> bool:
        """Tell whether it was to be expected that ``ended_by``, a line of ``rule``, removes this object now."""
        if self._before is None or self._due_by_age(rule, self._before, taken_in_ms=taken_in_ms):
            return True
        left = self._set(rule)
        if ended_by.endswith(".keep.count"):
            left.objects -= 1
            return left.objects >= 0
        if ended_by.endswith(".keep.size"):
            there = left.bytes > 0
            left.bytes -= size_bytes
            return there
        if ended_by.endswith((".keep.disk_free", ".on_full")):
            there = self._any_bytes > 0
            self._any_bytes -= size_bytes
            return there
        return False

    def _due_by_age(self, rule: Rule, before: Before, *, taken_in_ms: int) -> bool:
        age_ms = rule.keep.age_ms
        if age_ms is None:
            return False
        if before.ages is not None:
            # A camera that has a rule of its own since then was in its category's set.
            old_ms = before.ages.get(rule.scope, before.ages.get(f"category.{rule.category}"))
            if old_ms is None:
                return False
            age_ms = max(age_ms, old_ms)
        return taken_in_ms + age_ms <= before.passed_ms + FORECAST_MS

    def _set(self, rule: Rule) -> _Left:
        if rule.scope not in self._sets:
            mine = [
                turnover
                for (camera, category), turnover in self._arrived.items()
                if category == rule.category and self._policy.rule_for(camera, category) == rule
            ]
            objects, size_bytes = sum(one.objects for one in mine), sum(one.bytes for one in mine)
            self._sets[rule.scope] = _Left(objects, size_bytes)
        return self._sets[rule.scope]
