"""A whole agent that listens, and liars on hosts of their own: the camera is known and collected from on (I10).

Between agent, camera and liars is only the network; what counts is what the agent tells, kept and wrote down.
"""

import json
from typing import Any

import pytest

from tests.discovery.scene import lie, lying
from tests.enrolment.neighbourhood import Agent, Camera, camera, device
from tests.netns import Host, Network, on_network
from tests.waiting import until

pytestmark = [pytest.mark.promise("FIND-LAN"), pytest.mark.promise("FIND-AUTH")]

WITHIN_S = 60.0
RECORDS = ("--mdns", "--setup", "--rate", "30", "--seconds", "1")
THIEF = "10.77.0.3"


def held(agent: Agent) -> int:
    return len(agent.held())


def collects_on(agent: Agent) -> None:
    """Wait until more is held than now: the camera records on and on."""
    before = held(agent)
    until(lambda: held(agent) > before, what="another recording", within_s=WITHIN_S)


def names(agent: Agent, camera_id: str) -> set[str]:
    """Under which names the enrolled camera is heard."""
    (known,) = (one for one in agent.asked_near() if one.get("camera") == camera_id)
    return {row["unverified_name"] for row in known["heard"]}


def enrolled(agent: Agent, there: Camera) -> dict[str, Any]:
    made: dict[str, Any] = agent.asked("enrol", there.label)
    agent.until_near("the enrolled camera", state="enrolled", reachable=True)
    until(lambda: held(agent) > 0, what="a recording", within_s=WITHIN_S)
    return made


def is_as_it_was(agent: Agent, made: dict[str, Any], there: Camera) -> None:
    """Of what is trusted nothing changed, and the camera itself is used."""
    (known,) = agent.asked("cameras")["cameras"]
    assert (known["camera"], known["level"], known["device"]) == (made["camera"], "proved", there.id)
    assert known["fingerprint"].replace(" ", "").lower() == there.fingerprint
    assert known["address"].endswith(f":{there.port}")
    collects_on(agent)


def refusals(agent: Agent) -> set[tuple[str, str]]:
    return {(one["rule"], one["detail"]["camera"]) for one in agent.audit() if one["kind"] == "camera_refused"}


@on_network(hosts=3)
def test_copied_advert_before_another_genuine_camera_is_refused_and_told(net: Network) -> None:
    """All that the enrolled camera announces, at the address of a camera with a key and an id of its own."""
    agent_host, camera_host, thief_host = net.hosts
    with device(agent_host, listens=True) as agent, agent.running():
        cameras, thieves = agent.folder / "cameras", agent.folder / "thieves"
        with camera(camera_host, cameras, *RECORDS) as there, camera(thief_host, thieves, "--setup") as thief:
            made = enrolled(agent, there)
            agent.until_near("the other camera", state="new", unverified_device=thief.id)
            with lying(thief_host, "copy", "--address", THIEF, "--port", str(thief.port)):
                found = agent.until_near("the impostor", state="impostor")
                assert (found["impostor_of"], found["rule"]) == (made["camera"], "copied_advert")
                alerts = {one["code"] for one in agent.asked("status")["alerts"]}
                assert "camera_impostor" in alerts
                is_as_it_was(agent, made, there)
        assert refusals(agent) == {("copied_advert", made["camera"])}
        card = [path.read_bytes() for path in thieves.rglob("device.json")]
        assert [json.loads(one).get("agent", "") for one in card] == [""], "it was not paired with"


@on_network(hosts=3)
def test_lies_of_a_stranger_take_no_camera_away(net: Network) -> None:
    """Goodbyes for it, its name at another place, addresses that are elsewhere, names that are none, noise, a flood."""
    agent_host, camera_host, liar_host = net.hosts
    with device(agent_host, listens=True) as agent, agent.running():
        with camera(camera_host, agent.folder / "cameras", *RECORDS) as there:
            made = enrolled(agent, there)
            for name in names(agent, made["camera"]):
                tell_lies(liar_host, name)
            is_as_it_was(agent, made, there)
            known = agent.until_near("the camera", state="enrolled", reachable=True)
            assert known["camera"] == made["camera"]
        assert refusals(agent) == set(), "nobody answered there"
        assert "8.8.8.8" not in json.dumps(agent.asked_near())
        assert "\x1b" not in agent.log.read_text(encoding="utf-8")


def tell_lies(host: Host, name: str) -> None:
    lie(host, "goodbye", "--instance", name, "--address", THIEF)
    lie(host, "takeover", "--instance", name, "--address", THIEF, "--port", "666")
    lie(host, "takeover", "--instance", name, "--address", "8.8.8.8", "--host", "away")
    lie(host, "goodbye", "--instance", name, "--address", THIEF)
    lie(host, "control", "--address", THIEF)
    lie(host, "noise", "--count", "200", "--address", THIEF)
    lie(host, "flood", "--count", "600", "--address", THIEF)
