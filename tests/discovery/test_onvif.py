"""Cameras that speak ONVIF are found by WS-Discovery, and no answer of anybody misleads or harms who asks."""

import json
import signal

import pytest

from tests.discovery.scene import camera, ears, lie, lying
from tests.netns import Network, on_network

pytestmark = pytest.mark.promise("FIND-LAN")

ONE = "urn:uuid:0f3c8a4e-6f0b-4d7c-9f5e-2a1b3c4d5e6f"
NAMED = ("--onvif", "--endpoint", ONE, "--scope", "onvif://www.onvif.org/name/Front%20door")


@on_network(hosts=2)
def test_camera_that_is_there_is_found_once_with_all_its_addresses(net: Network) -> None:
    with camera(net.hosts[1], *NAMED, "--port", "8080"), ears(net.hosts[0], "onvif", "--refresh", "1") as heard:
        found = heard.hear("the camera", key=ONE)
        assert (found["way"], found["place"], found["service"], found["port"]) == ("onvif", "lan0", "onvif", 8080)
        assert set(found["addresses"]) == {"10.77.0.2", "fd77::2"}
        assert found["unverified_name"] == "Front door"
        assert found["leaks"] == []
        again = heard.hear("it again", key=ONE, after=1)
    assert again["addresses"] == found["addresses"]


@on_network(hosts=2)
def test_camera_that_is_heard_on_two_links_is_one(net: Network) -> None:
    agent = net.hosts[0]
    net.plug(agent, link="lan1")
    agent.add_address("10.77.0.9/24", link="lan1")
    with camera(net.hosts[1], *NAMED), ears(agent, "onvif", "--refresh", "1") as heard:
        heard.hear("the camera", key=ONE)
        heard.hear("it again", key=ONE, after=3)
    assert {(one["kind"], one["key"]) for one in heard.told} == {("Sighting", ONE)}
    assert len({one["place"] for one in heard.told}) == 1


@on_network(hosts=2)
def test_question_that_is_lost_is_asked_again_soon(net: Network) -> None:
    """Datagrams get lost: here two questions, to two types of camera each. Half a minute later is the next round."""
    lossy = lying(net.hosts[1], "onvif-lossy", "--count", "4", "--endpoint", ONE, "--address", "10.77.0.2")
    with lossy, ears(net.hosts[0], "onvif") as heard:
        heard.hear("the camera", key=ONE, within_s=20)


@on_network(hosts=2)
def test_camera_over_ipv6_alone_is_found(net: Network) -> None:
    for number, host in enumerate(net.hosts, start=1):
        host.ip("address", "del", f"10.77.0.{number}/24", "dev", "lan0")
    with camera(net.hosts[1], *NAMED), ears(net.hosts[0], "onvif") as heard:
        assert heard.hear("the camera", key=ONE)["addresses"] == ["fd77::2"]


@on_network(hosts=2)
def test_camera_that_comes_later_says_hello_and_its_leaving_is_told(net: Network) -> None:
    with ears(net.hosts[0], "onvif") as heard:
        with camera(net.hosts[1], *NAMED):
            heard.hear("the camera", key=ONE)
        heard.until(lambda: heard.lost(ONE), "its goodbye")


@on_network(hosts=2)
def test_camera_whose_power_is_cut_is_lost(net: Network) -> None:
    with ears(net.hosts[0], "onvif", "--refresh", "1") as heard, camera(net.hosts[1], *NAMED) as process:
        heard.hear("the camera", key=ONE)
        process.send_signal(signal.SIGKILL)
        heard.until(lambda: heard.lost(ONE), "its loss")


@on_network(hosts=4)
def test_spoofed_bye_removes_no_living_camera(net: Network) -> None:
    with ears(net.hosts[0], "onvif") as heard, camera(net.hosts[1], *NAMED):
        heard.hear("the camera", key=ONE)
        for _ in range(8):  # each is looked into for a second, in which a question that is under way may end it
            lie(net.hosts[2], "onvif-bye", "--endpoint", ONE, "--address", "10.77.0.2", "--port", "8443")
        with camera(net.hosts[3], "--onvif", "--endpoint", "urn:uuid:gone"):
            heard.hear("another one", key="urn:uuid:gone")
        heard.until(lambda: heard.lost("urn:uuid:gone"), "a goodbye that is true")
    assert [one["key"] for one in heard.told if one["kind"] == "Lost"] == ["urn:uuid:gone"]


