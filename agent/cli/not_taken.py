"""What to do about what a source offered in vain: one step for each reason, and of what they have in common one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from agent.config import Config

_UNWANTED: Final = frozenset({"no_consent", "consent_refused", "consent_withdrawn", "objected"})
"""Why something is not taken in that the policy lets in: of that its owner has the word, and no policy."""

_NOT_LET_IN: Final = frozenset({"no_rule", "no_purpose", "no_recipient"})
_TOLD: Final = frozenset({"refused", "unknown_name", "cameras_full", "sound_left_out", "left_out"})
"""Kinds that have a step of their own; the others are of files that no source ever opens."""


def steps(config: "Config", source: str, counts: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what a person does next; ``counts`` are of the running agent's ``status``, each (kind, reason, count)."""
    kinds = {one["kind"] for one in counts}
    path = next((one.path for one in config.sources if one.name == source), config.file)
    if "unknown_name" in kinds:
        yield f"name files in {path} as a pattern of the source does (docs/operating.md), or take them away"
    if kinds - _TOLD:
        yield f"look for what does not belong in {path}: only plain files with one name are opened"
    if "cameras_full" in kinds:
        yield f"see that the folders in {path} are those of cameras, or delete what is held of others"
    if "sound_left_out" in kinds:
        yield "choose AAC for the sound of this stream in the camera, or write sound = false"
    if "left_out" in kinds:
        yield f"name the fields that are to be kept in {config.policy} ([category.usage-log.fields])"
    yield from _of_refused(config, path, {one["reason"] for one in counts if one["kind"] == "refused"})


def _of_refused(config: "Config", path: "Path", reasons: set[str]) -> Iterator[str]:
    """Yield what to do where nobody and nothing is wrong with a file, and a rule keeps it out."""
    if reasons & _UNWANTED:
        yield (
            "its owner may say yes: privacy-owner consent give PURPOSE --category NAME "
            f"(their names: {config.command('consents')}); what was recorded before a yes stays where it is, also then "
            "(docs/consent.md)"
        )
    if "before_mark" in reasons:
        yield (
            f"see what was there before a delete in {path}: whether that covers it cannot be told from its times, so "
            "it is neither taken in nor destroyed; take it away if it is meant, else keep it elsewhere"
        )
    if "disk_full" in reasons:
        yield f"free space, or lower the keep limits in {config.policy}"
    if "too_large" in reasons:
        yield f"give it a larger disk, or take it from {path} in parts: it needs more than half of the disk"
    if "service_ended" in reasons:
        yield "its owner may go on: privacy-owner end-service --resume; what is here can be exported and deleted"
    if reasons & _NOT_LET_IN:
        yield f"let the category in by {config.policy} (docs/operating.md, policy.toml), or take it away"
