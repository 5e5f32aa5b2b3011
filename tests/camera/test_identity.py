"""Whoever answers is believed by its key alone: an impostor is sent nothing, and the real camera is collected from."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from agent.camera.identity import Address, Pinned
from agent.camera.link import CameraLink
from agent.clock import monotonic_s
from agent.errors import LinkError
from agent.sources.camera import PROVED_S
from device_sim.camera.device import new_identity
from tests.camera.liar import Asked, Liar
from tests.camera.place import WHEN, Place
from tests.enrolment.far_end import FarEnd, pem_of

pytestmark = pytest.mark.promise("FIND-AUTH")


def test_device_with_another_key_is_sent_nothing_and_told(place: Place, tmp_path: Path) -> None:
    other = new_identity(place.stand.device.id, WHEN)
    with Liar(tmp_path / "liar", other) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = b"forged"
        place.collect(lambda: len(place.impostors) >= 2)
        assert (liar.listed, liar.fetched, liar.acknowledged) == (0, [], [])
        assert set(place.impostors) == {liar.address}
    assert place.objects() == ()


def test_impostor_at_one_address_keeps_nobody_from_the_camera_at_another(place: Place, tmp_path: Path) -> None:
    other = new_identity(place.stand.device.id, WHEN)
    place.record(b"real")
    with Liar(tmp_path / "liar", other) as liar:
        place.at = (liar.address, place.address())
        place.collect(place.is_clean())
        assert place.impostors == [liar.address]
        assert liar.listed == 0
    assert place.contents() == [b"real"]


def test_certificate_that_names_another_camera_is_refused_though_the_key_is_right(place: Place) -> None:
    pinned = Pinned(device="a" * 16, kid=place.pinned.kid)
    link = CameraLink(pinned=pinned, credentials=place.credentials, monotonic=monotonic_s)
    link.meet((place.address(),))
    with pytest.raises(LinkError):
        link.status()
    link.close()


def test_camera_that_refuses_this_agent_late_is_away_though_the_handshake_ended_well(place: Place) -> None:
    """TLS 1.3 tells whoever calls only after that; a session is one when something was answered in it."""
    known, stranger = place.stand.device.identity, new_identity("b" * 16, WHEN)
    pinned = stranger.certificate.public_bytes(Encoding.PEM)
    link = CameraLink(pinned=place.pinned, credentials=place.credentials, monotonic=monotonic_s)
    with FarEnd(pem_of(known.key, known.certificate), caller=pinned) as far_end:
        link.meet((Address(far_end.host, far_end.port),))
        with pytest.raises(LinkError):
            link.status()
        link.close()
    assert far_end.sent == b""


def test_camera_whose_key_changed_is_refused_while_it_has_another_and_collected_from_after(place: Place) -> None:
    place.record(b"content")
    place.stand.do(lambda: place.stand.device.faults.add("identity-changed"))
    place.collect(lambda: len(place.impostors) >= 1)
    assert place.objects() == ()
    place.stand.do(lambda: place.stand.device.faults.discard("identity-changed"))
    place.collect(place.is_clean())
    assert place.contents() == [b"content"]


def test_camera_that_is_switched_off_is_proved_anew_every_two_minutes(place: Place) -> None:
    """Nothing is fetched from it, so the session in which it was proved once went on for ever."""
    place.collecting = False
    changed: list[bool] = []

    def refused() -> bool:
        if not changed and len(place.met) >= 2:
            place.stand.do(lambda: place.stand.device.faults.add("identity-changed"))
            place.later_s += PROVED_S
            changed.append(True)
        return len(place.impostors) >= 1

    place.collect(refused)
    assert set(place.impostors) == {place.address()}


def test_impostor_that_takes_the_address_between_list_and_fetch_gives_nothing(place: Place, tmp_path: Path) -> None:
    other = new_identity(place.stand.device.id, WHEN)
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar, Liar(tmp_path / "thief", other) as thief:
        place.at = (liar.address,)
        for one in (liar, thief):
            one.contents["a"] = b"content"
        place.stolen[liar.address] = thief.address
        sessions: set[int] = set()

        def listing(asked: Asked, query: dict[str, str]) -> None:
            sessions.add(asked.client_address[1])
            liar.list_truly(asked, query)

        liar.on_list = listing
        # Who is at the address is proved anew then, so that an impostor who stays there is told of.
        flow = place.collect(lambda: "source_failed" in [event.kind for event in place.events] and len(sessions) > 1)
        assert thief.fetched == []
        assert flow.counts["admitted"] == 0
        place.stolen.clear()
        place.collect(lambda: liar.acknowledged == ["a"])
    assert place.contents() == [b"content"]


def test_camera_in_its_set_up_window_is_paired_and_one_that_forgot_us_is_not_paired_again(place: Place) -> None:
    device = place.stand.device
    place.stand.do(device.unpair)
    place.stand.do(device.open_setup)
    place.record(b"content")
    place.collect(place.is_clean())
    assert place.contents() == [b"content"]
    place.pairs = False  # as the agent does once it was paired
    place.stand.do(device.unpair)
    place.stand.do(device.open_setup)
    place.collect(lambda: "source_failed" in [event.kind for event in place.events])
    assert not device.agent
