"""The reference of what a source may say, and of the libraries for a peer: held to the code that does it."""

import importlib.metadata
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def pins(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """What the documented line makes of the lock, for one Python, as pip reads it."""
    (line,) = re.findall(r"^(grep .*) > versions\.txt\b", OPERATING, re.MULTILINE)
    shell = f"set -e; cd {shlex.quote(str(ROOT))}; {line} > {shlex.quote(str(folder / 'versions.txt'))}"
    subprocess.run(["/bin/sh", "-c", shell], check=True)
    told = [Requirement(one) for one in (folder / "versions.txt").read_text(encoding="utf-8").splitlines()]
    here = [one for one in told if one.marker is None or one.marker.evaluate(environment)]
    assert len({canonicalize_name(one.name) for one in here}) == len(here), "pip takes no two versions of one"
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in here}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_documented_constraints_name_one_version_of_all_that_an_installation_asks_for(
    python: str, tmp_path: Path
) -> None:
    """The markers were dropped, so two versions of two packages stood there and no extra with them could be had."""
    extras = ("", "dp", "onvif", "rtsp", "sim")  # the documents install that of the TPM by a lock of its own
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    pinned = pins(tmp_path, environment)
    for one in map(Requirement, importlib.metadata.requires("camera-privacy-agent") or ()):
        if one.marker is None or any(one.marker.evaluate({**environment, "extra": extra}) for extra in extras):
            assert one.specifier.contains(pinned[canonicalize_name(one.name)]), one


def test_nothing_of_this_project_is_installed_without_the_constraints() -> None:
    told = [line for line in OPERATING.splitlines() if re.search(r"pip install (-c \S+ )?'?\.[\[\s`]", line)]
    assert told
    assert not [line for line in told if re.search(r"pip install '?\.", line)]
