"""What may happen to data, and the one judge of it.

- ``reading.py``  a ``policy.toml`` becomes a frozen ``Policy``, or a ``ConfigError`` that names file, line and fix
- ``purpose.py``  why data may be used, what the owner said of that, and so who may read it: said there and nowhere else
- ``withdrawal.py`` what becomes of an object once a purpose of it is allowed no more
- ``values.py``   the policy, and the frozen facts that a decision is made from
- ``working_day.py`` working days: by when a request has to be answered
- ``forecast.py`` what a retention pass is expected to remove; more than that asks first
- ``fields/``      what of a usage log's fields is kept, made coarser or hidden before it is sealed
- ``order.py``    which of two policies allows less, and what each change of a document is
- ``decision.py`` ``decide``: the only judge; the gate at ingest, upload, retention, delete, export and ``explain`` all
  ask it, so what acts and what explains cannot differ

Nothing here reads a file, a clock or the index.
"""

from agent.policy.decision import WITHDRAWN, decide
from agent.policy.forecast import FORECAST_MS, Before, Forecast, Turnover
from agent.policy.order import Change, compare, loosens
from agent.policy.purpose import Basis, Consents, Given, Purpose, Word, is_allowed, purposes_for, recipients_for
from agent.policy.reading import is_region, parse_policy
from agent.policy.values import (
    ANSWER_DAYS,
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
    reader_text,
)
from agent.policy.withdrawal import After, after_withdrawal, told_of

__all__ = [
    "ANSWER_DAYS",
    "FORECAST_MS",
    "WITHDRAWN",
    "Action",
    "After",
    "Allow",
    "Basis",
    "Before",
    "Change",
    "Conditions",
    "Consents",
    "Decision",
    "Forecast",
    "Given",
    "Hold",
    "Keep",
    "Policy",
    "Purpose",
    "Refuse",
    "Rights",
    "Rule",
    "Subject",
    "Turnover",
    "Word",
    "after_withdrawal",
    "compare",
    "decide",
    "is_allowed",
    "is_region",
    "loosens",
    "parse_policy",
    "purposes_for",
    "reader_text",
    "recipients_for",
    "told_of",
]
