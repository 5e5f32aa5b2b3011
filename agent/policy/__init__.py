"""What may happen to data, and the one judge of it.

- ``reading.py``  a ``policy.toml`` becomes a frozen ``Policy``, or a ``ConfigError`` that names file, line and fix
- ``values.py``   the policy, and the frozen facts that a decision is made from
- ``decision.py`` ``decide``: the only judge; the gate at ingest, upload, retention, delete, export and ``explain`` all
  ask it, so what acts and what explains cannot differ

Nothing here reads a file, a clock or the index.
"""

from agent.policy.decision import decide
from agent.policy.reading import parse_policy
from agent.policy.values import (
    Action,
    Allow,
    Conditions,
    Decision,
    Hold,
    Keep,
    Policy,
    Refuse,
    Rights,
    Rule,
    Subject,
)

__all__ = [
    "Action",
    "Allow",
    "Conditions",
    "Decision",
    "Hold",
    "Keep",
    "Policy",
    "Refuse",
    "Rights",
    "Rule",
    "Subject",
    "decide",
    "parse_policy",
]
