"""Cameras and hubs are found by DNS-SD, and no announcement stalls, crashes or misleads whoever listens.

The agent's discoverer and the simulated cameras are processes in network namespaces of their own, on one bridge.
"""

import asyncio
import signal
from ipaddress import ip_interface
from pathlib import Path

import pytest

from agent.clock import system_clock
from agent.discovery import mdns
from agent.discovery.interface import Interface, Links
from agent.discovery.mdns import FRESH_S, PENDING_MAX, _Ear
from agent.discovery.presence import Presence
from agent.discovery.sighting import SIGHTINGS_MAX
from tests.bench.meter import cpu_s, resident_bytes
from tests.discovery.scene import Ears, camera, ears, lie, lying
from tests.netns import Network, network, on_network

pytestmark = pytest.mark.promise("FIND-LAN")

LINK = ("--mdns", "--txt", "v=1", "--txt", "id=abcdefghijklmnop")


@on_network(hosts=2)
def test_camera_that_is_there_is_found_with_its_addresses_of_both_kinds(net: Network) -> None:
    with camera(net.hosts[1], *LINK, "--instance", "quiet", "--port", "8444"), ears(net.hosts[0], "mdns") as heard:
        found = heard.hear("the camera", key="quiet._camera-link._tcp")
    assert (found["way"], found["place"], found["service"], found["port"]) == (
        "mdns",
        "lan0",
        "_camera-link._tcp",
        8444,
    )
    assert {"10.77.0.2", "fd77::2"} <= set(found["addresses"])
    assert any(address.startswith("fe80:") and address.endswith("%lan0") for address in found["addresses"])
    assert found["unverified_id"] == "abcdefghijklmnop"
    assert found["leaks"] == []


@on_network(hosts=2)
def test_camera_over_ipv6_alone_is_found(net: Network) -> None:
    for number, host in enumerate(net.hosts, start=1):
        host.ip("address", "del", f"10.77.0.{number}/24", "dev", "lan0")
    with camera(net.hosts[1], *LINK), ears(net.hosts[0], "mdns") as heard:
        found = heard.hear("the camera", service="_camera-link._tcp")
    assert all(":" in address for address in found["addresses"])


@on_network(hosts=2)
def test_camera_that_comes_later_is_found_and_its_leaving_is_told(net: Network) -> None:
    with ears(net.hosts[0], "mdns") as heard:
        with camera(net.hosts[1], *LINK, "--instance", "later"):
            heard.hear("the camera", key="later._camera-link._tcp")
        heard.until(lambda: heard.lost("later._camera-link._tcp"), "its goodbye")


@on_network(hosts=2)
def test_camera_whose_power_is_cut_is_lost_though_its_name_lives_on(net: Network) -> None:
    """It says no goodbye, and its name stays in the cache for 19 minutes: zeroconf lifts every PTR's life to that."""
    cut = camera(net.hosts[1], *LINK, "--instance", "cut", "--host-ttl", "3")
    with ears(net.hosts[0], "mdns", "--refresh", "1") as heard, cut as process:
        heard.hear("the camera", key="cut._camera-link._tcp")
        process.send_signal(signal.SIGKILL)
        heard.until(lambda: heard.lost("cut._camera-link._tcp"), "its loss", within_s=40)


@on_network(hosts=2)
def test_camera_that_is_silent_but_answers_stays(net: Network) -> None:
    still = camera(net.hosts[1], *LINK, "--instance", "still", "--host-ttl", "3")
    with ears(net.hosts[0], "mdns", "--refresh", "1") as heard, still as process:
        heard.hear("the camera", key="still._camera-link._tcp")
        process.send_signal(signal.SIGSTOP)  # the kernel goes on taking connections for it
        later = heard.hear("it again", key="still._camera-link._tcp", after=len(heard.sightings()) + 5)
        process.send_signal(signal.SIGCONT)
    assert later["seen_ms"] > heard.sightings()[0]["seen_ms"]
    assert not any(one["kind"] == "Lost" for one in heard.told[: heard.told.index(later)])


