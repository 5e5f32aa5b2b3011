"""The sum beneath an inventory, and what stands over objects, in a person's words."""

from agent.cli.frozen import frozen_table
from agent.shell.held import summed

OBJECT = {"state": "sealed", "category": "recording", "bytes": 10}
EXPORT = {"state": "sealed", "category": "export", "bytes": 20}


def test_exports_are_told_beside_the_objects_and_not_as_some_of_them() -> None:
    assert summed([OBJECT, OBJECT, EXPORT]) == "2 objects and 1 export, 40 B"
    assert summed([EXPORT, EXPORT]) == "2 exports, 40 B"
    assert summed([OBJECT]) == "1 object, 10 B"


def test_what_is_under_until_does_not_say_until_again() -> None:
    hold = {"id": "h" * 26, "select": {"all": True}, "until": "2026-12-20T10:00:00.000Z", "reason": "r", "author": "k"}
    restriction = {"id": "r" * 26, "select": {"all": True}, "ground": "accuracy"}
    shown = frozen_table({"holds": [hold], "restrictions": [restriction], "more": 0})
    assert shown.count("until") == 1
    assert "it is lifted" in shown
