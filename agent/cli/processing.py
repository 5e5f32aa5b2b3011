"""``policy record``: the record of processing activities that the policy amounts to, for people and for programs."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from agent.shell.ending import DONE
from agent.shell.parser import Subparsers, add

if TYPE_CHECKING:
    from agent.policy import Policy, Rule


def add_record(policy: Subparsers) -> None:
    """Register ``policy record`` in the group."""
    record = add(
        policy,
        "record",
        summary="write the record of processing activities (GDPR, article 30) that a policy amounts to",
        example="privacy-agent policy record --json policy.toml",
        detail="As JSON it is JSON-LD in the terms of the Data Privacy Vocabulary. Add who the controller is.",
        run=_record,
    )
    record.add_argument("file", type=Path, nargs="?", metavar="FILE", help="another policy than the one in force")
    record.add_argument("--config", type=Path, default=None, metavar="FILE", help="agent.toml")
    record.add_argument("--json", action="store_true", help="answer as JSON")


def _record(arguments: argparse.Namespace) -> int:
    from agent.app.policy_file import read_policy
    from agent.cli.asking import ask_agent, config_of
    from agent.document import DOCUMENT_BYTES
    from agent.files import read_whole
    from agent.policy.processing import MEASURES, SUBJECTS, record
    from agent.shell.terminal import heading, pairs

    if arguments.file is None:
        config = config_of(arguments)
        name, device = "the policy in force", config.device
        raw = ask_agent(arguments, "policy", {})["document"].encode()
    else:
        name, device = str(arguments.file), ""
        raw = read_whole(arguments.file, max_bytes=DOCUMENT_BYTES, hint="name the policy file")
    policy = read_policy(raw, file=name)
    if arguments.json:
        print(json.dumps(record(policy, device=device), indent=1))
        return DONE
    print(heading(f"record of processing activities, by {name}"))
    print(pairs([("of whom", "; ".join(SUBJECTS)), ("protected", "; ".join(words for _term, words in MEASURES))]))
    for rule in policy.obeyed():
        print(f"\n{heading(rule.scope)}")
        print(pairs(_rows(policy, rule)))
    return DONE


def _rows(policy: "Policy", rule: "Rule") -> list[tuple[str, object]]:
    from agent.policy.processing import fields, limits, places, processors, readers

    why = [f"{one.name} ({one.basis}): {one.description}" for one in rule.purposes]
    return [
        *(("why", line) for line in why),
        *(("fields", line) for line in (fields(rule),) if line),
        ("who reads", ", ".join(readers(policy, rule)) or "nobody"),
        *(("who gets", f"{name}: {gets}") for name, gets in processors(rule)),
        ("where", ", ".join(places(policy, rule))),
        ("how long", limits(rule)),
    ]
