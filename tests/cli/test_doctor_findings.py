"""``privacy-agent doctor``: what it says of policies, folders, certificates and brokers, and what to do then."""

import contextlib
import datetime as dt
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import control
from certs.__main__ import main as certs_main
from certs.__main__ import system_clock
from device_sim.broker import Broker as BrokerProcess
from tests.cli.conftest import Device
from tests.waiting import until

LOG_RULE = """
[category.usage-log]
purpose = "security"
seal_to = ["owner"]
[category.usage-log.fields]
event = "keep"
"""


def findings(device: Device, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = device.agent("doctor", "--json", *words).json["findings"]
    return found


def finding(device: Device, what: str, *words: str) -> dict[str, Any]:
    """Return the first finding about something."""
    return next(one for one in findings(device, *words) if one["what"] == what)


def edit(path: Path, pattern: str, text: str) -> None:
    before = path.read_text()
    after = re.sub(pattern, text, before, flags=re.MULTILINE | re.DOTALL)
    assert after != before
    path.write_text(after)


def test_next_steps_stand_below_the_table_numbered_and_the_exit_code_is_that_of_the_worst(device: Device) -> None:
    edit(device.folder / "policy.toml", r'disk_free = "[^"]*"', 'disk_free = "1B"')  # whatever this machine has
    looked = device.agent("doctor")
    assert looked.code == 0
    assert re.search(r"^agent +look +does not run$", looked.out, re.MULTILINE)
    assert f"\n\nnext steps\n  1. agent: start it: privacy-agent run --config {device.config}\n  2. " in looked.out
    device.spool.rmdir()
    ran = device.agent("doctor")
    assert ran.code == 1
    assert re.search(rf"^source spool +bad +{device.spool}: no such folder$", ran.out, re.MULTILINE)
    assert f". source spool: mkdir -p {device.spool}; or correct path in agent.toml\n" in ran.out
    assert device.agent("doctor", "--json").json["healthy"] is False


def test_state_folder_that_is_not_there_is_told_with_the_line_that_names_it(device: Device) -> None:
    edit(device.config, r'^state = "[^"]*"', 'state = "elsewhere"')
    told = finding(device, "state folder")
    assert told["verdict"] == "bad"
    assert "elsewhere is not there: this device was not set up" in told["told"]
    assert f"correct state in {device.config}" in told["next"]


def test_steps_where_the_state_folder_is_not_there_begin_with_its_line_and_say_init_once(device: Device) -> None:
    edit(device.config, r'^state = "[^"]*"', 'state = "elsewhere"')
    found = findings(device)
    assert {one["what"] for one in found if one["verdict"] == "bad"} == {"keys", "state folder", "vault", "audit log"}
    steps = [one["next"] for one in found if one["next"]]
    assert steps[0].startswith(f"correct state in {device.config}, or: privacy-agent init ")
    assert steps[0].endswith(f" --config {device.config}")
    assert sum("privacy-agent init" in step for step in steps) == 1


def test_socket_in_a_folder_where_others_could_answer_is_told_before_the_agent_starts(device: Device) -> None:
    place = device.folder / "run"
    place.mkdir()
    edit(device.config, r"\A", f'socket = "{place}/control.sock"\n')
    assert finding(device, "socket")["verdict"] == "good"
    place.chmod(0o777)
    told = finding(device, "socket")
    assert (told["verdict"], told["told"]) == ("bad", f"{place}: another user could answer in the agent's place")
    assert f"chmod 750 {place}" in told["next"]


def test_folder_of_the_socket_that_the_start_will_make_is_told_from_one_that_it_cannot(device: Device) -> None:
    place = device.folder / "run" / "privacy-agent"
    edit(device.config, r"\A", f'socket = "{place}/control.sock"\n')
    assert finding(device, "socket")["verdict"] == "bad"
    place.parent.mkdir()
    assert finding(device, "socket")["verdict"] == "good"


def test_agent_of_another_device_at_the_socket_is_told(device: Device) -> None:
    with device.running():
        assert finding(device, "socket")["verdict"] == "good"
        edit(device.config, r'^device = "[^"]*"', 'device = "another"')
        told = finding(device, "socket")
    assert told["verdict"] == "bad"
    assert "answers there" in told["told"]


def test_policy_that_lets_nothing_in_is_told(device: Device) -> None:
    edit(device.folder / "policy.toml", r"^\[category\..*", "")
    assert finding(device, "policy") == {
        "what": "policy",
        "verdict": "look",
        "told": "no category has a rule: nothing is taken in",
        "next": "add [category.recording]",
    }


def test_category_that_is_kept_for_ever_is_told(device: Device) -> None:
    edit(device.folder / "policy.toml", r"^keep = \{[^}]*\}\non_full", "on_full")
    told = [one for one in findings(device) if one["what"] == "policy"]
    assert [one["verdict"] for one in told] == ["good", "look"]
    assert told[1]["told"] == "category.recording has no limit: it is kept for ever"
    assert told[1]["next"] == "add keep.age to [category.recording]"


def test_disk_with_less_room_than_a_limit_wants_is_told_before_recordings_go_for_it(device: Device) -> None:
    policy = device.folder / "policy.toml"
    edit(policy, r'disk_free = "[^"]*"', 'disk_free = "1000TB"')
    told = [one for one in findings(device) if one["what"] == "disk" and "keep.disk_free" in one["told"]]
    assert [one["verdict"] for one in told] == ["look", "look"]
    assert "category.recording.keep.disk_free wants 1000.0 TB: what is taken in goes again at once" in told[0]["told"]
    assert told[0]["next"] == "add room, or lower disk_free in [category.recording]"
    edit(policy, r'disk_free = "[^"]*"', 'disk_free = "1B"')
    assert not [one for one in findings(device) if "keep.disk_free" in one["told"]]


def test_category_that_nobody_could_read_and_one_that_waits_for_consent_are_told(device: Device) -> None:
    policy = device.folder / "policy.toml"
    edit(policy, r"\Z", '[purpose.analytics]\ndescription = "To improve it."\n')
    edit(policy, r"\Z", '[category.usage-log]\npurpose = "analytics"\nseal_to = ["owner"]\nkeep.age = "1d"\n')
    told = {one["told"]: one for one in findings(device) if one["what"] == "policy"}
    assert told["category.usage-log is taken in only with consent to: analytics"]["verdict"] == "good"
    edit(policy, r"^owner = \[.*?\]", "owner = []")
    nobody = "nobody could read category.recording: nothing of it is taken in"
    found = next(one for one in findings(device) if one["told"] == nobody)
    assert found["verdict"] == "look"
    assert "[recipients]" in found["next"]


@pytest.mark.parametrize("runs", [False, True])
def test_rule_for_a_camera_that_is_not_known_here_is_told_by_doctor_and_policy_check(
    device: Device, *, runs: bool
) -> None:
    """A mistyped id is obeyed for nothing, and nobody said so."""
    (known,) = {
        one["camera"] for one in device.ok("inventory", "--json", *device.take_in("front/a.mp4")).json["objects"]
    }
    policy = device.folder / "policy.toml"
    rules = "".join(f'[camera.{camera}.recording]\nkeep.age = "3d"\n' for camera in (known, "nosuch42"))
    edit(policy, r"\Z", "\n" + rules)
    with device.running() if runs else contextlib.nullcontext():
        told = [one for one in findings(device) if one["told"].startswith("[camera.")]
        checked = device.ok("policy", "check")
        asked = device.ok("policy", "check", "--json").json
    assert told == [
        {
            "what": "policy",
            "verdict": "look",
            "told": "[camera.nosuch42.…]: no camera of that id is known here",
            "next": "privacy-agent cameras and privacy-agent inventory list them",
        }
    ]
    assert "look: [camera.nosuch42.…]: no camera of that id is known here; privacy-agent cameras" in checked.out
    assert asked["unknown_cameras"] == ["nosuch42"]


def test_policy_that_is_checked_without_a_device_says_nothing_of_its_cameras(device: Device, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text((device.folder / "policy.toml").read_text())
    edit(policy, r"\Z", '\n[camera.nosuch42.recording]\nkeep.age = "3d"\n')
    ran = device.shell("privacy-agent", "policy", "check", policy)
    assert ran.code == 0
    assert "nosuch42" not in ran.out


def test_upload_to_a_region_that_nobody_named_is_told(device: Device, tls: Path) -> None:
    with device.config.open("a") as config:
        config.write(f'[broker]\nurl = "mqtts://localhost:1"\ntenant = "acme"\nidentity = "{tls / "cam-01"}"\n')
    anywhere = "a store in any region may keep what is uploaded"
    policy = device.folder / "policy.toml"
    assert anywhere not in {one["told"] for one in findings(device, "--offline")}, "nothing is uploaded"
    edit(policy, r'^upload = "never"', 'upload = "allowed"')
    found = next(one for one in findings(device, "--offline") if one["told"] == anywhere)
    assert "regions = " in found["next"]
    edit(policy, r"\Z", '[upload]\nregions = ["eu"]\n')
    assert anywhere not in {one["told"] for one in findings(device, "--offline")}


def test_device_without_a_source_is_told_where_one_is_written(device: Device) -> None:
    edit(device.config, r"^\[\[source\]\].*", "")
    assert finding(device, "sources")["next"] == f"add [[source]] to {device.config}"


@pytest.mark.parametrize("line", ['timezone = "Mars/X"', 'patterns = ["{foo}"]', 'patterns = ["{camera"]'])
def test_what_a_source_cannot_be_read_by_is_told_by_doctor_as_by_run(device: Device, line: str) -> None:
    """Doctor called it good, and run refused it without a file and a line."""
    edit(device.config, r"\[\[source\]\]", f"[[source]]\n{line}")
    number = device.config.read_text().split("\n").index(line) + 1
    for command in ("doctor", "run"):
        ran = device.agent(command)
        assert ran.code == 2
        assert ran.err.startswith(f"privacy-agent: {device.config}:{number}: source[0].{line.partition(' ')[0]}: ")
        assert "\n  next: write " in ran.err


def test_what_a_source_offered_in_vain_is_told_with_what_to_look_for(device: Device) -> None:
    (device.spool / "link.mp4").symlink_to("elsewhere")
    edit(device.folder / "policy.toml", r"^\[category\.photo\].*", "")
    device.put("photo.jpg")

    def told_of_both() -> dict[str, Any] | None:
        found = finding(device, "source spool")
        return found if "symbolic link" in found["told"] and found["told"].count("(") > 1 else None

    with device.running():
        told = until(told_of_both, what="both told")
    assert told["verdict"] == "look"
    assert f"look for what does not belong in {device.spool}" in told["next"]
    assert f"let the category in by {device.folder / 'policy.toml'}" in told["next"]


def test_what_field_rules_leave_out_is_told_with_where_they_stand(device: Device) -> None:
    """It sent people to look for links and pipes in the folder."""
    edit(device.config, r"\[\[source\]\]", '[[source]]\nbatch_age = "1s"')
    edit(device.folder / "policy.toml", r"\Z", LOG_RULE)
    device.put("front/log.jsonl", b'{"event": "motion", "who": "x"}\n')

    def left_out() -> dict[str, Any] | None:
        found = finding(device, "source spool")
        return found if "fields that no rule names" in found["told"] else None

    with device.running():
        told = until(left_out, what="the field told")
    assert told["next"] == (
        f"name the fields that are to be kept in {device.folder / 'policy.toml'} ([category.usage-log.fields])"
    )


@pytest.mark.parametrize("word", ["", "object"])
def test_what_waits_for_consent_is_told_with_how_it_is_given_and_not_with_the_policy(device: Device, word: str) -> None:
    """The policy lets it in: changing that was no next step."""
    policy = device.folder / "policy.toml"
    edit(policy, r"\Z", '\n[purpose.analytics]\ndescription = "To improve it."\n')
    edit(policy, r"\Z", '[category.usage-log]\npurpose = "analytics"\nseal_to = ["owner"]\nkeep.age = "1d"\n')
    edit(device.config, r"\[\[source\]\]", '[[source]]\nbatch_age = "1s"')
    if word:
        assert device.owner(word, "analytics", "--out", device.folder / "word.jws").code == 0
        device.ok("submit", device.folder / "word.jws")
    device.put("front/log.jsonl", b'{"event": "motion"}\n')

    def told_of_it() -> dict[str, Any] | None:
        found = finding(device, "source spool")
        return found if ("objected" if word else "no consent") in found["told"] else None

    with device.running():
        told = until(told_of_it, what="what waits told")
    assert told["next"] == (
        "its owner may say yes: privacy-owner consent give PURPOSE --category NAME "
        f"(their names: privacy-agent consents --config {device.config}); what was recorded before a yes stays where "
        "it is, also then (docs/consent.md)"
    )


@pytest.fixture(scope="module")
def mosquitto(tls: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("broker"), tls, engine="mosquitto") as process:
        yield process


def connect(device: Device, url: str, identity: Path) -> None:
    with device.config.open("a") as config:
        config.write(f'\n[broker]\nurl = "{url}"\ntenant = "acme"\nidentity = "{identity}"\n')


@pytest.mark.parametrize(
    ("age_days", "verdict", "told"),
    [
        (10, "good", r"cam-01, 7(?:19|20) days left"),
        (715, "look", r"expires in 1[45] days"),
        (740, "bad", r"has expired"),
    ],
)
def test_certificate_is_told_of_before_it_ends(
    device: Device, tmp_path: Path, age_days: int, verdict: str, told: str
) -> None:
    made = system_clock() - dt.timedelta(days=age_days)
    assert certs_main(["init", str(tmp_path / "tls"), "--device", "cam-01", "--json"], clock=lambda: made) == 0
    connect(device, "mqtts://127.0.0.1:1", tmp_path / "tls" / "cam-01")
    found = finding(device, "TLS identity", "--offline")
    assert found["verdict"] == verdict
    assert re.search(told, found["told"])
    assert found["next"] == ("" if verdict == "good" else "python -m certs renew DIR NAME")
    assert not [one for one in findings(device, "--offline") if one["what"] == "broker"]


def test_broker_that_answers_is_good_with_the_version_that_is_spoken(
    device: Device, tls: Path, mosquitto: BrokerProcess
) -> None:
    connect(device, mosquitto.url, tls / "cam-01")
    found = finding(device, "broker")
    assert (found["verdict"], found["next"]) == ("good", "")
    assert found["told"] == f"{mosquitto.url}, MQTT 5"


def test_broker_that_is_away_is_bad_and_said_where(device: Device, tls: Path) -> None:
    connect(device, "mqtts://127.0.0.1:1", tls / "cam-01")
    found = finding(device, "broker")
    assert found["verdict"] == "bad"
    assert "127.0.0.1:1" in found["told"]
    assert found["next"]


def test_recorders_folder_on_a_disk_is_good_and_needs_no_tmpfs_over_it(device: Device) -> None:
    (device.folder / "nvr").mkdir()
    with device.config.open("a") as config:
        config.write(f'\n[[source]]\nkind = "frigate"\npath = "{device.folder / "nvr"}"\nmedium = "disk"\n')
    assert finding(device, "source nvr") == {
        "what": "source nvr",
        "verdict": "good",
        "told": "frigate, disk; its own files stay there, in clear",
        "next": "",
    }


def test_status_says_that_the_commands_in_its_steps_want_the_same_config(device: Device) -> None:
    said = "\n\nEach of privacy-agent's commands above wants the same --config.\n"
    assert said not in device.ok("status").out
    device.raise_alert("policy_waiting")
    told = device.ok("status").out
    assert "privacy-agent policy show --waiting" in told
    assert told.endswith(said)


def test_camera_that_wants_a_passkey_is_told_with_the_command_of_this_config(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    bluetooth = {"wants": "passkey"}
    one = {"camera": "garden00", "source": "", "level": "proved", "how": {"state": "answers"}, "bluetooth": bluetooth}
    answers = {
        "status": device.ok("status", "--json").json | {"cameras": [one]},
        "audit": {"sentence": "it is consistent"},
    }

    async def ask(_socket: Path, verb: str, _args: object, **_how: object) -> Any:  # noqa: ANN401 - JSON
        return answers[verb]

    monkeypatch.setattr(control, "ask", ask)
    told = finding(device, "camera garden00")
    assert told["next"] == f"privacy-agent passkey garden00 --config {device.config}"


def test_status_says_whether_the_agent_runs(device: Device, tls: Path) -> None:
    connect(device, "mqtts://127.0.0.1:1", tls / "cam-01")
    away = device.ok("status")
    start = "start it: privacy-agent run with the same --config"
    assert re.search(rf"^agent +does not run; {start}$", away.out, re.MULTILINE)
    assert re.search(r"^broker +not connected: the agent does not run$", away.out, re.MULTILINE)
    assert device.ok("status", "--json").json["running"] is False
    with device.running():
        here = device.ok("status")
        assert device.ok("status", "--json").json["running"] is True
    assert re.search(r"^agent +runs$", here.out, re.MULTILINE)
    assert not re.search(r"^broker +not connected", here.out, re.MULTILINE)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait shortly for an agent that will never answer."""
    monkeypatch.setattr("agent.control.FIRST_ANSWER_S", 0.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("words", [("status",), ("cameras",), ("discover", "--json")])
def test_agent_whose_process_is_stopped_keeps_no_question_waiting_for_ever(
    device: Device, words: tuple[str, ...]
) -> None:
    with device.stopped():
        ran = device.agent(*words)
    assert ran.code == 1
    assert f"the agent at {device.state / 'control.sock'} does not answer" in ran.err
    assert "journalctl -u privacy-agent, or restart it" in ran.err


@pytest.mark.usefixtures("impatient")
def test_agent_whose_process_is_stopped_is_told_once_and_the_rest_is_looked_at(device: Device) -> None:
    with device.stopped():
        found = findings(device)
    told = [one for one in found if one["what"] == "agent"]
    assert [(one["verdict"], one["told"]) for one in told] == [
        ("bad", f"the agent at {device.state / 'control.sock'} does not answer")
    ]
    assert "restart it" in told[0]["next"]
    assert {"policy", "keys", "state folder", "source spool", "discovery"} <= {one["what"] for one in found}


def test_log_names_what_there_is_to_name_and_nothing_that_was_never_away(device: Device) -> None:
    with device.running("-v") as log:
        until(lambda: "ingest source_opened source=spool\n" in log.read_text(), what="the source is open")
    assert not re.search(r"=( |$)|source_back", log.read_text(), re.MULTILINE)


def test_broker_of_a_running_agent_is_what_that_agent_says(device: Device, tls: Path, mosquitto: BrokerProcess) -> None:
    connect(device, mosquitto.url, tls / "cam-01")
    with device.running():
        until(lambda: device.ok("status", "--json").json["broker"]["online"], what="online")
        found = finding(device, "broker")
    assert (found["verdict"], found["told"]) == ("good", f"{mosquitto.url}, the running agent is online")


def test_broker_whose_rules_swallow_our_topic_is_bad_with_the_section_to_read(
    device: Device, tls: Path, tmp_path: Path
) -> None:
    with BrokerProcess(tmp_path / "broker", tls, engine="mosquitto") as process:
        rules = process.folder / "acl"
        rules.write_text(rules.read_text().replace("pattern read pv1/+/%u/probe", ""))
        process.reload()
        connect(device, process.url, tls / "cam-01")
        found = finding(device, "broker")
    assert found["verdict"] == "bad"
    assert "pv1/acme/cam-01/probe does not come back" in found["told"]
    assert "docs/protocol.md" in found["next"]


NAME = "door/recording/2026-11-22T10-15-00.000Z_10s.mp4"


def record(folder: Path) -> None:
    (folder / NAME).parent.mkdir(parents=True)
    (folder / NAME).write_bytes(os.urandom(1000))


def test_folder_that_moved_and_lost_its_name_is_told_with_the_line_that_gives_it_back(device: Device) -> None:
    record(device.spool)
    with device.running():
        until(lambda: not (device.spool / NAME).exists(), what="taken in")
    device.spool.rename(device.folder / "nvr")
    edit(device.config, rf'path = "{device.spool}"', f'path = "{device.folder / "nvr"}"')
    with device.running():
        until(lambda: [one for one in findings(device) if "not taken from" in one["told"]], what="refused")
        told = [one for one in findings(device) if "not taken from" in one["told"]]
    assert told[0]["what"] == "source nvr"
    assert 'write name = "spool" in its [[source]]' in told[0]["told"]


@pytest.mark.parametrize("runs", [False, True])
def test_source_that_may_be_a_known_one_elsewhere_is_told(device: Device, *, runs: bool) -> None:
    record(device.spool)
    with device.running():
        until(lambda: not (device.spool / NAME).exists(), what="taken in")
    record(device.folder / "copy")
    assert not [one for one in findings(device) if "no source has that name" in one["told"]]
    edit(device.config, rf'path = "{device.spool}"', f'path = "{device.folder / "copy"}"')
    with device.running() if runs else contextlib.nullcontext():
        if runs:
            until(lambda: not (device.folder / "copy" / NAME).exists(), what="taken in as another camera's")
        told = finding(device, "sources")
    assert told["told"] == "cameras of 'spool' are known, and no source has that name any more"
    assert told["next"] == 'if it is there still, at another place: name = "spool" in its [[source]]'