@on_network(hosts=2)
def test_camera_that_takes_no_connection_but_is_still_announced_stays(net: Network) -> None:
    walled = camera(net.hosts[1], *LINK, "--instance", "walled", "--host-ttl", "3", "--unserved")
    with ears(net.hosts[0], "mdns", "--refresh", "1") as heard, walled:
        heard.hear("the camera", key="walled._camera-link._tcp")
        heard.hear("it again", key="walled._camera-link._tcp", after=5)
    assert [one["kind"] for one in heard.told[:6]] == ["Sighting"] * 6


@on_network(hosts=4)
def test_spoofed_goodbye_removes_no_living_camera(net: Network) -> None:
    with ears(net.hosts[0], "mdns") as heard, camera(net.hosts[1], *LINK, "--instance", "alive"):
        heard.hear("the camera", key="alive._camera-link._tcp")
        for _ in range(3):
            lie(net.hosts[2], "goodbye", "--instance", "alive", "--address", "10.77.0.3")
        with camera(net.hosts[3], *LINK, "--instance", "gone"):
            heard.hear("another one", key="gone._camera-link._tcp")
        heard.until(lambda: heard.lost("gone._camera-link._tcp"), "a goodbye that is true")
    assert [one["key"] for one in heard.told if one["kind"] == "Lost"] == ["gone._camera-link._tcp"]


@on_network(hosts=3)
def test_who_takes_a_name_over_is_told_beside_the_camera_that_still_answers(net: Network) -> None:
    with ears(net.hosts[0], "mdns", "--refresh", "1") as heard, camera(net.hosts[1], *LINK, "--instance", "mine"):
        true = heard.hear("the camera", key="mine._camera-link._tcp")
        lie(net.hosts[2], "takeover", "--instance", "mine", "--address", "10.77.0.3", "--port", "666")
        heard.hear("the impostor", key="mine._camera-link._tcp#other", addresses=["10.77.0.3"], port=666)
        again = heard.hear("it again", key="mine._camera-link._tcp", after=len(heard.sightings()))
    assert (again["addresses"], again["port"]) == (true["addresses"], true["port"])
    assert {one["port"] for one in heard.sightings(key="mine._camera-link._tcp")} == {8443}


@on_network(hosts=3)
def test_camera_that_moved_is_told_at_its_new_address_alone(net: Network) -> None:
    before = camera(net.hosts[1], *LINK, "--instance", "moved", "--address", "10.77.0.2")
    with ears(net.hosts[0], "mdns") as heard, before as process:
        heard.hear("the camera", key="moved._camera-link._tcp", addresses=["10.77.0.2"])
        process.send_signal(signal.SIGKILL)
        process.wait()
        with camera(net.hosts[2], *LINK, "--instance", "moved", "--host", "other", "--address", "10.77.0.3"):
            heard.hear("it elsewhere", key="moved._camera-link._tcp", addresses=["10.77.0.3"])
    assert heard.sightings(key="moved._camera-link._tcp#other") == []


@on_network(hosts=3)
def test_address_that_is_not_on_the_link_is_refused(net: Network) -> None:
    """An agent that tries whatever is announced would ask hosts elsewhere for whoever lies."""
    away = ("8.8.8.8", "169.254.169.254", "127.0.0.1", "10.78.0.1", "10.77.0.255", "10.77.0.0", "224.0.0.1")
    with ears(net.hosts[0], "mdns") as heard:
        for number, address in enumerate(away):
            lie(net.hosts[2], "service", "--instance", f"away{number}", "--host", f"h{number}", "--address", address)
        lie(net.hosts[2], "service", "--instance", "near", "--address", "10.77.0.2")
        heard.hear("what is near", unverified_name="near")
    assert [one["unverified_name"] for one in heard.sightings()] == ["near"]


