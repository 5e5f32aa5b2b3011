"""Which errors of a task group are for a person, and which are bugs."""

from agent.errors import ConfigError, LinkError, only_ours


def test_group_of_our_kinds_is_told_by_its_first() -> None:
    first, second = ConfigError("one"), LinkError("two")
    assert only_ours(ExceptionGroup("tasks", [ExceptionGroup("inner", [first]), second])) is first


def test_group_with_a_bug_in_it_stays_a_traceback() -> None:
    assert only_ours(ExceptionGroup("tasks", [ConfigError("one"), ExceptionGroup("inner", [KeyError("bug")])])) is None
