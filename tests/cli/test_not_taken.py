"""Each reason for which a file is not taken in has its own next step, and no other's."""

from pathlib import Path

import pytest

from agent.cli.not_taken import steps
from agent.config import parse_config

DEVICE = b'device = "cam-01"\nstate = "state"\n'
STEPS = {
    "no_rule": "let the category in",
    "no_purpose": "let the category in",
    "no_recipient": "let the category in",
    "no_consent": "privacy-owner consent give",
    "consent_withdrawn": "what was recorded before a yes stays where it is",
    "objected": "privacy-owner consent give",
    "before_mark": "take it away if it is meant",
    "disk_full": "free space",
    "too_large": "more than half of the disk",
    "service_ended": "privacy-owner end-service --resume",
}


@pytest.mark.parametrize("reason", STEPS)
def test_refused_file_has_the_step_of_its_reason(tmp_path: Path, reason: str) -> None:
    source = b'[[source]]\nname = "spool"\nkind = "spool"\npath = "spool"\nmedium = "tmpfs"\n'
    config = parse_config(DEVICE + source, file=tmp_path / "agent.toml")
    (step,) = steps(config, "spool", [{"kind": "refused", "reason": reason, "count": 1}])
    assert STEPS[reason] in step


def test_reasons_that_stand_together_have_each_a_step_and_one_that_is_not_named_has_none(tmp_path: Path) -> None:
    config = parse_config(DEVICE, file=tmp_path / "agent.toml")
    reasons = ("disk_full", "too_large", "other reasons")
    assert len(list(steps(config, "spool", [{"kind": "refused", "reason": one, "count": 1} for one in reasons]))) == 2
