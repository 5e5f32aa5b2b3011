"""A whole agent whose Bluetooth breaks under it: told, outlived, and the camera is met again.

Agent, bluetoothd's double and camera are processes in network namespaces of their own; D-Bus and the air are between.
"""

import pytest

from tests.nearby.beside import beside
from tests.netns import Network, on_network
from tests.waiting import until


@pytest.mark.promise("FIND-BLE")
@on_network(hosts=2)
def test_agent_outlives_the_loss_of_its_daemon_and_of_its_adapter_and_switches_the_camera_then(net: Network) -> None:
    with beside(net) as here, here.near(), here.agent.running():
        here.met()
        for harm, trouble in (("bluetoothd-dead", "no_daemon"), ("adapter-gone", "no_adapter")):
            here.machine.order(f"break all {harm}")
            here.agent.until_trouble(trouble)
            here.machine.order(f"mend all {harm}")
            here.agent.until_well()
        until(lambda: here.collection("off")["told"] == "bluetooth", what="the camera heard again and told")
        assert here.met()["privacy_state"]["collection"] is False
