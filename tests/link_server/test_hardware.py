"""``device-sim camera --state``: cameras and hubs as a process, ordered about, met by ``ssl``."""

import json
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest

from device_sim.camera.breakage import BREAKAGES, MEANING
from device_sim.camera.order import OrderError, read
from device_sim.camera.scenario import ScenarioError, read_scenario
from tests.link_server.running import Running, running, tell
from tests.link_server.stand import Caller, Said, sha256
from tests.waiting import until

QUICK = ["--rate", "0", "--count", "1", "--seconds", "0.4", "--size", "160x90"]
LASTING = ["--rate", "6", "--seconds", "3600", "--size", "160x90"]


def pair(port: int, caller: Caller, *, collect: bool = True) -> None:
    assert caller.ask(port, "PUT", "/v1/agent", {"kid": caller.kid}).status == 201
    if collect:
        assert caller.ask(port, "PUT", "/v1/collection", {"enabled": True}).status == 200


def listed(port: int, caller: Caller) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = caller.ask(port, "GET", "/v1/recordings").json["recordings"]
    return found


def content(port: int, caller: Caller, name: str) -> Said:
    return caller.ask(port, "GET", f"/v1/recordings/{name}/content")


@pytest.fixture
def caller(tmp_path: Path) -> Caller:
    return Caller(tmp_path / "agent")


def test_camera_records_once_it_is_paired_and_told_to_and_gives_it_away(tmp_path: Path, caller: Caller) -> None:
    with running(tmp_path / "state", "--link", "--setup", "--photos", "--logs", *QUICK) as sim:
        ready = sim.heard("ready")
        assert ready["setup_open"]
        pair(ready["port"], caller, collect=False)
        assert listed(ready["port"], caller) == []
        caller.ask(ready["port"], "PUT", "/v1/collection", {"enabled": True})
        kinds = [sim.heard("recorded")["category"] for _ in range(3)]
        assert kinds == ["recording", "photo", "usage-log"]
        clip, photo, log = listed(ready["port"], caller)
        got = {one["id"]: content(ready["port"], caller, one["id"]).body for one in (clip, photo, log)}
        assert {name: sha256(body) for name, body in got.items()} == {
            one["id"]: one["sha256"] for one in (clip, photo, log)
        }
        (tmp_path / "clip.mp4").write_bytes(got[clip["id"]])
        with av.open(tmp_path / "clip.mp4") as played:
            assert sum(1 for _ in played.decode(video=0)) == 10
        assert b"Front door" in got[log["id"]]
        assert sim.end() == 0, "a signal ends it in good order"


def test_switched_off_it_has_ended_when_the_answer_comes(tmp_path: Path, caller: Caller) -> None:
    with running(tmp_path / "state", "--link", "--setup", *LASTING) as sim:
        port = sim.heard("ready")["port"]
        pair(port, caller)
        until(lambda: listed(port, caller), what="it records")
        assert caller.ask(port, "GET", "/v1/camera").json["state"] == {
            "recording": True, "microphone": True, "stream": False, "indicator": True, "consent": True
        }  # fmt: skip
        assert caller.ask(port, "PUT", "/v1/collection", {"enabled": False}).status == 200
        assert [one["complete"] for one in listed(port, caller)] == [True]
        told = caller.ask(port, "GET", "/v1/camera").json["state"]
        assert (told["recording"], told["microphone"], told["indicator"]) == (False, False, False)


def test_consent_withdrawn_at_the_camera_ends_the_recording(tmp_path: Path, caller: Caller) -> None:
    with running(tmp_path / "state", "--link", "--setup", *LASTING) as sim:
        port = sim.heard("ready")["port"]
        pair(port, caller)
        until(lambda: listed(port, caller), what="it records")
        (shown,) = sim.order("consent 'Front door' off")["cameras"]
        assert not shown["state"]["recording"]
        sim.heard("recorded")
        assert caller.ask(port, "GET", "/v1/camera").json["state"]["consent"] is False


def test_what_is_deleted_while_it_is_recorded_is_not_kept(tmp_path: Path, caller: Caller) -> None:
    with running(tmp_path / "state", "--link", "--setup", *LASTING) as sim:
        port = sim.heard("ready")["port"]
        pair(port, caller)
        (begun,) = until(lambda: listed(port, caller), what="it records")
        assert caller.ask(port, "DELETE", f"/v1/recordings/{begun['id']}").status == 204
        caller.ask(port, "PUT", "/v1/collection", {"enabled": False})
        assert begun["id"] not in [one["id"] for one in listed(port, caller)]


def test_power_cut_loses_what_was_being_recorded_and_keeps_the_rest(tmp_path: Path, caller: Caller) -> None:
    with running(tmp_path / "state", "--link", "--setup", *LASTING) as sim:
        before = sim.heard("ready")
        port = before["port"]
        pair(port, caller)
        (begun,) = until(lambda: listed(port, caller), what="it records")
        sim.order("break 'Front door' power-cut")
        with pytest.raises(OSError):  # noqa: PT011 - refused or cut, as the moment has it
            caller.ask(port, "GET", "/v1/camera")
        sim.order("mend 'Front door' power-cut")
        after = sim.heard("ready")
        assert (after["id"], after["port"], after["setup_open"]) == (before["id"], port, False)
        assert begun["id"] not in [one["id"] for one in listed(port, caller)]
        assert caller.ask(port, "GET", "/v1/collection").json["enabled"] is True


