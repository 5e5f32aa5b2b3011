"""The agent hears a camera, and a simulated camera is found, by programs that nobody here wrote."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import NODE, NODE_TESTS
from tests.discovery.scene import camera, ears
from tests.netns import Host, Network, on_network

pytestmark = pytest.mark.promise("FIND-LAN")

ONE = "urn:uuid:0f3c8a4e-6f0b-4d7c-9f5e-2a1b3c4d5e6f"


def multicasts(host: Host) -> None:
    """These programs name no interface; a household's router is what makes the way there."""
    host.ip("route", "add", "default", "dev", "lan0")


def installed() -> None:
    assert (NODE_TESTS / "node_modules" / "bonjour-service").is_dir(), "make test installs it"


@on_network(hosts=2)
def test_camera_announced_by_bonjour_service_is_found_and_its_leaving_is_told(net: Network) -> None:
    installed()
    multicasts(net.hosts[1])
    script = (NODE, NODE_TESTS / "mdns-camera.mjs", "foreign", "camera-link", "8444", "abcdefghijklmnop")
    with ears(net.hosts[0], "mdns") as heard:
        with net.hosts[1].running(*script) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline()) == {"ready": True}
            found = heard.hear("the camera", key="foreign._camera-link._tcp", port=8444)
            assert found["unverified_id"] == "abcdefghijklmnop"
            assert "10.77.0.2" in found["addresses"]
        heard.until(lambda: heard.lost("foreign._camera-link._tcp"), "its goodbye")


@on_network(hosts=2)
def test_simulated_camera_is_found_by_onvif_of_npm(net: Network) -> None:
    installed()
    multicasts(net.hosts[0])
    scope = "onvif://www.onvif.org/name/Front%20door"
    with camera(net.hosts[1], "--onvif", "--endpoint", ONE, "--scope", scope, "--port", "8080"):
        done = subprocess.run(
            net.hosts[0].command(NODE, Path(NODE_TESTS / "onvif-probe.mjs")),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    (found,) = json.loads(done.stdout)
    assert found["endpoint"] == ONE
    assert found["scopes"] == scope
    assert "http://10.77.0.2:8080/onvif/device_service" in found["xaddrs"].split()
    assert "dn:NetworkVideoTransmitter" in found["types"].split()