@on_network(hosts=3)
def test_who_answers_to_a_living_cameras_endpoint_is_told_beside_it(net: Network) -> None:
    with ears(net.hosts[0], "onvif", "--refresh", "1") as heard, camera(net.hosts[1], *NAMED):
        true = heard.hear("the camera", key=ONE)
        lie(net.hosts[2], "onvif-hello", "--endpoint", ONE, "--address", "10.77.0.3", "--port", "666")
        heard.hear("the impostor", key=f"{ONE}#other", addresses=["10.77.0.3"], port=666)
        again = heard.hear("it again", key=ONE, after=len(heard.sightings(key=ONE)))
    assert (again["addresses"], again["port"]) == (true["addresses"], true["port"])


@on_network(hosts=3)
def test_false_answers_are_refused_each_by_its_rule(net: Network) -> None:
    """Unasked, without an endpoint, bombs, files, names, other hosts, loopback, too long, too many, half, no XML."""
    liar = lying(net.hosts[2], "onvif-answers", "--address", "10.77.0.3", "--port", "80")
    with liar as process, ears(net.hosts[0], "onvif") as heard:
        assert process.stdout is not None
        for _ in range(4):
            assert "answered" in json.loads(process.stdout.readline())
        with camera(net.hosts[1], *NAMED):
            heard.hear("the camera", key=ONE)
    told = {one["key"] for one in heard.sightings()} - {ONE}
    many = {f"urn:uuid:many-{number}" for number in range(40)}
    assert len(told & many) == 16, "the first of too many"
    odd = {key for key in told - many if "#" in key}
    assert len(odd) == 1, "an unprintable character is told of as such"
    assert all(key.isprintable() for key in told)
    assert told - many - odd == set()


@on_network(hosts=3)
def test_who_speaks_from_an_address_that_is_not_on_the_link_is_not_heard(net: Network) -> None:
    net.hosts[2].add_address("192.0.2.7/24")
    near = ("--address", "10.77.0.3")
    with ears(net.hosts[0], "onvif") as heard:
        for number in range(3):
            lie(net.hosts[2], "onvif-hello", "--endpoint", f"urn:uuid:off-{number}", "--from", "192.0.2.7", *near)
        lie(net.hosts[2], "onvif-hello", "--endpoint", "urn:uuid:near", *near)
        heard.hear("who is near", key="urn:uuid:near")
    assert [one["key"] for one in heard.sightings()] == ["urn:uuid:near"]


@on_network(hosts=3)
def test_flood_of_devices_hides_no_camera(net: Network) -> None:
    with ears(net.hosts[0], "onvif") as heard:
        lie(net.hosts[2], "onvif-flood", "--count", "2000", "--address", "10.77.0.3")
        with camera(net.hosts[1], *NAMED):
            heard.hear("the camera", key=ONE)
    assert len(heard.sightings(addresses=["10.77.0.3"])) < 1000, "one sender has a share"


@on_network(hosts=2)
def test_what_scopes_give_away_is_told(net: Network) -> None:
    scopes = ("onvif://www.onvif.org/serial/4711", "onvif://www.onvif.org/MAC/b8:a4:4f:0a:98:a1")
    options = [word for scope in scopes for word in ("--scope", scope)]
    with camera(net.hosts[1], "--onvif", *options), ears(net.hosts[0], "onvif") as heard:
        found = heard.hear("the camera", service="onvif")
    assert [one["code"] for one in found["leaks"]] == ["mac", "serial"]


@on_network(hosts=1)
def test_link_that_comes_later_is_asked_on(net: Network) -> None:
    agent = net.host()
    with camera(net.hosts[0], *NAMED), ears(agent, "onvif") as heard:
        heard.until(lambda: any(one["reason"] == "no_interface" for one in heard.troubles), "why there is nothing")
        net.plug(agent)
        agent.add_address("10.77.0.9/24")
        heard.hear("the camera", key=ONE)
