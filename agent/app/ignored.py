"""What arrived and has no answer, counted since the start by reason, so that somebody can see it: for ``status``."""

from collections.abc import Mapping

from agent.broker import Counters


def ignored(
    *, line: Counters | None, commands: Mapping[str, int], answers: Mapping[str, int]
) -> dict[str, dict[str, int]]:
    """Return the counts that are not zero: of what the line dropped, of commands, and of answers of stores."""
    dropped = (
        {}
        if line is None
        else {
            "retained": line.ignored_retained,
            "too_large": line.dropped_large,
            "queue_full": line.dropped_full,
            "unknown_topic": line.dropped_topic,
        }
    )
    found = {
        name: {reason: count for reason, count in counts.items() if count}
        for name, counts in (("line", dropped), ("commands", commands), ("answers", answers))
    }
    return {name: counts for name, counts in found.items() if counts}
