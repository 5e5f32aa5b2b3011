"""What is wrong with the machine is told with the next step, and ends nothing."""

import socket
import sys

import pytest

from tests.discovery.scene import PORTS, camera, ears
from tests.netns import Network, on_network

pytestmark = pytest.mark.promise("FIND-LAN")

# Holds a port for itself alone until it is told to end.
HOLD = """
import signal, socket, sys
holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
holder.bind(("", int(sys.argv[1])))
print("held", flush=True)
signal.pause()
"""


def reasons(troubles: list[dict[str, str]]) -> list[str]:
    """Without what this machine, a container or none, adds of its own."""
    return [one["reason"].replace("container_network", "") for one in troubles]


def in_use(net: Network, way: str) -> None:
    agent, other = net.hosts
    holding = agent.running(sys.executable, "-c", HOLD, str(PORTS[way]))
    with camera(other, f"--{way}", "--port", "8444"), holding as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with ears(agent, way) as heard:
            heard.until(lambda: "no_multicast" in reasons(heard.troubles), "the trouble")
            assert "Address already in use: " in heard.troubles[-1]["hint"]
            holder.terminate()
            heard.hear("the camera, once the port is free", port=8444)
            assert reasons(heard.troubles)[-1] == "", "and the trouble is over"


@on_network(hosts=2)
def test_port_of_multicast_dns_that_somebody_holds_is_told_and_tried_again(net: Network) -> None:
    in_use(net, "mdns")


@on_network(hosts=2)
def test_port_of_wsdiscovery_that_somebody_holds_is_told_and_tried_again(net: Network) -> None:
    in_use(net, "onvif")


@on_network(hosts=1)
def test_closed_service_that_may_not_see_its_interfaces_says_so_and_lives(net: Network) -> None:
    closed = (sys.executable, "-m", "tests.discovery.without", str(int(socket.AF_NETLINK)))
    for way in PORTS:
        with ears(net.hosts[0], way, around=closed) as heard:
            heard.until(lambda: bool(heard.troubles), "the trouble")
            assert heard.troubles[0]["reason"] == "no_interface"
            assert "AF_NETLINK" in heard.troubles[0]["hint"]
