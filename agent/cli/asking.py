"""``status``, ``inventory``, ``explain``, ``export`` and ``audit``: questions to the agent.

With a running agent they go through its socket; else this process takes the vault's lock and answers itself.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.shell.ending import DONE, FAILED
from agent.shell.parser import Subparsers, add, group

if TYPE_CHECKING:
    from agent.config import Config


_QUICK: Final = frozenset({"status", "cameras", "consents", "integrations"})
"""Questions that are answered at once, whatever is held."""

LISTED_MAX: Final = 100_000
"""Objects that one inventory holds in memory to put them in order; of more it says so and fails."""


def add_parsers(subparsers: Subparsers) -> None:
    """Register the commands."""
    add_asking(subparsers, "status", "tell how the device is", "privacy-agent status", run=_status)

    inventory = add_asking(
        subparsers,
        "inventory",
        "list what is held, until when and by which rule",
        "privacy-agent inventory --category photo",
        detail="That is by age alone: what ends an object before, for size, count or room, is said by explain.",
        run=_inventory,
    )
    _add_selection(inventory)

    explain = add_asking(
        subparsers,
        "explain",
        "say why an object is still here, until when, and what will end it",
        "privacy-agent explain ID",
        run=_explain,
    )
    explain.add_argument("id", metavar="ID", help="of an object or an export, as inventory lists it")

    export = add_asking(
        subparsers,
        "export",
        "build an export sealed to the owner",
        "privacy-agent export --from 2026-03-01 --to 2026-03-02",
        run=_export,
    )
    _add_selection(export)
    export.add_argument("--form", choices=("objects", "zip"), default="objects", help="age files, or zips for people")

    audit = group(
        subparsers,
        "audit",
        summary="show or verify the log of every act on personal data",
        example="privacy-agent audit verify",
    )
    show = add_asking(
        audit,
        "show",
        "show the log as a table; in a pipe, or with --json, its very lines",
        "privacy-agent audit show > audit.jsonl",
        run=_audit_show,
    )
    show.add_argument("--after", type=int, default=0, metavar="N", help="begin behind entry N")
    add_asking(audit, "verify", "check the whole chain", "privacy-agent audit verify", run=_audit_verify)


def config_of(arguments: argparse.Namespace) -> "Config":
    """Read the config that the arguments name, or the usual one."""
    from agent.config import DEFAULT_PATH, read_config

    return read_config(arguments.config or DEFAULT_PATH)


def ask_agent(arguments: argparse.Namespace, verb: str, args: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Ask the running agent, or answer from the vault itself when none runs."""
    return asyncio.run(_ask(config_of(arguments), verb, args, as_json=arguments.json))


async def _ask(config: "Config", verb: str, args: dict[str, Any], *, as_json: bool) -> Any:  # noqa: ANN401 - JSON
    from agent.control import FIRST_ANSWER_S, AwayError, ask
    from agent.shell.terminal import LiveLine

    line = LiveLine(wanted=not as_json)

    def progress(step: dict[str, Any]) -> None:
        if step.get("total"):
            line.show(f"{int(step['done']) / int(step['total']):4.0%}  {step['done']} of {step['total']}")

    try:
        with suppress(AwayError):
            within_s = FIRST_ANSWER_S if verb in _QUICK else None
            return await ask(config.socket, verb, args, progress=progress, within_s=within_s)
        from agent.app.parts import opened
        from agent.app.verbs import offline
        from agent.clock import system_clock
        from agent.process import keep_memory

        keep_memory()
        async with opened(config, read_clock=system_clock(source=config.clock)) as parts:
            return await offline(parts, verb, args, progress=progress)
    finally:
        line.clear()


def add_asking(
    subparsers: Subparsers,
    name: str,
    summary: str,
    example: str,
    *,
    run: Callable[[argparse.Namespace], int],
    detail: str = "",
) -> argparse.ArgumentParser:
    """Add a command that asks the agent of a config, and answers as JSON where that is wanted."""
    parser = add(subparsers, name, summary=summary, example=example, detail=detail, run=run)
    parser.add_argument("--config", type=Path, default=None, metavar="FILE", help="agent.toml")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="objects; none and no option means all")
    parser.add_argument("--camera", metavar="ID", help="of one camera")
    parser.add_argument("--category", choices=("recording", "photo", "usage-log", "export"), help="of one category")
    parser.add_argument(
        "--from", dest="from_", metavar="TIME", help="captured at or after: 2026-03-01, 2026-03-01T10:15:00Z, 36h, 14d"
    )
    parser.add_argument("--to", metavar="TIME", help="captured before")


