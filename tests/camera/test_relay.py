"""I10, ERASE: whoever merely announces an address and passes the handshake on stops neither collection nor deletes.

The camera's key is proved there, so only what is answered tells it from the camera's own.
"""

import contextlib
import os
import socket
import threading

import pytest

from agent.camera import session
from agent.camera.identity import Address
from agent.camera.link import CameraLink
from agent.clock import monotonic_s
from agent.errors import LinkError
from agent.sealer import fetching
from tests.camera.place import LIMIT_S, Place
from tests.camera.relay import Relay
from tests.waiting import until

CONTENT = os.urandom(400_000)


@pytest.mark.parametrize(
    "upto", [14_000, 60_000], ids=["cuts in the first record of content", "cuts after a few records"]
)
def test_relay_that_lets_lists_through_and_cuts_content_stops_no_collection(place: Place, upto: int) -> None:
    place.record(CONTENT)
    with Relay(place.address(), upto=upto) as relay:
        place.at = (relay.address, place.address())
        place.collect(place.is_clean())
        assert relay.calls >= 2, "it was believed first, and its content was cut"
    assert place.contents() == [CONTENT]


def test_relay_that_cut_content_is_used_no_more_while_the_camera_answers(place: Place) -> None:
    calls: list[int] = []
    with Relay(place.address(), upto=14_000) as relay:
        place.at = (relay.address, place.address())
        place.record(CONTENT)

        def taken_and_three_more_too() -> bool:
            taken = len(place.objects())
            if taken and not calls:
                calls.append(relay.calls)
                for _ in range(3):
                    place.record(os.urandom(100_000))
            return taken == 1 + 3

        place.collect(taken_and_three_more_too)
        assert relay.calls == calls[0]


def test_relay_that_lets_nothing_but_the_handshake_through_stops_no_delete(place: Place) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    place.erase(place.only().id)
    with Relay(place.address(), handshake=True) as relay:
        place.at = (relay.address, place.address())
        place.collect(lambda: place.card() == {})
        assert relay.calls >= 1


def test_relay_that_never_answers_behind_the_handshake_stops_no_delete(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "STILL_S", 1.0)  # and the camera answers sooner, also on a busy machine
    place.record(b"content")
    place.collect(place.is_clean())
    place.erase(place.only().id)
    with Relay(place.address(), handshake=True, silent=True) as relay:
        place.at = (relay.address, place.address())
        place.collect(lambda: place.card() == {})
        assert relay.calls >= 1


def test_relay_that_was_met_while_the_camera_blinked_gives_way_to_it(place: Place) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    place.erase(place.only().id)
    with Relay(place.address(), handshake=True) as relay:
        place.at = (Address("127.0.0.1", 1), relay.address)  # the camera restarts

        def back_once_the_relay_was_used() -> bool:
            if relay.calls >= 2:
                place.at = (place.address(), relay.address)
            return place.card() == {}

        place.collect(back_once_the_relay_was_used)


def test_many_relays_are_each_tried_before_the_camera_and_none_twice(place: Place) -> None:
    place.record(CONTENT)
    with contextlib.ExitStack() as stack:
        relays = [stack.enter_context(Relay(place.address(), handshake=True)) for _ in range(12)]
        place.at = (*(relay.address for relay in relays), place.address())
        place.collect(place.is_clean(), call_s=20.0)
        assert [relay.calls for relay in relays] == [1] * 12
    assert place.contents() == [CONTENT]


def test_more_silent_addresses_than_one_pass_tries_keep_no_camera_waiting_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.camera.tls.HANDSHAKE_S", 0.25)
    place.record(b"content")
    with contextlib.ExitStack() as silent:
        ports = [silent.enter_context(socket.create_server(("127.0.0.3", 0))).getsockname()[1] for _ in range(20)]
        place.at = (*(Address("127.0.0.3", port) for port in ports), place.address())
        place.collect(place.is_clean(), call_s=120.0)
    assert place.contents() == [b"content"]


def test_relay_that_stands_still_in_the_content_is_given_up_for_the_camera(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "STILL_MAX_S", 1.0)  # and the camera gives more sooner, also on a busy machine
    place.still_s = 0.05
    place.record(CONTENT)
    with Relay(place.address(), upto=60_000, silent=True) as relay:
        place.at = (relay.address, place.address())
        place.collect(place.is_clean())
        assert relay.calls >= 2
    assert place.contents() == [CONTENT]


def test_link_that_is_ended_asks_nowhere_else(place: Place) -> None:
    place.stand.do(lambda: place.stand.device.faults.add("link-silent"))
    failures: list[LinkError] = []
    with Relay(place.address()) as relay:
        link = CameraLink(pinned=place.pinned, credentials=place.credentials, monotonic=monotonic_s)
        link.meet((place.address(), relay.address))

        def ask() -> None:
            try:
                link.status()
            except LinkError as error:
                failures.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: link.at, what="a session", within_s=LIMIT_S)
        link.end()
        asking.join()
        link.close()
        assert relay.calls == 0
    assert len(failures) == 1


def test_session_at_an_address_where_a_recording_was_cut_is_left(place: Place) -> None:
    with Relay(place.address()) as relay:
        addresses = (relay.address, place.address())
        link = CameraLink(pinned=place.pinned, credentials=place.credentials, monotonic=monotonic_s)
        link.meet(addresses)
        link.status()
        assert link.at == relay.address
        link.broke(relay.address)
        link.meet(addresses)
        link.status()
        assert link.at == place.address()
        link.close()


def test_recording_is_fetched_elsewhere_where_nobody_takes_the_connection_and_so_is_all_that_follows(
    place: Place,
) -> None:
    place.record(CONTENT)
    with Relay(place.address()) as relay:
        place.at = (place.address(), relay.address)
        place.stolen[place.address()] = Address("127.0.0.1", 1)
        place.collect(lambda: place.is_clean()() and place.met[-1:] == [relay.address])
    assert place.contents() == [CONTENT]
