"""Which interfaces are listened on, what lies on their links, and why nothing may be heard."""

import ipaddress
import json
import subprocess
import sys
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from pathlib import Path

import pytest

from agent.discovery.interface import Interface, Links, in_container, usable, why_nothing_is_heard
from tests.netns import Network, on_network
from tests.waiting import until

pytestmark = pytest.mark.promise("FIND-LAN")

READ = """
import json
from agent.discovery.interface import read_interfaces as read
print(json.dumps({i.name: [i.multicast, i.loopback, i.far_end_elsewhere, *map(str, i.addresses)] for i in read()}))
"""


def interface(
    name: str = "lan0", *addresses: str, index: int = 2, multicast: bool = True, far: bool = False
) -> Interface:
    return Interface(
        name=name,
        index=index,
        multicast=multicast,
        loopback=name == "lo",
        far_end_elsewhere=far,
        addresses=tuple(map(ipaddress.ip_interface, addresses)),
    )


LAN = interface("lan0", "10.77.0.1/24", "fd77::1/64", "fe80::1/64")
LO = interface("lo", "127.0.0.1/8", "::1/128", index=1, multicast=False)
VPN = interface("tun0", "10.8.0.2/24", index=5, multicast=False)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("10.77.0.2", "10.77.0.2"),
        ("10.77.0.1", "10.77.0.1"),
        ("fd77::2", "fd77::2"),
        ("FD77:0::2", "fd77::2"),
        ("fe80::2", "fe80::2%lan0"),
        ("fe80::2%eth9", "fe80::2%lan0"),
        ("10.77.1.2", None),
        ("10.77.0.0", None),
        ("10.77.0.255", None),
        ("8.8.8.8", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("169.254.169.254", None),
        ("0.0.0.0", None),  # noqa: S104 - an announced address, not one to listen on
        ("224.0.0.251", None),
        ("ff02::fb", None),
        ("2001:db8::1", None),
        ("::ffff:10.77.0.2", None),
        ("camera.local", None),
        ("", None),
        ("10.77.0.2/24", None),
    ],
)
def test_address_is_used_only_if_it_lies_on_the_link(address: str, shown: str | None) -> None:
    assert Links((LAN,)).written(address, zone=2) == (None if shown is None else (shown, "lan0"))


def test_link_local_address_belongs_to_the_interface_that_it_was_heard_on() -> None:
    other = interface("lan1", "10.99.0.1/24", "fe80::9/64", index=3)
    both = Links((LAN, other))
    assert both.written("fe80::2", zone=3) == ("fe80::2%lan1", "lan1")
    assert both.written("fe80::2", zone=4) is None
    assert both.written("fe80::2") is None, "which of the two is not known"
    assert both.holds("fe80::2%lan1")
    assert not Links((LAN,)).holds("fe80::2%lan1")


def test_network_of_everything_makes_nothing_on_link() -> None:
    assert Links((interface("lan0", "10.0.0.1/0"),)).on_link(ip_address("8.8.8.8")) is None


def test_both_ends_of_the_smallest_networks_are_on_link() -> None:
    assert Links((interface("lan0", "10.0.0.0/31"),)).on_link(ip_address("10.0.0.1")) is not None
    assert Links((interface("lan0", "10.0.0.1/32"),)).on_link(ip_address("10.0.0.2")) is None


@pytest.mark.parametrize(
    ("there", "chosen", "container", "reason"),
    [
        ([LO, LAN], (), False, ""),
        ([LO, LAN, VPN], (), True, ""),
        ([LO], (), False, "no_interface"),
        ([LO, interface("lan0")], (), False, "no_interface"),
        ([LO, VPN], (), False, "no_multicast"),
        ([LO, LAN], ("lan9",), False, "no_interface"),
        ([LO, LAN], ("lo",), False, ""),
        ([LO, interface("eth0", "172.17.0.2/16", far=True)], (), True, "container_network"),
        ([LO, interface("eth0", "172.17.0.2/16", far=True)], (), False, ""),
    ],
)
def test_why_nothing_is_heard_is_told_with_the_next_step(
    there: list[Interface], chosen: tuple[str, ...], *, container: bool, reason: str
) -> None:
    found, hint = why_nothing_is_heard(there, chosen=chosen, container=container)
    assert found == reason
    assert bool(hint) is bool(reason)
    assert not reason or ": " in hint


def test_loopback_and_tunnels_are_listened_on_only_where_they_are_named() -> None:
    assert usable([LO, LAN, VPN]).interfaces == (LAN,)
    assert usable([LO, LAN, VPN], chosen=("lo", "tun0")).interfaces == (LO, VPN)


def test_container_is_known_by_its_mark(tmp_path: Path) -> None:
    mark = tmp_path / ".dockerenv"
    assert not in_container([mark])
    mark.touch()
    assert in_container([mark])


@on_network(hosts=1)
def test_kernel_tells_of_links_that_are_up_with_the_addresses_that_may_be_used(net: Network) -> None:
    host = net.hosts[0]
    host.ip("link", "add", "down0", "type", "veth", "peer", "name", "down1")
    host.ip("address", "add", "10.5.0.1/24", "dev", "down0")
    host.ip("link", "add", "point0", "type", "veth", "peer", "name", "point1")
    host.ip("link", "set", "point1", "up")
    host.ip("link", "set", "point0", "up", "multicast", "off")
    host.ip("address", "add", "10.6.0.1", "peer", "10.6.0.2/32", "dev", "point0")
    done = subprocess.run(host.command(sys.executable, "-c", READ), capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert set(told) == {"lo", "lan0", "point0", "point1"}, "those that are down are not told of"
    assert told["lo"][:4] == [False, True, False, "127.0.0.1/8"]
    multicast, loopback, elsewhere, *addresses = told["lan0"]
    assert (multicast, loopback, elsewhere) == (True, False, True)
    assert {"10.77.0.1/24", "fd77::1/64"} < set(addresses)
    assert sum(address.startswith("fe80::") for address in addresses) == 1
    assert told["point0"][0] is False
    assert "10.6.0.1/32" in told["point0"], "the own end, not the other"


@on_network(hosts=1)
def test_address_that_may_be_somebody_elses_is_not_used_yet(net: Network) -> None:
    host = net.hosts[0]
    settings = "/proc/sys/net/ipv6/conf/lan0"
    slow = f"echo 1 > {settings}/accept_dad; echo 99 > {settings}/dad_transmits"
    subprocess.run(host.command("sh", "-c", slow), check=True)
    host.ip("address", "add", "fd99::1/64", "dev", "lan0")
    done = subprocess.run(host.command(sys.executable, "-c", READ), capture_output=True, text=True, check=True)
    assert "fd99::1/64" not in json.loads(done.stdout)["lan0"]


def test_own_addresses_are_told_apart_by_kind() -> None:
    assert LAN.v4 == (IPv4Interface("10.77.0.1/24"),)
    assert LAN.v6_link_local == IPv6Interface("fe80::1/64").ip
    assert LO.v6_link_local is None


WAIT = """
import asyncio
from agent.discovery.interface import Changes
async def main():
    with Changes() as changes:
        print("waiting", flush=True)
        await changes.wait(within_s=600)
        print("changed", flush=True)
asyncio.run(main())
"""


@on_network(hosts=1)
def test_kernel_says_when_an_address_comes(net: Network) -> None:
    with net.hosts[0].running(sys.executable, "-c", WAIT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        net.hosts[0].add_address("10.78.0.1/24")
        until(lambda: process.poll() is not None, what="its word, long before the time is over", within_s=60)
        assert process.stdout.readline() == b"changed\n"
