"""ERASE: a whole agent and a simulated camera, each on a host of its own.

Only the network is between them: the camera is heard, enrolled by its label, paired, switched on and collected from.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.enrolment.neighbourhood import Agent, camera, device
from tests.netns import Network, on_network
from tests.waiting import until

pytestmark = pytest.mark.promise("COLLECT-REC")

WITHIN_S = 60.0


def held(agent: Agent) -> list[dict[str, Any]]:
    return agent.held()


def allow_logs(agent: Agent) -> None:
    """Let the policy have a table for usage logs too."""
    policy = agent.folder / "policy.toml"
    purpose = '\n[purpose.support]\ndescription = "To find out why it fails."\nbasis = "contract"\n'
    table = purpose + '[category.usage-log]\npurpose = "support"\nseal_to = ["owner"]\n'
    policy.write_text(policy.read_text(encoding="utf-8") + table, encoding="utf-8")


def owner(agent: Agent, *words: str | Path) -> None:
    agent.shell("privacy-owner", "--home", agent.folder / "home", *words)


def delete_all(agent: Agent) -> str:
    """Sign a delete of all that is held, hand it in, and return how the device answers at once."""
    folder = agent.folder
    if not (folder / "delete.cmd").exists():
        shown = agent.asked("status")["fingerprint"]
        owner(agent, "device", "add", folder / "state" / "device.jws", "--accept", shown)
        owner(agent, "delete", "--all", "--yes", "--out", folder / "delete.cmd")
    told = agent.asked("submit", folder / "delete.cmd", "-o", folder / "delete.receipt")
    return str(told["status"])


def receipt(agent: Agent) -> dict[str, Any]:
    """The receipt as its owner reads it."""
    done = agent.shell(
        "privacy-owner", "--home", agent.folder / "home", "receipt", agent.folder / "delete.receipt", "--json"
    )
    (told,) = json.loads(done.stdout)
    return dict(told)


def cards(agent: Agent) -> list[dict[str, Any]]:
    """What is on the camera's card, as its own files say."""
    found = (agent.folder / "cameras").glob("*/card/*.json")
    return [json.loads(path.read_bytes()) for path in found]


@pytest.mark.promise("COLLECT-LOGS")
@on_network(hosts=2)
def test_camera_is_found_paired_switched_on_collected_from_and_emptied_by_a_delete(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with device(agent_host, listens=True) as agent:
        allow_logs(agent)
        with (
            agent.running(),
            camera(
                camera_host, agent.folder / "cameras", "--mdns", "--setup", "--seconds", "1", "--photos", "--logs",
                "--count", "1",
            ) as there,
        ):  # fmt: skip
            made = agent.asked("enrol", there.label)
            until(lambda: len(held(agent)) >= 3, what="three objects", within_s=WITHIN_S)
            assert {one["category"] for one in held(agent)} == {"recording", "photo", "usage-log"}
            assert {one["camera"] for one in held(agent)} == {made["camera"]}
            until(lambda: all(one["acknowledged"] for one in cards(agent)), what="acknowledged", within_s=WITHIN_S)
            taken = {one["id"] for one in held(agent)}
            until(lambda: delete_all(agent) == "done", what="the delete done", within_s=WITHIN_S)
            assert cards(agent) == []
            outcomes = receipt(agent)["outcomes"]
            assert {one["id"] for one in outcomes} == taken
            assert all("camera_confirmed" in one["remarks"] for one in outcomes)
            assert held(agent) == []


@pytest.mark.promise("FIND-AUTH")
@on_network(hosts=2)
def test_camera_at_a_configured_address_is_collected_from_and_whoever_takes_its_place_is_told(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with device(agent_host) as agent:
        cameras = agent.folder / "cameras"
        with agent.running():
            with camera(camera_host, cameras, "--setup", "--seconds", "1", "--count", "1") as there:
                agent.asked("enrol", there.label, f"10.77.0.2:{there.port}")
                until(lambda: len(held(agent)) == 1, what="its recording", within_s=WITHIN_S)
            with camera(camera_host, cameras, "--break", "identity-changed", port=there.port):
                until(lambda: alerts(agent) == ["camera_impostor"], what="the alert", within_s=WITHIN_S)
            with camera(camera_host, cameras, port=there.port):
                until(lambda: alerts(agent) == [], what="the end of the alert", within_s=WITHIN_S)
        kinds = [entry["kind"] for entry in agent.audit()]
        assert kinds.count("camera_refused") == 1
        assert kinds.count("camera_paired") == 1


@on_network(hosts=2)
def test_forgotten_camera_records_no_more_and_nothing_of_it_is_taken(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with device(agent_host, listens=True) as agent:
        with (
            agent.running(),
            camera(camera_host, agent.folder / "cameras", "--mdns", "--setup", "--seconds", "1") as there,
        ):
            made = agent.asked("enrol", there.label)
            until(lambda: len(held(agent)) >= 1, what="its recording", within_s=WITHIN_S)
            assert agent.asked("forget-camera", made["camera"])["at_camera"] == "unpaired"
            assert settings(agent)["agent"] == ""
            assert settings(agent)["collecting"] is False
            there_were = len(cards(agent))
        assert len(cards(agent)) == there_were
        (forgotten,) = [entry for entry in agent.audit() if entry["kind"] == "camera_forgotten"]
        assert forgotten["detail"] == {"camera": made["camera"], "at_camera": "unpaired"}


def settings(agent: Agent) -> dict[str, Any]:
    """What the camera keeps of itself."""
    (path,) = (agent.folder / "cameras").glob("*/device.json")
    return dict(json.loads(path.read_bytes()))


def alerts(agent: Agent) -> list[str]:
    return [one["code"] for one in agent.status()["alerts"]]