def _selection(arguments: argparse.Namespace) -> dict[str, Any]:
    from agent.clock import rfc3339_ms, system_clock
    from agent.shell.times import parse_when

    now_ms = system_clock()().wall_ms

    def moment(text: str | None) -> str | None:
        return None if text is None else rfc3339_ms(parse_when(text, now_ms=now_ms))

    return {
        "ids": arguments.ids,
        "camera": arguments.camera,
        "category": arguments.category,
        "from": moment(arguments.from_),
        "to": moment(arguments.to),
    }


def print_json(answer: Any) -> int:  # noqa: ANN401 - JSON
    """Print an answer for a program."""
    print(json.dumps(answer, ensure_ascii=False))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from agent.cli.cameras import cameras_table, deletes_waiting
    from agent.cli.frozen import frozen_table
    from agent.cli.ignored import ignored_words
    from agent.cli.leaving import leaving_words
    from agent.shell.field_rules import words_of
    from agent.shell.layout import counted, size
    from agent.shell.terminal import heading, noted, pairs, table
    from agent.shell.times import when_text

    answer = ask_agent(arguments, "status", {})
    if arguments.json:
        return print_json(answer)
    line = answer["broker"]
    state = "not configured" if not line["configured"] else "online" if line["online"] else "offline"
    if line["configured"] and not answer["running"]:
        state = "not connected: the agent does not run"
    if "trouble" in line:
        state = f"offline: {line['trouble']}"
    owner = answer["owner"]
    same_config = "" if arguments.config is None else " with the same --config"  # a path may be wider than the screen
    rows = [
        ("device", f"{answer['device']}  ({answer['fingerprint']})"),
        ("agent", "runs" if answer["running"] else f"does not run; start it: privacy-agent run{same_config}"),
        ("owner", _owner_words(owner)),
        *([] if answer["leaving"] is None else [("leaving", leaving_words(answer["leaving"]))]),
        ("holds", f"{counted(answer['held']['objects'])}, {size(answer['held']['bytes'])}"),
        *_not_here(answer),
        *(("waiting", told) for told in deletes_waiting(answer["waiting_deletes"])),
        ("exports", f"{answer['exports']['count']}, {size(answer['exports']['bytes'])}"),
        *_requests(answer["requests"]),
        ("to upload", f"{counted(answer['uploads']['waiting'])}, {size(answer['uploads']['bytes'])}"),
        ("broker", state),
        *([("ignored", ignored_words(answer["ignored"]))] if answer["ignored"] else []),
        (
            "clock",
            ("trusted" if answer["clock"]["trusted"] else "unsure") + f", {when_text(answer['clock']['agent_time'])}",
        ),
        ("disk", f"{size(answer['disk']['free'])} free of {size(answer['disk']['total'])}"),
        *_scrub(answer["scrub"]),
        ("keys", f"{answer['protection']} keystore, key set version {answer['key_set']}"),
        ("log", f"{answer['audit_head']['seq']} entries"),
    ]
    parts = [pairs(rows)]
    enrolled = [one for one in answer["cameras"] if not one["source"]]
    if enrolled:
        parts.append(cameras_table(enrolled))
    if any(answer["frozen"].values()):
        parts.append(frozen_table(answer["frozen"]))
    if answer["alerts"]:
        parts.append(_alerts(answer))
    if answer["field_rules"]:
        rules = [((name,), [words_of(told)]) for name, told in answer["field_rules"].items()]
        parts.append(noted(rules, head=("usage logs of",)))
    refused = [
        (source["name"], one["kind"].replace("_", " "), one["count"], one["reason"].replace("_", " "))
        for source in answer.get("sources", ())
        for one in source["not_taken"]
    ]
    if refused:
        parts.append(table(refused, head=("source", "not taken in", "times", "why"), right=(2,)))
    if arguments.config is not None and any("privacy-agent " in part for part in parts[1:]):
        parts.append(heading("Each of privacy-agent's commands above wants the same --config."))
    print("\n\n".join(parts))
    return 0


def _alerts(answer: dict[str, Any]) -> str:
    """Return the alerts, beneath each what to do; of ``source_failed`` which source it is and why."""
    from agent.app.alarm import MEANING
    from agent.cli.cameras import words_of
    from agent.shell.terminal import noted
    from agent.shell.times import when_text

    failed = [
        f"camera {one['camera']} {one['name']}".rstrip() + f": {words_of(one)}"
        for one in answer["cameras"]
        if not one["source"] and one["how"]["state"] == "failed"
    ]
    failed += [
        f"source {one['name']}: {one['failed']}; next: {one['next']}"
        for one in answer.get("sources", ())
        if "failed" in one
    ]
    rows = []
    for one in answer["alerts"]:
        words = failed if one["code"] == "source_failed" and failed else [MEANING[one["code"]][1]]
        rows.append(((one["code"], f"since {when_text(one['since'])}", _times(one["count"])), words))
    return noted(rows, head=("alert", "", ""))


