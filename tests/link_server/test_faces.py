"""What a simulated camera announces on a network of its own, as the agent's ears on another host hear it."""

import sys
import tempfile
from pathlib import Path

from device_sim.camera.identity import identity
from tests.discovery.scene import ears
from tests.link_server.running import running
from tests.netns import Network, on_network
from tests.waiting import until

LINK = "_camera-link._tcp"
BROWSE = f"""
import signal
from zeroconf import ServiceBrowser, Zeroconf
def tell(zeroconf, service_type, name, state_change):
    if state_change.name != "Updated":
        print(state_change.name, name, flush=True)
ServiceBrowser(Zeroconf(), "{LINK}.local.", handlers=[tell])
signal.pause()
"""


@on_network(hosts=2)
def test_camera_announces_its_link_and_nothing_of_itself(net: Network) -> None:
    agent, camera = net.hosts
    with (
        tempfile.TemporaryDirectory() as folder,
        ears(agent, "mdns") as heard,
        running(Path(folder), "--link", "--mdns", "--setup", host=camera) as sim,
    ):
        ready = sim.heard("ready")
        seen = heard.hear("its link", unverified_id=ready["rotating_id"])
        assert (seen["service"].rstrip(".").removesuffix(".local"), seen["port"]) == (LINK, ready["port"])
        assert {"10.77.0.2", "fd77::2"} <= set(seen["addresses"])
        assert [leak["code"] for leak in seen["leaks"]] == ["setup_mode"]
        told = str(heard.told).lower()
        for secret in (*identity(1, name="Front door").traces(), "front", ready["id"], ready["fingerprint"][:4]):
            assert secret.lower() not in told, secret
        sim.order("setup 'Front door' 1")
        heard.until(
            lambda: any(one["leaks"] == [] for one in heard.sightings(unverified_id=ready["rotating_id"])),
            "the closed set-up window",
        )
        sim.end()
        heard.until(lambda: heard.lost(seen["key"]), "its goodbye")


@on_network(hosts=2)
def test_next_boot_has_other_names(net: Network) -> None:
    agent, camera = net.hosts
    with (
        tempfile.TemporaryDirectory() as folder,
        ears(agent, "mdns") as heard,
        running(Path(folder), "--link", "--mdns", host=camera) as sim,
    ):
        first = heard.hear("its link", unverified_id=sim.heard("ready")["rotating_id"])
        sim.order("break all power-cut")
        sim.order("mend all power-cut")
        again = heard.hear("its link anew", unverified_id=sim.heard("ready")["rotating_id"])
        assert first["key"] != again["key"]


@on_network(hosts=3)
def test_power_cut_says_no_goodbye(net: Network) -> None:
    """The agent would try where it was, and find nobody: what is on the wire is asked of zeroconf itself."""
    listener, camera, neighbour = net.hosts
    with (
        tempfile.TemporaryDirectory() as folder,
        listener.running(sys.executable, "-c", BROWSE) as browsing,
        running(Path(folder) / "a", "--link", "--mdns", host=camera) as sim,
        running(Path(folder) / "b", "--link", "--mdns", host=neighbour) as other,
    ):
        lines = browsing.stdout
        assert lines is not None
        came = {lines.readline().split()[1] for _ in range(2)}
        sim.order("break all power-cut")
        other.end()
        what, ended = lines.readline().split()
        assert what == b"Removed"
        left = {ended} ^ came
        until(lambda: not sim.order("show")["cameras"][0]["port"], what="the cut camera is silent")
        with running(Path(folder) / "b", "--link", "--mdns", host=neighbour):
            what, again = lines.readline().split()
            assert (what, again in came) == (b"Added", False), f"{left} said nothing meanwhile"


@on_network(hosts=2)
def test_spoofed_advert_leads_elsewhere(net: Network) -> None:
    agent, camera = net.hosts
    with (
        tempfile.TemporaryDirectory() as folder,
        ears(agent, "mdns") as heard,
        running(Path(folder), "--link", "--mdns", host=camera) as sim,
    ):
        ready = sim.heard("ready")
        heard.hear("its link", port=ready["port"])
        sim.order("break all advert-spoofed")
        heard.until(
            lambda: any(one["port"] != ready["port"] for one in heard.sightings(unverified_id=ready["rotating_id"])),
            "the false port",
        )


@on_network(hosts=2)
def test_camera_answers_wsdiscovery_at_its_address(net: Network) -> None:
    agent, camera = net.hosts
    with (
        tempfile.TemporaryDirectory() as folder,
        ears(agent, "onvif") as heard,
        running(Path(folder), "--link", "--onvif", host=camera) as sim,
    ):
        ready = sim.heard("ready")
        seen = heard.hear("an ONVIF camera", port=ready["onvif_port"])
        assert "10.77.0.2" in seen["addresses"]
        assert seen["leaks"] == []