@on_network(hosts=3)
def test_names_that_no_service_may_have_crash_nothing_and_reach_no_terminal(net: Network) -> None:
    with ears(net.hosts[0], "mdns") as heard:
        lie(net.hosts[2], "control", "--address", "10.77.0.3")
        with camera(net.hosts[1], *LINK, "--instance", "good"):
            heard.hear("the camera", key="good._camera-link._tcp")
    for one in heard.sightings():
        assert one["unverified_name"].isprintable()
        assert one["key"].isprintable()
        assert len(one["unverified_name"]) <= 64
    assert all(one["unverified_name"] for one in heard.sightings()), "the bare type is nobody's name"
    assert len({one["key"] for one in heard.sightings()}) == len(
        {repr(one["addresses"] + [one["key"]]) for one in heard.sightings()}
    )


@on_network(hosts=3)
def test_noise_crashes_nothing(net: Network) -> None:
    with ears(net.hosts[0], "mdns") as heard:
        lie(net.hosts[2], "noise", "--count", "2000", "--address", "10.77.0.3")
        with camera(net.hosts[1], *LINK, "--instance", "good"):
            heard.hear("the camera", key="good._camera-link._tcp")


@on_network(hosts=3)
def test_names_that_lead_nowhere_stall_no_camera(net: Network) -> None:
    """Asked one by one, three seconds each, 100 of them took five minutes."""
    with ears(net.hosts[0], "mdns") as heard:
        lie(net.hosts[2], "unresolvable", "--count", "100", "--address", "10.77.0.3")
        with camera(net.hosts[1], *LINK, "--instance", "good"):
            heard.hear("the camera", key="good._camera-link._tcp", within_s=15)


@on_network(hosts=3)
def test_camera_that_has_to_be_asked_for_each_record_waits_for_no_names_that_lead_nowhere(net: Network) -> None:
    """Behind 64 of them, asked one after the other, it waited for three minutes."""
    with ears(net.hosts[0], "mdns") as heard:
        lie(net.hosts[2], "unresolvable", "--count", "64", "--address", "10.77.0.3")
        with lying(net.hosts[1], "sparse", "--instance", "sparse", "--address", "10.77.0.2"):
            assert heard.hear("the camera", key="sparse._camera-link._tcp")["port"] == 9999


@on_network(hosts=3)
def test_names_of_one_type_that_lead_nowhere_keep_no_camera_of_another_waiting(net: Network) -> None:
    """In the order of arrival 400 of them, sixteen at a time, kept it waiting for 75 seconds."""
    sparse = ("sparse", "--type", "_axis-video._tcp", "--instance", "sparse", "--address", "10.77.0.2")
    with ears(net.hosts[0], "mdns") as heard:
        lie(net.hosts[2], "unresolvable", "--count", "400", "--address", "10.77.0.3")
        with lying(net.hosts[1], *sparse):
            heard.hear("the camera", key="sparse._axis-video._tcp", within_s=30)


def test_names_that_wait_are_bounded_and_the_type_that_has_most_gives_way() -> None:
    """I11: a hundred thousand names took sixty megabytes."""
    clock = system_clock(source="system")
    ear = _Ear(Presence(lambda _heard: None, clock), clock)
    ear._pending.put("_axis-video._tcp.local.", "quiet")
    for number in range(2 * PENDING_MAX):
        ear._pending.put("_camera-link._tcp.local.", f"{number}")
    assert sum(map(len, ear._pending.values())) == PENDING_MAX
    assert ear._pending["_axis-video._tcp.local."] == {"quiet": None}
    assert f"{2 * PENDING_MAX - 1}" in ear._pending["_camera-link._tcp.local."], "the newest is asked for"


@on_network(hosts=4)
def test_flood_of_services_hides_no_camera_and_pushes_none_out(net: Network) -> None:
    """A table that drops what was heard least recently drops the quiet camera first."""
    with ears(net.hosts[0], "mdns") as heard, camera(net.hosts[3], *LINK, "--instance", "quiet"):
        heard.hear("the camera", key="quiet._camera-link._tcp")
        for _ in range(3):  # a busy machine loses some
            lie(net.hosts[2], "flood", "--count", "1000", "--address", "10.77.0.3")
        with camera(net.hosts[1], *LINK, "--instance", "good"):
            heard.hear("another one", key="good._camera-link._tcp")
    assert len({one["key"] for one in heard.sightings(addresses=["10.77.0.3"])}) > SIGHTINGS_MAX
    assert {"quiet._camera-link._tcp"} & {one["key"] for one in heard.told if one["kind"] == "Lost"} == set()


