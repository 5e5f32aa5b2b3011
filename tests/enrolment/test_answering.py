"""Whether a camera answers is what the last try showed: no old proof, and no later than whoever collects knows it."""

import sys

import pytest

from tests.enrolment.neighbourhood import Camera, camera, device
from tests.netns import Host, Network, on_network

pytestmark = [pytest.mark.promise("FIND-AUTH")]


@on_network(hosts=2)
def test_camera_without_power_that_is_enrolled_by_what_was_heard_of_it_does_not_answer(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with device(agent_host, listens=True) as agent, agent.running():
        state = agent.folder / "cameras"
        with camera(camera_host, state) as there:
            agent.until_near("a new camera", state="new")
            order(camera_host, state, "break", there, "power-cut")  # and its name lives on
            made = agent.asked("enrol", there.label)
            assert made["reachable"] is False
            assert made["answered"]
            (listed,) = agent.asked("cameras")["cameras"]
            assert listed["reachable"] is False
            order(camera_host, state, "mend", there, "power-cut")


@on_network(hosts=2)
def test_camera_whose_key_was_changed_is_shown_as_one_that_does_not_answer_beside_its_impostor(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with device(agent_host, listens=True) as agent, agent.running():
        state = agent.folder / "cameras"
        with camera(camera_host, state, "--setup") as there:
            made = agent.asked("enrol", there.label)
            agent.until_near("the enrolled camera", state="enrolled", reachable=True)
            order(camera_host, state, "break", there, "identity-changed")
            found = agent.until_near("the impostor", state="impostor")
            assert found["impostor_of"] == made["camera"]
            agent.until_near("that the camera itself does not answer", state="enrolled", reachable=False)
            assert "camera_impostor" in {one["code"] for one in agent.asked("status")["alerts"]}
            order(camera_host, state, "mend", there, "identity-changed")
            agent.until_near("the camera again", state="enrolled", reachable=True)


def order(host: Host, state: object, verb: str, there: Camera, breakage: str) -> None:
    command = (sys.executable, "-m", "device_sim", "tell", "--state", str(state), verb, there.id, breakage)
    with host.running(*command) as told:
        assert told.wait() == 0
