"""Counts of a usage log's values that may be told with noise, and what of their privacy budget that may cost.

The document::

    [category.usage-log.counts]
    purpose = "analytics"           # one of the category's: counted, and told, only while it is allowed
    epsilon = 0.5                   # what telling one field's counts once may cost
    budget = 10                     # what all that is ever told may cost together
    event = ["motion", "photo"]     # the fields, and which of their values are counted; others are not

What is promised is differential privacy for one line of a log: whoever sees all that was ever told learns next to
nothing about whether one particular line was there. Each line is counted in one telling only.
"""

from typing import Final

import msgspec

from agent.document import Table

EPSILON_MAX: Final = 10.0
"""More than that promises nothing."""

BUDGET_MAX: Final = 1_000.0
FIELDS_MAX: Final = 16
VALUES_MAX: Final = 64
NAME_MAX: Final = 64


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Which values of which fields are counted, for which purpose, and what telling them may cost."""

    purpose: str
    epsilon: float
    budget: float
    values: dict[str, tuple[str, ...]]


def read_counts(table: Table, *, purposes: tuple[str, ...]) -> Counts:
    """Read the table; ``purposes`` are the category's. Raises ``ConfigError``."""
    purpose = table.choice("purpose", purposes)
    epsilon, budget = table.number("epsilon"), table.number("budget")
    if not 0 < epsilon <= EPSILON_MAX:
        raise table.error(
            "epsilon", f"{epsilon} is out of range", hint=f"use above 0 to {EPSILON_MAX:g}; 0.1 is strong"
        )
    if not epsilon <= budget <= BUDGET_MAX:
        raise table.error("budget", f"{budget} is out of range", hint=f"use epsilon to {BUDGET_MAX:g}")
    values = {name: table.texts(name) for name in tuple(table.keys())}
    for name, counted in values.items():
        if not 0 < len(name) <= NAME_MAX or not 0 < len(set(counted)) == len(counted) <= VALUES_MAX:
            raise table.error(name, "is no list of values", hint=f'write for example {name} = ["motion", "photo"]')
        if any(not 0 < len(text) <= NAME_MAX for text in counted):
            raise table.error(name, "has a value that is too long", hint=f"{NAME_MAX} characters at most")
    if not 0 < len(values) <= FIELDS_MAX:
        raise table.error("", "names no field, or too many", hint='write for example event = ["motion", "photo"]')
    return Counts(purpose=purpose, epsilon=float(epsilon), budget=float(budget), values=values)


def tells_no_more(new: Counts | None, old: Counts | None) -> bool:
    """Tell whether what may be told under ``new`` might have been under ``old``."""
    if new is None:
        return True
    if old is None or new.purpose != old.purpose or new.epsilon > old.epsilon or new.budget > old.budget:
        return False
    return all(set(values) <= set(old.values.get(name, ())) for name, values in new.values.items())
