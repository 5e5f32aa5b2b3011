"""Whether what a log added to the counts may be told: an analysis, with a purpose of its own."""

import pytest

from agent.model import Moment, Requester
from agent.policy import Allow, Conditions, Consents, Refuse, Rights, Subject, decide, parse_policy

POLICY = parse_policy(
    b"""\
version = 1
[recipients]
owner = ["age1pq1owner"]
[purpose.analytics]
description = "To see what is used."
[category.usage-log]
purposes = ["security", "analytics"]
seal_to = ["owner"]
[category.usage-log.fields]
[category.usage-log.counts]
purpose = "analytics"
epsilon = 1
budget = 2
event = ["motion"]
[category.photo]
purpose = "security"
seal_to = ["owner"]
""",
    file="policy.toml",
)
GIVEN = Consents().after("analytics", "usage-log", "given")


@pytest.mark.parametrize(
    ("rights", "purposes", "category", "reason"),
    [
        (Rights(consents=GIVEN), ("security", "analytics"), "usage-log", ""),
        (Rights(consents=GIVEN, restricted=True), ("security", "analytics"), "usage-log", "restricted"),
        (Rights(consents=GIVEN), ("security",), "usage-log", "no_purpose"),
        (Rights(), ("security", "analytics"), "usage-log", "no_purpose"),
        (
            Rights(consents=GIVEN.after("analytics", "usage-log", "withdrawn")),
            ("security", "analytics"),
            "usage-log",
            "no_purpose",
        ),
        (Rights(consents=GIVEN), ("security",), "photo", "not_allowed"),
    ],
)
def test_counts_of_a_log_are_told_for_their_purpose_alone(
    rights: Rights, purposes: tuple[str, ...], category: str, reason: str
) -> None:
    decision = decide(
        POLICY,
        "count",
        requester=Requester(role="device"),
        subject=Subject(camera="", category=category, taken_in_ms=0, purposes=purposes),
        rights=rights,
        conditions=Conditions(moment=Moment(agent_ms=0, wall_ms=0, trusted=True)),
    )
    assert (decision.reason if isinstance(decision, Refuse) else "") == reason
    assert isinstance(decision, Allow) == (not reason)
