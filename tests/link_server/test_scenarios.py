"""The scenarios of docs/simulator.md, played as they stand there against an agent made of ``ssl`` alone."""

import contextlib
import http.client
import re
import ssl
from pathlib import Path

import pytest

from device_sim.camera.breakage import BREAKAGES
from device_sim.camera.kid import kid_of
from tests.link_server.running import running
from tests.link_server.stand import DOCS, Caller, sha256, shown
from tests.link_server.test_hardware import content, listed, pair
from tests.waiting import until

TEXT = (DOCS / "simulator.md").read_text(encoding="utf-8")
SCENARIOS = dict(re.findall(r"^### (.+?)\n.*?^```toml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))


@pytest.fixture
def caller(tmp_path: Path) -> Caller:
    return Caller(tmp_path / "agent")


def written(tmp_path: Path, title: str) -> str:
    file = tmp_path / "scenario.toml"
    file.write_text(SCENARIOS[title])
    return str(file)


def until_the_end(answer: http.client.HTTPResponse) -> bytes:
    """What came before the line was cut."""
    taken = bytearray()
    with contextlib.suppress(http.client.IncompleteRead, ssl.SSLError, ConnectionError):
        while piece := answer.read1(1024):
            taken += piece
    return bytes(taken)


def test_document_has_three_and_names_everything_that_breaks() -> None:
    assert len(SCENARIOS) == 3
    rows = "".join(re.findall(r"^(\| `[a-z-]+`.*?) \|", TEXT, re.MULTILINE))
    assert set(BREAKAGES) <= set(re.findall(r"`([a-z-]+)`", rows))


def test_power_fails_while_a_recording_is_fetched(tmp_path: Path, caller: Caller) -> None:
    with running(
        tmp_path / "state", "--scenario", written(tmp_path, "Power fails while a recording is fetched")
    ) as sim:
        port = sim.heard("ready")["port"]
        pair(port, caller)
        sim.heard("recorded")
        (entry,) = listed(port, caller)
        path = f"/v1/recordings/{entry['id']}/content"
        with caller.connected(port) as line:
            line.request("GET", path)
            taken = until_the_end(line.getresponse())
        assert 0 < len(taken) < entry["size"]
        sim.heard("ready")
        rest = caller.ask(port, "GET", path, Range=f"bytes={len(taken)}-", If_Range=f'"{entry["sha256"]}"')
        assert rest.status == 206
        assert sha256(taken + rest.body) == entry["sha256"]


def test_somebody_else_answers(tmp_path: Path, caller: Caller) -> None:
    with running(tmp_path / "state", "--scenario", written(tmp_path, "Somebody else answers")) as sim:
        ready = {name: sim.heard("ready", camera=name) for name in ("Front door", "Impostor")}
        real, false = ready["Front door"]["port"], ready["Impostor"]["port"]
        pinned = shown(real, caller.context())
        pair(real, caller)
        sim.heard("broken")
        swapped, impostor = shown(real, caller.context()), shown(false, caller.context())
        assert swapped.subject == impostor.subject == pinned.subject, "both name the camera's id"
        assert kid_of(pinned.public_key()) not in {kid_of(one.public_key()) for one in (swapped, impostor)}
        told = {one["name"]: one for one in sim.order("show")["cameras"]}
        assert told["Impostor"]["rotating_id"] == told["Front door"]["rotating_id"]
        sim.heard("mended")
        assert shown(real, caller.context()) == pinned


def test_card_is_out_when_it_shall_be_emptied(tmp_path: Path, caller: Caller) -> None:
    with running(
        tmp_path / "state", "--scenario", written(tmp_path, "The card is out when it shall be emptied")
    ) as sim:
        port = sim.heard("ready")["port"]
        pair(port, caller)
        sim.heard("recorded")
        sim.heard("recorded")
        first, second = listed(port, caller)
        assert sha256(content(port, caller, first["id"]).body) == first["sha256"]
        path = f"/v1/recordings/{first['id']}"
        assert caller.ask(port, "PUT", f"{path}/acknowledged", {"sha256": first["sha256"]}).status == 204
        sim.heard("broken")
        assert caller.ask(port, "DELETE", path).code == (503, "storage_missing")
        until(lambda: caller.ask(port, "DELETE", path).status == 204, what="the card is back")
        assert [one["id"] for one in listed(port, caller)] == [second["id"]]