def _owner_words(owner: dict[str, Any] | None) -> str:
    if owner is None:
        return "none"
    return f"{owner['name'] or 'gone'}  ({owner['fingerprint']})"  # who leaves has no name here any more


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _not_here(answer: dict[str, Any]) -> list[tuple[str, object]]:
    """Return the rows of ``status`` for what is on its way out and what only a store has, where there is any."""
    from agent.shell.layout import counted, size
    from agent.shell.times import when_text

    going, away = answer["erasing"], answer["at_store"]
    rows: list[tuple[str, object]] = []
    if going["objects"]:
        by = f", keys gone by {when_text(going['until'])}" if "until" in going else ""
        rows.append(("being erased", f"{counted(going['objects'])}{by}"))
    if away["objects"]:
        rows.append(("store only", f"{counted(away['objects'])}, {size(away['bytes'])}: kept there until a delete"))
    return rows


def _inventory(arguments: argparse.Namespace) -> int:
    from agent.shell.held import summed
    from agent.shell.terminal import heading

    selection = _selection(arguments)
    answer = ask_agent(arguments, "inventory", selection)
    objects, exports, more_exports = answer["objects"], answer["exports"], answer["more_exports"]
    levels = dict(answer["levels"])
    while answer["next"] and len(objects) < LISTED_MAX:
        answer = ask_agent(arguments, "inventory", selection | {"after": answer["next"]})
        objects += answer["objects"]
        levels |= answer["levels"]
    objects.sort(key=lambda item: (item["captured_from"], item["id"]))
    more = bool(answer["next"])
    missing = sorted(set(arguments.ids) - {item["id"] for item in (*objects, *exports)})
    code = FAILED if missing or more else DONE
    if more:
        print(
            f"privacy-agent: this is not all: more than {LISTED_MAX} objects are held\n"
            "  next: take a smaller selection by --camera, --category, --from, --to",
            file=sys.stderr,
        )
    if missing:
        print(
            f"privacy-agent: not held here: {', '.join(missing)}\n  next: privacy-agent inventory lists what is held; "
            "privacy-agent audit show says why others went",
            file=sys.stderr,
        )
    if arguments.json:
        told = {
            "objects": objects,
            "levels": levels,
            "exports": exports,
            "more_exports": more_exports,
            "missing": missing,
        }
        print_json(told | {"more": more})
        return code
    if not objects and not exports:
        print("Nothing of that selection is held." if any(selection.values()) else "Nothing is held.")
        return code
    if objects:
        print(_objects(objects, levels=levels))
        print("\n" + heading(summed(objects)))
    if objects and exports:
        print()
    if exports:
        print(_exports(exports))
    if more_exports:
        print("\n" + heading(f"and {more_exports} newer ones: name them, or privacy-owner inventory --category export"))
    return code


def _objects(objects: list[dict[str, Any]], *, levels: dict[str, str]) -> str:
    """Return objects as a table; where it is wider than the terminal, what fits of each and the rest beneath."""
    from agent.shell import layout
    from agent.shell.held import until
    from agent.shell.layout import size
    from agent.shell.terminal import columns, noted
    from agent.shell.times import when_text

    rows = [
        (
            item["id"],
            _camera(item),
            levels[item["camera"]],
            item["category"],
            when_text(item["captured_from"]),
            size(item["bytes"]),
            next((kind.replace("_", " ") for kind in ("damaged", "in_doubt") if kind in item), item["state"]),
            until(item, usual="-"),
            item["rule"],
        )
        for item in objects
    ]
    head = ("id", "camera", "level", "category", "captured", "size", "state", "until", "rule")
    whole, width = layout.table(rows, head=head, right=(5,)), columns(sys.stdout)
    if not width or max(map(len, whole.split("\n"))) <= width:
        return whole
    short = [
        (
            (row[0], row[4], row[5]),
            (row[1], row[2], row[3], row[6], f"until {row[7]}", f"by {row[8]}" if row[8] else ""),
        )
        for row in rows
    ]
    return noted(short, head=("id", "captured", "size"))


