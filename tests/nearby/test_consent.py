"""What an owner says of a purpose reaches the camera itself, by whichever way it is met.

Agent, bluetoothd's double and camera are processes of their own; the owner's words come as signed files.
"""

import json
import re
from pathlib import Path

import pytest

from tests.enrolment.neighbourhood import Agent, camera, device
from tests.nearby.beside import beside
from tests.netns import Network, on_network

POLICY = """
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
[category.recording]
purpose = "analytics"
seal_to = ["owner"]
[category.photo]
purpose = "analytics"
seal_to = ["owner"]
"""


class Wishes:
    """An owner whose one purpose needs consent, and the device that is told of it by file."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._home = agent.folder / "home"
        policy = agent.folder / "policy.toml"
        (owner,) = set(re.findall(r"age1\w+", policy.read_text()))
        policy.write_text(f'version = 1\n[recipients]\nowner = ["{owner}"]\n{POLICY}')
        fingerprint = agent.asked("status")["fingerprint"]
        descriptor = agent.folder / "state" / "device.jws"
        agent.shell("privacy-owner", "--home", self._home, "device", "add", descriptor, "--accept", fingerprint)

    def say(self, *words: str) -> None:
        """Have the owner sign it and the device take it up."""
        file = self.agent.folder / f"{'-'.join(words)}.cmd"
        self.agent.shell("privacy-owner", "--home", self._home, *words, "--out", file)
        answer = self.agent.asked("submit", file)
        assert answer["status"] == "done", answer
        Path(file).unlink()

    def collected(self) -> str:
        (listed,) = self.agent.asked("cameras")["cameras"]
        return json.dumps(listed["collection"], sort_keys=True)


def view(word: str) -> str:
    return json.dumps({"wanted": word, "by": "policy", "at_camera": word}, sort_keys=True)


@pytest.mark.promise("CONSENT-WITHDRAW")
@on_network(hosts=2)
def test_camera_is_switched_off_over_its_link_when_no_purpose_of_it_is_left(net: Network) -> None:
    own, far = net.hosts
    with device(own) as agent:
        wishes = Wishes(agent)
        wishes.say("consent", "give", "analytics")
        with (
            agent.running(),
            camera(far, agent.folder / "cameras", "--setup", "--rate", "0.001") as there,
        ):
            agent.asked("enrol", there.label, f"10.77.0.2:{there.port}")
            there.said("collecting")
            wishes.say("withdraw", "analytics", "--category", "photo")
            assert wishes.collected() == view("on"), "another category of it is allowed still"
            wishes.say("withdraw", "analytics")
            there.said("not-collecting")
            (listed,) = agent.asked("cameras")["cameras"]
            refused = agent.asked("collection", listed["camera"], "on", expect=1)["error"]
            assert refused["reason"] == "no_consent"
            wishes.say("consent", "give", "analytics", "--category", "photo")
            there.said("collecting")
            kinds = [(entry["kind"], entry["rule"]) for entry in agent.audit()]
            assert [rule for kind, rule in kinds if kind == "collection_confirmed"][-2:] == ["off", "on"]


@pytest.mark.promise("CONSENT-WITHDRAW")
@on_network(hosts=2)
def test_camera_without_a_network_is_switched_off_over_bluetooth_when_its_owner_withdraws(net: Network) -> None:
    with beside(net, paired=False) as here:
        wishes = Wishes(here.agent)
        wishes.say("consent", "give", "analytics")
        here.pair()
        with here.near() as there, here.agent.running():
            assert here.met()["privacy_state"]["collection"] is True
            wishes.say("withdraw", "analytics")
            there.heard("not-collecting")
            wishes.say("object", "--do-not-track", "on")
            assert here.listed()["collection"]["wanted"] == "off"
            wishes.say("consent", "give", "analytics")
            there.heard("collecting")
