"""The sum beneath an inventory, for the device and for its owner: what is here, goes, is away, and was left out."""

from collections.abc import Sequence
from typing import Any

from agent.shell import field_rules
from agent.shell.layout import counted, size
from agent.shell.times import when_text


def summed(objects: Sequence[dict[str, Any]]) -> str:
    """Say how much is here, being erased with keys gone by when, and at a store only; in a line each.

    Where usage logs are here that were sealed by field rules, another says what those left out.
    """
    going = [one for one in objects if one.get("state") == "erasing"]
    away = [one for one in objects if one.get("state") == "at_store"]
    here = [one for one in objects if one.get("state") not in ("erasing", "at_store")]  # no set: it may be any JSON
    lines = [f"{_kinds(here)}, {size(weight(here))}"] if here else []
    if going:
        by = max((until_ for one in going if isinstance(until_ := one.get("until"), str)), default="")
        lines.append(f"{counted(len(going))} being erased" + (f", keys gone by {when_text(by)}" if by else ""))
    if away:
        lines.append(f"{counted(len(away))} at the store only, {size(weight(away))}: kept there until a delete")
    if told := field_rules.summed(here):
        lines.append(told)
    return "\n".join(lines)


def _kinds(here: Sequence[dict[str, Any]]) -> str:
    """Say how many objects there are, and how many exports with copies of some: those are no objects of their own."""
    exports = sum(one.get("category") == "export" for one in here)
    objects = len(here) - exports
    words = [counted(objects)] if objects else []
    return " and ".join([*words, counted(exports, "export")] if exports else words)


def weight(objects: Sequence[dict[str, Any]]) -> int:
    """Add up the bytes that are told."""
    return sum(bytes_ for one in objects if isinstance(bytes_ := one.get("bytes"), int))


def place(copy: dict[str, Any]) -> str:
    """Say where one copy of an object is, how, for whom where that is told, and until when."""
    return (
        f"{copy['where']}: {copy['state']}"
        + (f" to {', '.join(copy['readers'])}" if "readers" in copy else "")
        + (f", until {when_text(copy['until'])}" if "until" in copy else "")
    )


def until(one: dict[str, Any], *, usual: str) -> str:
    """Say until when an object is kept at least; ``usual`` where nothing ends it here."""
    if one.get("restrictions") and not one.get("holds") and one.get("state") != "erasing":
        return "it is unrestricted"
    if one.get("state") == "at_store":
        return "a delete"
    return when_text(one["until"]) if "until" in one else usual