def _requests(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Say how the owner's requests stand, where any is open."""
    from agent.shell.times import when_text

    if not told["open"]:
        return []
    late = f", {told['overdue']} OVERDUE" if told["overdue"] else ""
    return [("requests", f"{told['open']} open{late}, the next due {when_text(told['next_due'])}")]


def _scrub(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Say when all was read again, and what is damaged."""
    from agent.shell.layout import counted, size
    from agent.shell.times import when_text

    last, now = told["last"], told["under_way"]
    read = f"{counted(last['objects'])}, {size(last['bytes'])}, by {when_text(last['ended'])}" if last else "not yet"
    under_way = f"; again since {when_text(now['began'])}, {size(now['bytes'])} so far" if now else ""
    rows = [("read again", read + under_way)]
    if told["damaged"]:
        rows.append(("DAMAGED", f"{counted(told['damaged'])}, neither exported nor uploaded: privacy-agent scrub"))
    if told["in_doubt"]:
        rows.append(("unreadable", f"{counted(told['in_doubt'])}, looked at once more an hour later"))
    return rows


def _exports(exports: list[dict[str, Any]]) -> str:
    from agent.shell.layout import size
    from agent.shell.terminal import table
    from agent.shell.times import when_text

    rows = [
        (
            item["id"],
            when_text(item["taken_in"]),
            item["objects"],
            size(item["bytes"]),
            when_text(item["until"]),
            item["rule"],
        )
        for item in exports
    ]
    return table(rows, head=("export", "made", "objects", "size", "until", "rule"), right=(2, 3))


def _camera(item: dict[str, Any]) -> str:
    """Return a camera's id, which the policy and ``--camera`` take, and what its source calls it."""
    return f"{item['camera']} {item['camera_label']}".rstrip()


def _purposes(names: list[str]) -> str:
    return ", ".join(names) or "its owner alone: every purpose of it was taken away"


def _explain(arguments: argparse.Namespace) -> int:
    from agent.cli.frozen import frozen_rows
    from agent.shell.field_rules import words_of
    from agent.shell.layout import counted, printable, size
    from agent.shell.terminal import heading, pairs
    from agent.shell.times import when_text

    answer = ask_agent(arguments, "explain", {"id": arguments.id})
    if arguments.json:
        return print_json(answer)
    if answer["category"] == "export":
        print(heading(f"export of {counted(answer['objects'])}, {size(answer['bytes'])}"))
        print(pairs(_about_export(answer)))
        return DONE
    what = f"{answer['category'] or 'object'} of camera {printable(_camera(answer))}, {size(answer.get('bytes', 0))}"
    if answer["state"] == "waiting_for_camera":
        print(heading(f"deleted here; camera {printable(_camera(answer))} has its own copy still"))
        print(pairs(_about_waiting(answer)))
        return DONE
    if answer["state"] == "in_exports":
        print(heading("gone here; exports have copies of it still"))
        print(pairs([*_copies(answer), ("remove them", f"privacy-owner delete {' '.join(answer['exports'])}")]))
        return DONE
    if answer["state"] == "at_store":
        print(heading(f"{what} sealed"))
        print(pairs(_about_away(answer)))
        return DONE
    decision = answer["decision"]
    until = when_text(decision["until"]) if "until" in decision else ""
    if "ends" in decision:
        destroyed = f"; its key is destroyed by {until}" if until else ""
        fate = ("goes", f"{decision['ends']}, by {decision['rule']}{destroyed}")
    else:
        because = decision["stays_because"].replace("_", " ")
        fate = ("stays", f"{because}{f' until {until}' if until else ''}, by {decision['rule']}")
    device = ", and this device" if answer["readable_by_device"] else ""
    print(heading(what))
    place = answer["camera_location"]
    rows = [
        *([("name", answer["name"])] if answer["name"] else []),
        *([("place", place)] if place else []),
        _captured(answer),
        ("taken in", f"{when_text(answer['taken_in'])}, for {_purposes(answer['purposes'])}"),
        fate,
        *([("damaged", _damage(answer["damaged"]))] if "damaged" in answer else []),
        *([("in doubt", _doubt(answer["in_doubt"]))] if "in_doubt" in answer else []),
        *frozen_rows(answer),
        ("can read", _readers(answer) + device),
        *([("field rules", words_of(answer["fields"]))] if "fields" in answer else []),
        *_copies(answer),
    ]
    print(pairs(rows))
    return DONE


def _damage(told: dict[str, Any]) -> str:
    from agent.shell.times import when_text

    return f"since {when_text(told['since'])}: {told['lost']}. {told['elsewhere']}"


def _doubt(told: dict[str, Any]) -> str:
    from agent.shell.times import when_text

    return f"since {when_text(told['since'])}: {told['lost']}, then. It is looked at again an hour later."


def _about_waiting(answer: dict[str, Any]) -> list[tuple[str, object]]:
    from agent.cli.cameras import words_of

    return [("waits for", answer["decision"]["waits_for"]), ("camera", words_of(answer)), *_copies(answer)]


def _about_away(answer: dict[str, Any]) -> list[tuple[str, object]]:
    from agent.cli.frozen import frozen_rows

    return [
        _captured(answer),
        *frozen_rows(answer),
        ("goes", "with a delete: this device's own copy is gone, a store keeps its own"),
        *_copies(answer),
        ("remove it", f"privacy-owner delete {answer['id']}"),
    ]


def _captured(answer: dict[str, Any]) -> tuple[str, object]:
    from agent.shell.times import when_text

    return "captured", f"{when_text(answer['captured_from'])} to {when_text(answer['captured_to'])}"


def _copies(answer: dict[str, Any]) -> list[tuple[str, object]]:
    from agent.shell.held import place

    return [("copy", place(copy)) for copy in answer["copies"]]


def _readers(answer: dict[str, Any]) -> str:
    return f"{', '.join(answer['readers']) or 'nobody'}, to whom it is sealed"


def _about_export(answer: dict[str, Any]) -> list[tuple[str, object]]:
    from agent.shell.times import when_text

    return [
        ("made", when_text(answer["taken_in"])),
        ("goes", f"at {when_text(answer['until'])}, by {answer['rule']}"),
        ("can read", _readers(answer)),
        ("lies in", answer["folder"]),
        ("remove it", f"privacy-owner delete {answer['id']}"),
    ]


_LEFT_OUT: Final = {
    "already_gone": ("already gone", "privacy-agent audit show says why it went"),
    "held": ("held", "privacy-agent explain ID says why"),
    "restricted": ("restricted", "privacy-agent explain ID says why"),
    "not_readable_here": ("that this device cannot open", "its owner exports it to the recipients it was sealed to"),
    "failed": ("damaged, whose bytes are not what was sealed", ""),
}
"""Why an object was not exported, and the next step; that of damage is the alert's."""


def _export(arguments: argparse.Namespace) -> int:
    from agent.app.alarm import MEANING
    from agent.shell.layout import counted, size

    answer = ask_agent(arguments, "export", _selection(arguments) | {"form": arguments.form})
    left_out = [outcome for outcome in answer["outcomes"] if outcome["result"] != "exported"]
    total = len(answer["outcomes"])
    if arguments.json:
        print_json(answer)
    else:
        where = f" to {answer['folder']}" if answer["folder"] else ""
        print(f"{total - len(left_out)} of {counted(total)} exported{where}")
        for file in answer["files"]:
            print(f"  {file['name']}  {size(file['bytes'])}")
        for outcome in left_out:
            print(f"  {outcome['id']}  {outcome['result'].replace('_', ' ')}")
        if answer["folder"]:
            print(f"open it:  privacy-owner open {answer['folder']} -o opened")
    if left_out:
        results = Counter(outcome["result"] for outcome in left_out)
        told = ", ".join(f"{count} {_LEFT_OUT[result][0]}" for result, count in results.items())
        steps = "; ".join(_LEFT_OUT[result][1] or MEANING["corrupt_object"][1] for result in results)
        print(f"privacy-agent: not exported: {told}\n  next: {steps}", file=sys.stderr)
    return FAILED if left_out else DONE


def _audit_show(arguments: argparse.Namespace) -> int:
    from agent.cli.audit_log import shown
    from agent.shell.terminal import columns

    lines: Iterable[str] = _audit_lines(arguments)
    as_table = sys.stdout.isatty() and not arguments.json
    if as_table:
        lines = shown(lines, columns=columns(sys.stdout))
    count = 0
    for line in lines:
        print(line)
        count += 1
    if as_table and not count:
        print(f"No entry is behind {arguments.after}." if arguments.after else "The log has no entry.")
    return DONE


def _audit_lines(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the log's lines, oldest first; no more than one page of them is in memory."""
    after = arguments.after
    while True:
        answer = ask_agent(arguments, "audit", {"after": after})
        yield from answer["lines"]
        if not answer["next"]:
            return
        after = answer["next"]


def _audit_verify(arguments: argparse.Namespace) -> int:
    answer = ask_agent(arguments, "audit", {"verify": True})
    if arguments.json:
        return print_json(answer)
    print(answer["sentence"])
    return 0