@on_network(hosts=1)
def test_link_that_comes_later_is_asked_on(net: Network) -> None:
    agent = net.host()
    with camera(net.hosts[0], *LINK, "--instance", "first"), ears(agent, "mdns") as heard:
        heard.until(lambda: any(one["reason"] == "no_interface" for one in heard.troubles), "why there is nothing")
        net.plug(agent)
        agent.add_address("10.77.0.9/24")
        heard.hear("the camera", key="first._camera-link._tcp")
        assert heard.troubles[-1]["reason"] in {"", "container_network"}
        agent.ip("link", "del", "lan0")
        heard.until(lambda: heard.lost("first._camera-link._tcp"), "its loss with its link")
        assert heard.troubles[-1]["reason"] == "no_interface"


@on_network(hosts=2)
def test_address_that_comes_later_to_a_link_that_is_there_is_listened_on(net: Network) -> None:
    """The library never asks there, and nobody tells it to."""
    agent, other = net.hosts
    for host in net.hosts:
        host.ip("address", "flush", "dev", "lan0")
    other.add_address("10.77.0.2/24")
    with camera(other, *LINK, "--instance", "there"), ears(agent, "mdns") as heard:
        heard.until(lambda: any(one["reason"] == "no_interface" for one in heard.troubles), "why there is nothing")
        agent.add_address("10.77.0.9/24")
        assert heard.hear("the camera", key="there._camera-link._tcp")["addresses"] == ["10.77.0.2"]


@on_network(hosts=2)
def test_each_of_two_links_is_listened_on_and_named(net: Network) -> None:
    with network(hosts=2) as other:
        agent = net.hosts[0]
        other.plug(agent, link="lan1")
        agent.add_address("10.99.0.1/24", link="lan1")
        other.hosts[1].add_address("10.99.0.2/24")
        first = camera(net.hosts[1], *LINK, "--instance", "one", "--address", "10.77.0.2")
        second = camera(other.hosts[1], *LINK, "--instance", "two", "--address", "10.99.0.2")
        with first, second, ears(agent, "mdns") as heard:
            assert heard.hear("the first", key="one._camera-link._tcp")["place"] == "lan0"
            assert heard.hear("the second", key="two._camera-link._tcp")["place"] == "lan1"


@on_network(hosts=0)
def test_loopback_is_listened_on_where_it_is_named(net: Network) -> None:
    alone = net.host()
    same = camera(alone, *LINK, "--instance", "same", "--interface", "lo", "--address", "127.0.0.1")
    with same, ears(alone, "mdns", "--interface", "lo") as heard:
        heard.hear("the camera", key="same._camera-link._tcp", addresses=["127.0.0.1"])


@on_network(hosts=3)
def test_what_an_advert_gives_away_is_told_with_what_to_do(net: Network) -> None:
    mac = "B8A44F0A98A1"
    axis = ("--mdns", "--type", "_axis-video._tcp", "--instance", f"AXIS M2026 - {mac}")
    with ears(net.hosts[0], "mdns") as heard:
        with camera(net.hosts[1], *axis, "--txt", f"macaddress={mac}"):
            found = heard.hear("the camera", service="_axis-video._tcp")
            assert [one["code"] for one in found["leaks"]] == ["mac"]
            assert "another name" in found["leaks"][0]["advice"]
        open_doorbell = (
            "--mdns",
            "--type",
            "_hap._tcp",
            "--txt",
            "ci=18",
            "--txt",
            "sf=1",
            "--txt",
            "id=AA:BB:CC:DD:EE:FF",
        )
        lamp = ("--mdns", "--type", "_hap._tcp", "--instance", "lamp", "--txt", "ci=5", "--txt", "sf=1", "--port", "81")
        with camera(net.hosts[2], *lamp), camera(net.hosts[1], *open_doorbell):
            found = heard.hear("the doorbell", service="_hap._tcp")
            assert [one["code"] for one in found["leaks"]] == ["setup_mode"]
    assert heard.sightings(unverified_name="lamp") == []


