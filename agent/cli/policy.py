"""``policy check|diff|show|explain``: a document before anything obeys it, and the one that is obeyed."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.cli.known import LISTED_BY, UNKNOWN, unknown_cameras
from agent.cli.processing import add_record
from agent.errors import ConfigError
from agent.shell.parser import Subparsers, add, group

if TYPE_CHECKING:
    from agent.policy import Policy

_FROZEN: Final = frozenset({"held", "restricted"})
_ORDER: Final = ("looser", "neutral", "tighter")
"""What asks the owner comes first."""


def add_parsers(subparsers: Subparsers) -> None:
    """Register the commands over a policy document."""
    policy = group(
        subparsers,
        "policy",
        summary="check a policy document before anything obeys it, and show the one in force",
        example="privacy-agent policy diff new-policy.toml",
    )
    check = add(
        policy,
        "check",
        summary="read a policy as strictly as the agent does",
        example="privacy-agent policy check --dry-run new-policy.toml",
        detail="Nothing is changed. With --dry-run it lists what would be deleted now, and what stays over a limit.",
        run=_check,
    )
    _add_file(check, "the policy (default: the config's)")
    check.add_argument("--dry-run", action="store_true", help="also list what it would delete now, and what stays")
    diff = add(
        policy,
        "diff",
        summary="say which lines of a policy allow more than the one in force, and which less",
        example="privacy-agent policy diff new-policy.toml",
        detail="What allows less is obeyed at once; if one line allows more, all of it waits for the owner's approve.",
        run=_diff,
    )
    _add_file(diff, "the policy (default: the config's)")
    shown = add(
        policy,
        "show",
        summary="show the policy in force, who brought it, and what waits for the owner",
        example="privacy-agent policy show --waiting",
        run=_show,
    )
    _add_config(shown)
    shown.add_argument("--waiting", action="store_true", help="the documents that wait, with what in them allows more")
    explain = add(
        policy,
        "explain",
        summary="say in words what the policy in force does with each category, and with the device as a whole",
        example="privacy-agent policy explain",
        run=_explain,
    )
    _add_file(explain, "another policy")
    add_record(policy)


def _add_file(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help=words)
    _add_config(parser)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=None, metavar="FILE", help="agent.toml")
    parser.add_argument("--json", action="store_true", help="answer as JSON")


def _read(arguments: argparse.Namespace) -> tuple[Path, bytes]:
    from agent.cli.asking import config_of
    from agent.document import DOCUMENT_BYTES
    from agent.files import read_whole

    path = arguments.file or config_of(arguments).policy
    return path, read_whole(path, max_bytes=DOCUMENT_BYTES, hint="name the policy file")


def _check(arguments: argparse.Namespace) -> int:
    from agent.app.policy_file import read_new_policy
    from agent.cli.asking import ask_agent
    from agent.shell.layout import counted
    from agent.shell.terminal import heading, table

    path, raw = _read(arguments)
    policy = read_new_policy(raw, file=str(path))
    plan = None
    if arguments.dry_run:
        plan = ask_agent(arguments, "dry-run", {"policy": raw.decode("utf-8"), "file": str(path)})
    unknown = _unknown_cameras(arguments, policy)
    if arguments.json:
        rules = [rule.scope for rule in policy.rules]
        told = {"file": str(path), "rules": rules, "would_delete": plan, "unknown_cameras": unknown}
        print(json.dumps(told))
        return 0
    print(f"{path}: good, {counted(len(policy.rules), 'rule')}")
    for camera in unknown:
        print(f"look: [camera.{camera}.…]: {UNKNOWN}; {LISTED_BY}")
    if plan is not None:
        rows = [(*_object(item), item["rule"]) for item in plan["objects"]]
        if rows:
            print(table(rows, head=("would delete", "camera", "captured", "size", "by rule"), right=(3,)))
        stays = [(*_object(item), item["rule"], _reason(item)) for item in plan["stays"]]
        if stays:
            print(table(stays, head=("stays", "camera", "captured", "size", "in spite of", "because"), right=(3,)))
        more = f", {plan['count'] - len(rows)} of them not listed" if plan["count"] > len(rows) else ""
        sum_ = f"\nIt would delete {plan['count']} of {counted(plan['held'])} now{more}."
        print(sum_ if rows else "It would delete nothing now.")
        if stay := _stay(plan):
            print(heading(f"Whatever its limits say, stay for now: {stay}; privacy-agent explain ID says why."))
        if plan["asks_first"]:
            print("That is far more than expected: the pass would stop and ask the owner first.")
    return 0


def _unknown_cameras(arguments: argparse.Namespace, policy: "Policy") -> list[str]:
    """Return which cameras of the policy this device does not know; none where a policy is checked without a device."""
    from agent.cli.asking import config_of

    try:
        config = config_of(arguments)
    except ConfigError:
        if arguments.config is not None:
            raise
        return []
    return unknown_cameras(config, policy)


def _stay(plan: dict[str, Any]) -> str:
    """Say how many objects stay in spite of a limit, and why; "" where none does.

    Of what is held or restricted just those count that are listed as over one.
    """
    from agent.app.question import LISTED_MAX

    kept = Counter(one["reason"] for one in plan["stays"])
    kept.update({reason: count for reason, count in plan["kept"].items() if reason not in _FROZEN})
    most = "at least " if len(plan["stays"]) >= LISTED_MAX else ""
    return ", ".join(
        f"{most if reason in _FROZEN else ''}{count} {reason.replace('_', ' ')}"
        for reason, count in sorted(kept.items())
    )


def _object(item: dict[str, Any]) -> tuple[str, str, str, str]:
    from agent.shell.layout import size
    from agent.shell.times import when_text

    return item["id"], item.get("camera", ""), when_text(item.get("captured_from", "")), size(item["bytes"])


def _reason(item: dict[str, Any]) -> str:
    from agent.shell.times import when_text

    return item["reason"] if item["until"] is None else f"{item['reason']} until {when_text(item['until'])}"


def _diff(arguments: argparse.Namespace) -> int:
    from agent.app.policy_file import read_new_policy
    from agent.cli.asking import ask_agent
    from agent.shell.layout import counted

    path, raw = _read(arguments)
    read_new_policy(raw, file=str(path))
    answer = ask_agent(arguments, "policy", {"document": raw.decode("utf-8"), "file": str(path)})
    if arguments.json:
        print(json.dumps(answer))
        return 0
    changes = answer["changes"]
    if not changes:
        print(f"{path}: does what the policy in force does")
        return 0
    print(_table(changes, name=path.name))
    looser = sum(change["kind"] == "looser" for change in changes)
    if looser:
        allow = "allows" if looser == 1 else "allow"
        print(f"\n{looser} of {counted(len(changes), 'change')} {allow} more: all of it waits for the owner's approve.")
    else:
        print("\nNothing of it allows more: it is obeyed at once.")
    return 0


def _table(changes: list[dict[str, Any]], *, name: str) -> str:
    from agent.shell.terminal import table

    rows = [
        (
            change["kind"],
            f"{name}:{change['line']}",
            change["field"],
            f"{change['before']} -> {change['after']}",
            change["because"],
        )
        for change in sorted(changes, key=lambda change: _ORDER.index(change["kind"]))
    ]
    return table(rows, head=("way", "line", "what", "change", "because"))


def _show(arguments: argparse.Namespace) -> int:
    from agent.cli.asking import ask_agent
    from agent.shell.times import when_text

    answer = ask_agent(arguments, "policy", {})
    waiting = answer["waiting"]
    if arguments.json:
        print(json.dumps(waiting if arguments.waiting else answer))
        return 0
    if not arguments.waiting:
        print(answer["document"].rstrip())
        who = "the policy file" if answer["by"] == "local" else f"key {answer['by']}, revision {answer['revision']}"
        print(f"\n# in force since {when_text(answer['since'])}, by {who}\n# SHA-256 {answer['sha256']}")
        if not answer.get("bound", True):
            print("# no agent has run under it yet: until then the policy file may be edited freely")
    for one in waiting:
        print(f"# waits: privacy-owner approve {one['id']} {one['sha256']}")
        if arguments.waiting:
            print(_table(one["loosens"], name="line"))
            print(one["document"].rstrip())
    if arguments.waiting and not waiting:
        print("nothing waits")
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    from agent.app.policy_file import read_policy
    from agent.cli.asking import ask_agent
    from agent.cli.policy_words import explained
    from agent.shell.terminal import pairs

    if arguments.file is None:
        name, raw = "the policy in force", ask_agent(arguments, "policy", {})["document"].encode()
    else:
        path, raw = _read(arguments)
        name = str(path)
    rules = explained(read_policy(raw, file=name))
    if arguments.json:
        print(json.dumps(rules))
        return 0
    for rule in rules:
        print(f"{rule['rule']}\n" + pairs([("", line) for line in rule["says"]]))
    return 0
