"""``privacy-agent audit show``: a table for a person at a terminal, the very lines in a pipe and with ``--json``."""

import json
from collections.abc import Iterator
from itertools import count, islice
from typing import Any, get_args

import pytest

from agent.chain import EMPTY, Event, EventKind, entry_line
from agent.cli.audit_log import WORDS, shown
from agent.model import Moment
from tests.cli.conftest import Device
from tests.screen import on_screen

OBJECT = "a" * 26
KEY = "k" * 43
AT = Moment(agent_ms=1_800_000_000_000, wall_ms=1_800_000_000_000, trusted=True)


def _line(event: Event) -> str:
    return entry_line(event, head=EMPTY, moment=AT).decode()


def _on_terminal(device: Device, *words: object, columns: int) -> str:
    code, text = on_screen("privacy-agent", "audit", "show", *words, "--config", device.config, columns=columns)
    assert code == 0, text
    return text


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_log_is_a_table_on_a_terminal_that_fits_it_with_every_id_whole(device: Device, columns: int) -> None:
    ids = device.take_in("front_door/a.mp4", "front_door/b.jpg")
    table = _on_terminal(device, columns=columns)
    lines = table.splitlines()
    assert lines[0].split()[:2] == ["entry", "when"]
    assert max(map(len, lines)) <= columns
    entries = [json.loads(line) for line in device.ok("audit", "show").out.splitlines()]
    numbers = [line.split()[0] for line in lines if line[:7].strip().isdigit()]
    assert numbers == [str(one["seq"]) for one in entries if "seq" in one]
    assert table.count("taken in") == len(ids)
    assert all(one in table for one in ids)
    assert "{" not in table
    assert not any(one["prev"] in table or str(one["at"]) in table for one in entries if "seq" in one)
    assert "\x1b" not in table


def test_log_is_its_very_lines_in_a_pipe_and_with_json_on_a_terminal(device: Device) -> None:
    device.take_in("front_door/a.mp4")
    piped = device.ok("audit", "show").out
    assert all(json.loads(line) for line in piped.splitlines())
    assert device.ok("audit", "show", "--json").out == piped
    assert _on_terminal(device, "--json", columns=80) == piped


def test_log_that_has_nothing_behind_an_entry_says_so_on_a_terminal_alone(device: Device) -> None:
    assert _on_terminal(device, "--after", 9999, columns=80) == "No entry is behind 9999.\n"
    assert device.ok("audit", "show", "--after", 9999).out == ""


def test_line_says_what_happened_to_what_by_which_rule_and_by_whom() -> None:
    event = Event(
        kind="ingest_refused", rule="category.usage-log", actor=KEY, object=OBJECT, command="c" * 26,
        detail={"reason": "no_rule", "bytes": 12_400, "sha256": "5" * 64},
    )  # fmt: skip
    _head, line = shown([_line(event)], columns=0)
    assert line.split("  ")[-1] == (
        f"{OBJECT} · 12.4 kB · no_rule · sha256 555555555555… · rule category.usage-log · by key kkkkkkkkkkkk… · "
        f"command {'c' * 26}"
    )
    assert "  not taken in  " in line


def test_every_kind_of_entry_has_words_of_its_own() -> None:
    assert set(WORDS) == set(get_args(EventKind))
    assert len(set(WORDS.values())) == len(WORDS)


@pytest.mark.parametrize("columns", [0, 40, 80, 120])
@pytest.mark.parametrize("hostile", ["\x1b[2J\x1b]0;x\x07", "\u202egpj", "a\nb", "\x9b31m"])
def test_no_line_steers_the_terminal(hostile: str, columns: int) -> None:
    told: dict[str, Any] = json.loads(_line(Event(kind="admitted")))
    entry = told | {"object": hostile, "rule": hostile, "actor": hostile, "kind": hostile, "detail": {hostile: hostile}}
    checkpoint = {"checkpoint": {"at": 1, "seq": hostile, "kid": hostile}}
    lines = [json.dumps(entry), json.dumps(checkpoint), hostile, f'["{hostile}"]', json.dumps(told | {"at": hostile})]
    text = "".join(shown(lines, columns=columns))
    assert all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.parametrize("line", ["", "{", "[]", "1", "null", '{"checkpoint":1}', '{"seq":1}', "[" * 20_000])
def test_line_that_is_none_is_shown_as_it_is(line: str) -> None:
    assert list(shown([line], columns=80))[1:] == [line]


def test_log_of_any_length_is_shown_as_it_comes() -> None:
    asked = count()

    def endless() -> Iterator[str]:
        while True:
            next(asked)
            yield _line(Event(kind="admitted", object=OBJECT))

    assert len(list(islice(shown(endless(), columns=80), 4))) == 4
    assert next(asked) == 3