@on_network(hosts=3)
def test_flooded_cache_is_made_anew_and_cameras_are_heard_on(net: Network) -> None:
    """The library keeps every record for as long as whoever sent it says, 75 minutes here."""
    with ears(net.hosts[0], "mdns") as heard:
        sockets = open_sockets(heard)  # before the flood: on a busy machine they are others when it ends
        assert sockets

        def flooded() -> bool:  # again, for on a busy machine the kernel loses much of it
            lie(net.hosts[2], "unresolvable", "--count", "4000", "--address", "10.77.0.3")
            return not sockets & open_sockets(heard)

        heard.until(flooded, "other sockets", within_s=FRESH_S + 60)
        with camera(net.hosts[1], *LINK, "--instance", "after"):
            heard.hear("the camera", key="after._camera-link._tcp")


@on_network(hosts=3)
def test_records_that_no_camera_has_take_no_memory(net: Network) -> None:
    """The library made 66,000 numbers of one of them: 2.5 MB for 75 minutes, and a hundred ended the agent."""
    takes_no_memory(net, "windows", 50)


@on_network(hosts=3)
def test_texts_that_no_camera_says_take_no_memory(net: Network) -> None:
    takes_no_memory(net, "texts", 2000)


def takes_no_memory(net: Network, what: str, count: int) -> None:
    with ears(net.hosts[0], "mdns") as heard, camera(net.hosts[1], *LINK, "--instance", "quiet"):
        heard.hear("the camera", key="quiet._camera-link._tcp")
        before = resident_bytes(heard.process.pid)
        lie(net.hosts[2], what, "--count", f"{count}", "--address", "10.77.0.3")
        with camera(net.hosts[1], *LINK, "--instance", "after", "--port", "8444"):
            heard.hear("the camera", key="after._camera-link._tcp")
        assert resident_bytes(heard.process.pid) - before < 8_000_000


@on_network(hosts=3)
def test_crowd_of_services_on_one_host_with_a_crowd_of_addresses_stalls_no_camera(net: Network) -> None:
    """Each new address had every service told anew with every address: 115 kB stopped the agent for a minute."""
    with ears(net.hosts[0], "mdns") as heard:
        used = cpu_s(heard.process.pid)
        lie(net.hosts[2], "crowd", "--count", "900", "--address", "10.77.0.3")
        with camera(net.hosts[1], *LINK, "--instance", "after"):
            heard.hear("the camera", key="after._camera-link._tcp")
        assert cpu_s(heard.process.pid) - used < 6


def test_memory_is_given_back_after_each_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's records were freed and their memory was kept: it grew from 60 to 383 MB."""
    done = []

    async def browse(*_: object) -> None:
        done.append("browse")
        if len(done) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(mdns, "give_back_memory", lambda: done.append("give back"))
    monkeypatch.setattr(_Ear, "_browse", browse)
    clock = system_clock(source="system")
    here = Interface(
        name="lan0",
        index=1,
        multicast=True,
        loopback=False,
        far_end_elsewhere=False,
        addresses=(ip_interface("10.77.0.1/24"),),
    )
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(_Ear(Presence(lambda _heard: None, clock), clock).listen(Links((here,)), lambda: None))
    assert done == ["browse", "give back", "browse"]


def open_sockets(heard: Ears) -> set[str]:
    """Return the names that the kernel gave the UDP sockets of a listening process, which it gives to none again."""
    links = {str(one.readlink()) for one in Path(f"/proc/{heard.process.pid}/fd").iterdir() if one.is_symlink()}
    own = {line.split()[9] for table in ("udp", "udp6") for line in udp(heard, table)}
    return {link for link in links if link.startswith("socket:[") and link[8:-1] in own}


def udp(heard: Ears, table: str) -> list[str]:
    return Path(f"/proc/{heard.process.pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]
