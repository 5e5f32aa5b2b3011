"""The reference of what a source may say, and of the libraries for a peer: held to the code that does it."""

import json
import re
from pathlib import Path
from typing import get_args

from agent.app.camera_state import State
from agent.config import _DISCOVERY_KEYS, _SOURCE_KEYS, _STREAM_KEYS, WAYS, parse_config
from agent.enrolment import LEVELS
from agent.nearby.judging import Rule
from agent.scrub.settings import ScrubSettings
from agent.sources.place import FRIGATE_SEGMENT_MS, MEDIA, PRESETS

ROOT = Path(__file__).resolve().parents[2]
OPERATING = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
PROTOCOL = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
LEAST = 'device = "cam-01"\n[[source]]\nkind = "{kind}"\npath = "/srv/nvr"\nmedium = "disk"\n'


def rows_below(head: str) -> list[list[str]]:
    table = OPERATING.split(head, 1)[1].split("\n\n", 1)[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_every_key_of_a_source_is_listed_and_no_other() -> None:
    listed = [row[0].strip("`") for row in rows_below("| key | left out | meaning |")]
    assert sorted(listed) == sorted(_SOURCE_KEYS)


def test_every_key_of_a_camera_that_streams_is_listed_with_the_value_that_counts_where_it_is_left_out() -> None:
    usual = {row[0].strip("`"): row[1] for row in rows_below("| key of a camera | left out | meaning |")}
    assert sorted(usual) == sorted(_STREAM_KEYS)
    least = 'device = "cam-01"\n[[source]]\nkind = "rtsp"\nname = "door"\nurl = "rtsp://camera/main"\n'
    written = "".join(f"{key} = {value.strip('`')}\n" for key, value in usual.items() if value.startswith('`"'))
    assert written.count("\n") == 2
    file = ROOT / "agent.toml"
    (left_out,) = parse_config(least.encode(), file=file).streams
    assert parse_config((least + written + 'camera = "door"\n').encode(), file=file).streams == (left_out,)
    assert left_out.credentials is None
    assert sorted(key for key, value in usual.items() if value.startswith("must be there")) == [
        "certificate_sha256", "kind", "name", "url",
    ]  # fmt: skip


def test_every_key_of_discovery_is_listed_and_every_way_too() -> None:
    rows = rows_below("| `[discovery]` | left out | meaning |")
    assert sorted(row[0].strip("`") for row in rows) == sorted(_DISCOVERY_KEYS)
    (ways,) = (row[2] for row in rows if row[0] == "`ways`")
    assert tuple(re.findall(r"`(\w+)` \(", ways)) == WAYS
    enrolment = (ROOT / "docs/enrolment.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| .+ \|$", enrolment.split("| way |")[1].split("\n\n")[0], re.MULTILINE) == [*WAYS]


def test_every_key_of_scrub_is_listed_with_the_value_that_counts_where_it_is_left_out() -> None:
    usual = {row[0].strip("`"): row[1].strip("`") for row in rows_below("| `[scrub]` | left out | meaning |")}
    written = "[scrub]\n" + "".join(f"{key} = {value}\n" for key, value in usual.items())
    file = ROOT / "agent.toml"
    assert sorted(usual) == ["every", "rate"]
    assert parse_config((f'device = "cam-01"\n{written}').encode(), file=file).scrub == ScrubSettings()


def test_every_rule_level_and_state_of_enrolment_is_listed() -> None:
    enrolment = (ROOT / "docs/enrolment.md").read_text(encoding="utf-8")

    def listed(head: str) -> list[str]:
        return re.findall(r"^\| `(\w+)` \|", enrolment.split(head, 1)[1].split("\n\n", 1)[0], re.MULTILINE)

    assert listed("| rule |") == [*get_args(Rule)]
    assert listed("| level |") == [*LEVELS]
    assert listed("| state |") == [*get_args(State)]


def test_value_that_counts_where_a_key_is_left_out_is_the_one_that_is_listed() -> None:
    usual = {row[0].strip("`"): row[1].strip("`") for row in rows_below("| key | left out | meaning |")}
    written = "".join(f"{key} = {value}\n" for key, value in usual.items() if value.startswith('"'))
    assert written.count("\n") == 5
    file = ROOT / "agent.toml"
    left_out = parse_config(LEAST.format(kind="frigate").encode(), file=file)
    assert parse_config((LEAST.format(kind="frigate") + written).encode(), file=file) == left_out
    assert usual["after"] == "take` for a spool, else `leave"
    for kind in PRESETS:
        (source,) = parse_config(LEAST.format(kind=kind).encode(), file=file).sources
        assert source.takes is (kind == "spool")
    must = [key for key, value in usual.items() if value == "must be there"]
    assert sorted(must) == ["kind", "medium", "path"]


def test_names_that_a_kind_expects_are_listed() -> None:
    listed = {row[0].strip("`"): tuple(re.findall(r"`([^`]+)`", row[1])) for row in rows_below("| kind | names, as")}
    assert listed == dict(PRESETS)
    endings = re.search(r"`\{ext\}` is one of `([a-z0-9 ]+)`", OPERATING)
    assert endings is not None
    assert endings[1].split() == list(MEDIA)
    assert f"recordings {FRIGATE_SEGMENT_MS // 1000} s are assumed" in OPERATING


def test_libraries_that_the_protocol_names_are_those_that_the_tests_run() -> None:
    tested = json.loads((ROOT / "tests/node/package.json").read_text(encoding="utf-8"))["dependencies"]
    (told,) = re.findall(r"^.*npm's `age-encryption`.*$", PROTOCOL, re.MULTILINE)
    named = dict(re.findall(r"`([a-z-]+)` (\d[\d.]*\d)", told))
    assert set(named) == {"age-encryption", "jose", "mqtt"}
    assert named == {name: tested[name] for name in named}


def test_what_is_installed_is_pinned_by_the_lock() -> None:
    (pattern,) = re.findall(r"^grep -oE '([^']+)' requirements.lock > versions.txt$", OPERATING, re.MULTILINE)
    pinned = re.findall(pattern, (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert {one.split("==")[0] for one in pinned} >= {"cryptography", "msgspec", "paho-mqtt", "apsw-sqlite3mc"}
    assert not [line for line in OPERATING.splitlines() if re.search(r"pip install \.(\s|`|$)", line)]