def test_several_cameras_behind_a_hub_have_keys_of_their_own_and_one_power(tmp_path: Path, caller: Caller) -> None:
    options = ["--link", "--setup", "--name", "Hall", "--name", "Yard", "--hub", "Box", *QUICK]
    with running(tmp_path / "state", *options) as sim:
        hall, yard = sim.heard("ready", camera="Hall"), sim.heard("ready", camera="Yard")
        assert len({hall["id"], yard["id"]}) == len({hall["port"], yard["port"]}) == 2
        pair(hall["port"], caller)
        assert caller.ask(yard["port"], "GET", "/v1/camera").code == (403, "not_paired")
        cut = sim.order("break Box power-cut")["cameras"]
        assert [(one["name"], one["powered"]) for one in cut] == [("Hall", False), ("Yard", False)]


def test_next_start_finds_the_same_cameras(tmp_path: Path, caller: Caller) -> None:
    with running(tmp_path / "state", "--link", "--setup", *QUICK) as sim:
        first = sim.heard("ready")
        pair(first["port"], caller)
        name = sim.heard("recorded")["recording"]
    with running(tmp_path / "state", "--link", *QUICK) as sim:
        again = sim.heard("ready")
        assert again["label"] == first["label"]
        assert name in [one["id"] for one in listed(again["port"], caller)]


def test_tell_reaches_it_and_says_what_is_wrong(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert tell(state, "show").returncode == 1
    with running(state, "--link") as sim:
        ready = sim.heard("ready")
        assert stat.S_IMODE((state / "control").stat().st_mode) == 0o600
        assert ready["label"] in tell(state, "show").stdout
        assert "card-full" in tell(state, "break", "Front door", "card-full").stdout
        assert sim.heard("broken")["what"] == "card-full"
        assert tell(state, "break", "Back door", "card-full").returncode == 1
        assert tell(state, "break", "Front door", "leg").returncode == 2
        assert tell(state, "stop").returncode == 0
        assert sim.process.wait(60) == 0
    assert not (state / "control").exists()


def test_second_simulator_at_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--link") as sim:
        sim.heard("ready")
        second = Running(tmp_path / "state", "--link")
        assert second.process.wait(60) == 1
        second.end()
        assert tell(tmp_path / "state", "show").returncode == 0


def test_port_that_is_taken_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        place = ["--state", str(tmp_path / "state"), "--link", "--host", "127.0.0.1", "--port", str(port)]
        ran = subprocess.run(
            [sys.executable, "-m", "device_sim", "camera", *place],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 1
    assert "Address already in use" in ran.stderr
    assert ran.stderr.endswith("next: free what it names, or use --port, --host\n")
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "line",
    ["", "dance", "break", "break Front", "break Front leg", "break 'Front card-full", "show me", "setup",
     "setup Front 0", "setup Front 301", "setup Front x", "collect Front", "collect Front maybe",
     "consent Front on off"],
)  # fmt: skip
def test_line_that_is_no_order_is_refused(line: str) -> None:
    with pytest.raises(OrderError):
        read(line)


def test_every_breakage_is_an_order_and_is_explained() -> None:
    assert [read(f"break Front {one}").argument for one in BREAKAGES] == list(MEANING)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name = 'x'",
        "name = 'x'\ncamera = []",
        "name = 'x'\n[[camera]]\nname = ''",
        "name = 'x'\n[[camera]]\nname = 'A'\nlegs = 4",
        "name = 'x'\n[[camera]]\nname = 'A'\n[[camera]]\nname = 'a'",
        "name = 'x'\n[[camera]]\nname = 'A'\nmimics = 'B'",
        "name = 'x'\n[[camera]]\nname = 'A'\nbroken = ['leg']",
        "name = 'x'\n[[camera]]\nname = 'A'\npace = { rate = 0 }",
        "name = 'x'\n[[camera]]\nname = 'A'\npace = { size = '3x3' }",
        "name = 'x'\n[[camera]]\nname = 'A'\n[[step]]\ndo = 'dance'",
        "name = 'x'\n[[camera]]\nname = 'A'\n[[step]]\ndo = 'break B card-full'",
        "name = 'x'\n[[camera]]\nname = 'A'\n[[step]]\ndo = 'show'\nwhen = 'never'",
        "name = 'x'\n[[camera]]\nname = 'A'\n[[step]]\ndo = 'show'\ncamera = 'B'",
    ],
)
def test_scenario_that_is_none_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    file = tmp_path / "play.toml"
    file.write_text(text)
    with pytest.raises(ScenarioError, match=r"play\.toml"):
        read_scenario(file)


@pytest.mark.parametrize(
    ("row", "place", "following"),
    [
        ("faces = ['link', 'lnk']", "7: camera.faces: Invalid enum value 'lnk'", "one of: link, mdns, onvif"),
        ("legs = 4", "7: camera.legs: ", "docs/simulator.md"),
        ("setup = 'yes'", "7: camera.setup: ", "docs/simulator.md"),
        ("[[step]]\nafter = 1", "7: step: ", "docs/simulator.md"),
    ],
)
def test_mistake_in_a_scenario_is_told_with_its_line_and_what_may_stand_there(
    tmp_path: Path, row: str, place: str, following: str
) -> None:
    file = tmp_path / "play.toml"
    file.write_text(f"name = 'x'\n[[camera]]\nname = 'A'\nfaces = ['link']\n[[camera]]\nname = 'B'\n{row}\n")
    with pytest.raises(ScenarioError) as caught:
        read_scenario(file)
    told, _, hint = str(caught.value).partition("\n")
    assert told.startswith(f"{file}:{place}")
    assert following in hint


def test_missing_choice_of_what_to_be_is_told(tmp_path: Path) -> None:
    both = Running(tmp_path / "state", "--spool", str(tmp_path / "spool"))
    assert both.process.wait(60) == 2
    both.end()


def test_answers_are_json(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--link") as sim:
        sim.heard("ready")
        assert sim.order("dance")["ok"] is False
        assert json.loads(tell(tmp_path / "state", "--json", "show").stdout)["ok"] is True
