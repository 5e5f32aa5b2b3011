"""How far a device is on its way from its owner, in words: for ``status`` and ``doctor``."""

from typing import Any


def leaving_words(leaving: dict[str, Any]) -> str:
    """Say what ``status`` told of it."""
    from agent.shell.times import when_text

    waits = [
        f"{count} {what}" for count, what in (
            (leaving["held"], "held"),
            (leaving["copies"], "at stores"),
            (leaving["cameras"], "at cameras"),
        ) if count
    ]  # fmt: skip
    if leaving["phase"] == "leaving":
        return "everything of it is being erased"
    if leaving["phase"] == "parted":
        return f"its last word waits for {', '.join(waits) or 'nothing'}; for stores and cameras until " + when_text(
            leaving["deadline"]
        )
    return "its last word is said; the keys go when it is acknowledged, or a week behind it"
