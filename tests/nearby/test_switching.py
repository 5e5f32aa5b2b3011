"""A person switches a camera off and on again at the device, by whichever way it is met.

Agent, bluetoothd's double and camera are processes of their own; where it is said, the camera has no network at all.
"""

from pathlib import Path

import pytest

from tests.approving import approve_policy
from tests.enrolment.neighbourhood import Agent, camera, device
from tests.nearby.beside import beside
from tests.netns import Network, on_network
from tests.waiting import until


def approve(agent: Agent) -> None:
    """Let the owner approve the policy that waits."""
    home = agent.folder / "home"

    def asked(*words: str | Path) -> str:
        return agent.shell("privacy-agent", *words, "--config", agent.config).stdout

    def owner(*words: str | Path) -> str:
        return agent.shell("privacy-owner", "--home", home, *words).stdout

    approve_policy(asked, owner, agent.folder)


@pytest.mark.promise("FIND-BLE")
@on_network(hosts=2)
def test_camera_without_a_network_is_switched_over_bluetooth_and_stays_as_a_person_said(net: Network) -> None:
    with beside(net) as here, here.near() as there:
        with here.agent.running():
            assert here.met()["privacy_state"]["collection"] is True, "as it was switched over its link"
            told = here.collection("off")
            there.heard("not-collecting")
            assert (told["wanted"], told["by"], told["at_camera"], told["told"]) == ("off", "hand", "off", "bluetooth")
            assert here.met()["privacy_state"]["collection"] is False
        with here.agent.running():
            assert here.met()["privacy_state"]["collection"] is False, "the policy would have it record"
            assert here.listed()["collection"] == {"wanted": "off", "by": "hand", "at_camera": "off"}
            assert "off by hand" in here.agent.shell("privacy-agent", "status", "--config", here.agent.config).stdout
            examined = {one["what"]: one["told"] for one in here.agent.asked("doctor")["findings"]}
            assert examined[f"camera {here.camera}"] == "proved; switched off by hand; answers over Bluetooth"
            assert here.collection("on")["told"] == "bluetooth"
            there.heard("collecting")
            assert here.listed()["collection"] == {"wanted": "on", "by": "policy", "at_camera": "on"}
        assert here.events("collection_switched") == [(word, {"camera": here.camera}) for word in ("off", "on")]
        over_radio = {"camera": here.camera, "way": "bluetooth"}
        confirmed = here.events("collection_confirmed")
        assert confirmed[-2:] == [("off", over_radio), ("on", over_radio)]


@on_network(hosts=2)
def test_camera_that_is_away_is_told_when_it_is_met_next(net: Network) -> None:
    with beside(net) as here, here.agent.running():
        told = here.collection("off")
        assert (told["told"], told["at_camera"]) == ("", "unknown")
        listed = here.agent.shell("privacy-agent", "cameras", "--config", here.agent.config).stdout
        assert "off by hand, unconfirmed" in listed
        with here.near() as there:
            there.heard("not-collecting")
            until(lambda: here.listed()["collection"]["at_camera"] == "off", what="known to be off")


@on_network(hosts=2)
def test_off_is_noted_without_an_agent_and_a_policy_without_a_rule_reaches_the_camera_and_refuses_on(
    net: Network,
) -> None:
    with beside(net) as here:
        assert here.collection("off")["told"] == ""
        assert here.collection("on")["told"] == ""
        policy = here.agent.folder / "policy.toml"
        policy.write_text(policy.read_text(encoding="utf-8").split("[category")[0], encoding="utf-8")
        with here.near() as there, here.agent.running():
            approve(here.agent)
            there.heard("not-collecting")
            error = here.collection("on", expect=1)["error"]
            assert (error["reason"], "policy.toml" in error["hint"]) == ("no_rule", True)
            assert here.met()["privacy_state"]["collection"] is False
            assert here.listed()["collection"]["by"] == "policy"


@on_network(hosts=2)
def test_camera_with_a_link_is_switched_over_that(net: Network) -> None:
    own, far = net.hosts
    with (
        device(own) as agent,
        agent.running(),
        camera(far, agent.folder / "cameras", "--setup", "--rate", "0.001") as there,
    ):

        def switched() -> list[tuple[str, str]]:
            return [(one["kind"], one["rule"]) for one in agent.audit() if one["kind"].startswith("collection_")]

        made = agent.asked("enrol", there.label, f"10.77.0.2:{there.port}", "--name", "Garden")
        there.said("collecting")
        until(lambda: switched() == [("collection_confirmed", "on")], what="the camera's first word")
        assert agent.asked("collection", "Garden", "off")["told"] == "link"
        there.said("not-collecting")
        (listed,) = agent.asked("cameras")["cameras"]
        assert listed["how"]["state"] == "switched_off"
        findings = {one["what"]: one["told"] for one in agent.asked("doctor")["findings"]}
        assert findings[f"camera {made['camera']}"] == "proved; switched off by hand"
        assert "switched off; says:" in agent.shell("privacy-agent", "cameras", "--config", agent.config).stdout
        until(lambda: switched()[-1] == ("collection_confirmed", "off"), what="the camera's word that it is off")
        assert agent.asked("collection", made["camera"], "on")["told"] == "link"
        there.said("collecting")
        until(lambda: switched()[-1] == ("collection_confirmed", "on"), what="the camera's word that it is on")
        assert switched()[1:] == [
            ("collection_switched", "off"),
            ("collection_confirmed", "off"),
            ("collection_switched", "on"),
            ("collection_confirmed", "on"),
        ]


@on_network(hosts=1)
def test_camera_that_cannot_be_switched_is_told(net: Network) -> None:
    (own,) = net.hosts
    with device(own) as agent:
        made = agent.asked("enrol", "--configured", "rtsp://192.0.2.8/stream")
        whys = {made["camera"]: "no camera link", "nobody": "no camera of that id or name is known here"}
        for name, why in whys.items():
            error = agent.asked("collection", name, "off", expect=2)["error"]
            assert why in error["message"]
        agent.asked("collection", made["camera"], "perhaps", expect=2)
