"""A person gives the passkey of a camera that demands one to the running agent."""

import pytest

from tests.enrolment.neighbourhood import camera
from tests.nearby.beside import beside, error_of
from tests.netns import Network, on_network
from tests.waiting import until

PASSKEY = "012345"
DEMANDING = ("--passkey", PASSKEY)


@pytest.mark.promise("FIND-BLE")
@on_network(hosts=2)
def test_camera_that_demands_its_passkey_is_met_once_a_person_gave_the_right_one(net: Network) -> None:
    with beside(net) as here, here.near(*DEMANDING), here.agent.running():
        until(lambda: here.listed().get("bluetooth") == {"wants": "passkey"}, what="the camera's demand")
        wrong = error_of(here.typed("passkey", here.camera, line="543210"))
        assert (wrong["reason"], wrong["retry"]) == ("passkey", "after_fix")
        assert error_of(here.typed("passkey", here.camera, line="12345"))["kind"] == "ConfigError"
        assert here.listed()["bluetooth"] == {"wants": "passkey"}
        right = here.typed("passkey", here.camera, line=PASSKEY)
        assert right.returncode == 0, right.stderr
        assert here.met()["privacy_state"]["collection"] is True
        assert here.collection("off")["told"] == "bluetooth", "it is paired and stays so"
        assert PASSKEY not in here.agent.log.read_text() + str(here.agent.audit())


@on_network(hosts=2)
def test_passkey_given_at_enrolment_is_used_once_the_camera_is_paired_and_near(net: Network) -> None:
    with beside(net, paired=False) as here, here.agent.running():
        far = ("--ble", "--hci", here.hci, "--setup", "--rate", "0.001", *DEMANDING)
        with camera(net.hosts[1], here.state, *far) as there:
            made = here.typed("enrol", there.label, f"10.77.0.2:{there.port}", "--passkey", line=PASSKEY)
            assert made.returncode == 0, made.stderr
            (listed,) = here.agent.asked("cameras")["cameras"]
            here.camera = listed["camera"]
            assert here.met()["unverified_model"] == "Simulated camera"


@on_network(hosts=2)
def test_passkey_is_taken_by_a_running_agent_that_listens_for_bluetooth_and_for_an_enrolled_camera_alone(
    net: Network,
) -> None:
    with beside(net) as here:
        away = error_of(here.typed("passkey", here.camera, line=PASSKEY))
        assert (away["kind"], "privacy-agent run" in away["hint"]) == ("LinkError", True)
        label = error_of(here.typed("enrol", "PVCAM:1:ABCDEFGH234567AA:" + 32 * "A", "--passkey", line=PASSKEY))
        assert label["kind"] == "LinkError"
        with here.agent.running():
            assert "not heard" in error_of(here.typed("passkey", here.camera, line=PASSKEY))["message"]
            assert "not enrolled" in error_of(here.typed("passkey", "nobody", line=PASSKEY))["message"]
