"""Nothing but discovery's UDP is open while it listens, and nothing is loaded where it does not (I12)."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.discovery.scene import camera, ears
from tests.netns import Host, Network, on_network

pytestmark = pytest.mark.promise("FIND-LAN")

LISTEN = "0A"  # <net/tcp_states.h>: TCP_LISTEN


def rows(host: Host, table: str) -> list[list[str]]:
    return [line.split() for line in Path(f"/proc/{host.pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]]


def ports(host: Host, *tables: str) -> set[int]:
    return {int(row[1].rpartition(":")[2], 16) for table in tables for row in rows(host, table)}


@on_network(hosts=2)
def test_only_discoverys_udp_is_open(net: Network) -> None:
    agent, other = net.hosts
    with camera(other, "--mdns", "--onvif"), ears(agent, "mdns") as mdns, ears(agent, "onvif") as onvif:
        mdns.hear("the camera", service="_camera-link._tcp")
        onvif.hear("the camera", service="onvif")
        open_udp = ports(agent, "udp", "udp6")
        assert {5353, 3702} < open_udp
        assert len(open_udp) <= 4, "and one each that asks by ONVIF over IPv4 and IPv6"
        assert [row for table in ("tcp", "tcp6") for row in rows(agent, table) if row[3] == LISTEN] == []


@pytest.mark.parametrize("module", ["agent.discovery", "agent.discovery.mdns", "agent.discovery.onvif"])
def test_zeroconf_is_loaded_when_it_listens_and_not_before(module: str) -> None:
    code = f"import sys, {module}; print('zeroconf' in sys.modules, 'ifaddr' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
