"""The simulated backend: what it sends, what it believes, and what it can be made to send."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device_sim.cloud import jws, sealing, wire
from device_sim.cloud.backend import Backend
from device_sim.cloud.failure import MessageError
from device_sim.cloud.jws import SigningKey
from device_sim.cloud.service import Cloud
from tests.sim.cloud_line import DEVICE, BrokerPlace, Line, line
from tests.sim.fake_device import NOW_S, TENANT, FakeDevice, new_id, stranger


@pytest.fixture
def running(tmp_path: Path, broker_place: BrokerPlace) -> Iterator[Line]:
    with line(tmp_path, broker_place) as made:
        yield made


def receive_command(made: FakeDevice, number: int = 0) -> bytes:
    """Return the signed bytes of the ``number``-th command that arrived."""
    made.wait_until(lambda: len(made.raw) > number)
    topic, payload, retained = made.raw[number]
    assert topic == f"pv1/{TENANT}/{DEVICE}/cmd"
    assert payload[0] == wire.BYTE["command"]
    assert not retained
    return sealing.unseal(payload[1:], made.age_identity)


def answer(made: FakeDevice, issuer: Backend, cmd: str, *, key: SigningKey | None = None, **claims: Any) -> str:  # noqa: ANN401 - claims
    """Send a receipt; returns its ``jti``."""
    jti = new_id()
    whole = {
        "iss": made.id, "aud": issuer.party.kid, "iat": NOW_S, "jti": jti, "cmd": cmd, "verb": "delete",
        "status": "done", "seq": 1, **claims,
    }  # fmt: skip
    signer = key or made.key
    signed = jws.sign(whole, signer, typ="pv1.receipt", kid=made.key.kid)
    made.send(f"rcpt/{issuer.party.kid}", bytes([wire.BYTE["receipt"]]) + sealing.seal(signed, issuer.party.recipient))
    return jti


def test_command_is_signed_sealed_and_has_all_claims(running: Line) -> None:
    jti = running.cloud.backend.command("delete", select={"all": True})
    signed = receive_command(running.device)
    claims = jws.verify(jws.parse(signed), running.cloud.backend.party.signing.public, typ="pv1.command")
    assert claims == {
        "iss": running.cloud.backend.party.kid, "aud": DEVICE, "iat": NOW_S, "exp": NOW_S + 7 * 86_400, "jti": jti,
        "seq": 1, "verb": "delete", "select": {"all": True},
    }  # fmt: skip


def test_sequence_counts_per_key_and_survives_a_restart(running: Line, broker_place: BrokerPlace) -> None:
    assert running.cloud.client is not None
    for issuer in (running.cloud.backend, running.cloud.client):
        issuer.command("inventory", select={"all": True})
    running.cloud.backend.command("inventory", select={"all": True})
    sent = [jws.parse(receive_command(running.device, number)).unverified_payload for number in range(3)]
    assert [b'"seq":1,' in one for one in sent] == [True, True, False]
    running.cloud.offline()
    descriptor = running.folder / f"{DEVICE}.jws"
    with Cloud(
        running.folder,
        broker=broker_place.url,
        tenant=TENANT,
        identity=broker_place.backend,
        descriptors=[descriptor],
    ) as later:
        assert later.backend.next_seq() == 3
        assert later.client is not None
        assert later.client.next_seq() == 2


def test_terminal_receipt_is_verified_and_acknowledged(running: Line) -> None:
    backend = running.cloud.backend
    jti = backend.command("delete", select={"all": True})
    answer(running.device, backend, jti, status="accepted")
    done = answer(running.device, backend, jti, status="done")
    receipt = backend.wait(jti)
    assert (receipt.jti, receipt.status, receipt.device) == (done, "done", DEVICE)
    assert [one.status for one in backend.receipts(jti)] == ["accepted", "done"]
    running.device.wait_until(lambda: len(running.device.raw) > 1)
    payload = running.device.raw[1][1]
    assert payload[0] == wire.BYTE["ack"]
    acks = jws.verify(jws.parse(payload[1:]), backend.party.signing.public, typ="pv1.ack")
    assert acks == {"iss": backend.party.kid, "aud": DEVICE, "iat": NOW_S, "acks": [done]}


def test_receipt_that_is_not_the_devices_is_dropped(running: Line) -> None:
    backend = running.cloud.backend
    jti = backend.command("delete", select={"all": True})
    answer(running.device, backend, jti, key=SigningKey.generate())
    answer(running.device, backend, new_id())
    answer(running.device, backend, jti, aud="somebody")
    reasons = [str(running.journal.wait("dropped", kind="receipt", count=number)["why"]) for number in (1, 2, 3)]
    assert "signature" in reasons[0]
    assert "did not send" in reasons[1]
    assert "not from this device" in reasons[2]
    assert backend.receipts(jti) == ()


def test_unfinished_command_is_sent_again_when_the_device_comes_online(running: Line) -> None:
    backend = running.cloud.backend
    open_jti = backend.command("delete", select={"all": True})
    done_jti = backend.command("inventory", select={"all": True})
    answer(running.device, backend, done_jti)
    backend.wait(done_jti)
    state = {"iss": DEVICE, "iat": NOW_S, "online": True, "session": 1}
    signed = jws.sign(dict(state), running.device.key, typ="pv1.state")
    running.device.send("state", bytes([wire.BYTE["state"]]) + signed)
    running.journal.wait("resent")
    assert [event["jti"] for event in running.journal.events("resent")] == [open_jti]
    running.device.wait_until(lambda: len(running.device.raw) > 3)
    assert receive_command(running.device, 3) == backend.command_bytes(open_jti)


def test_state_of_an_older_session_does_not_count(running: Line) -> None:
    """A will that a broker sends late may not turn a device offline that has come back."""
    for session, online in ((2, True), (1, False)):
        state: dict[str, object] = {"iss": DEVICE, "iat": NOW_S, "online": online, "session": session}
        running.device.send("state", bytes([0x40]) + jws.sign(state, running.device.key, typ="pv1.state"))
    running.journal.wait("dropped", kind="state")
    state_now = running.cloud.backend.state()
    assert state_now is not None
    assert state_now["online"] is True


def test_alert_is_read_by_the_one_it_is_sealed_to(running: Line) -> None:
    client = running.cloud.client
    assert client is not None
    jti = new_id()
    claims: dict[str, object] = {"iss": DEVICE, "aud": client.party.kid, "iat": NOW_S, "jti": jti, "code": "disk_full"}
    signed = jws.sign(claims, running.device.key, typ="pv1.alert")
    running.device.send("alert", bytes([wire.BYTE["alert"]]) + sealing.seal(signed, client.party.recipient))
    running.journal.wait("alert", code="disk_full")
    assert [alert["jti"] for alert in client.alerts()] == [jti]
    assert running.cloud.backend.alerts() == ()
    running.device.wait_until(lambda: running.device.raw)
    assert jti.encode() in jws.parse(running.device.raw[0][1][1:]).unverified_payload


def test_hostile_helpers_put_on_the_wire_what_they_are_told(running: Line) -> None:
    backend = running.cloud.backend
    claims: dict[str, object] = {"iss": backend.party.kid, "aud": DEVICE}
    backend.send_raw(b"\x01nonsense")
    backend.send_raw(backend.craft(claims, signer=stranger(), kid=backend.party.kid))
    backend.send_raw(backend.craft(claims, seal_to=""))
    jti = backend.command("delete", select={"all": True}, exp=NOW_S - 1, extra="claim")
    backend.replay(jti)
    running.device.wait_until(lambda: len(running.device.raw) >= 5)
    bodies = [payload[1:] for _, payload, _ in running.device.raw]
    assert bodies[0] == b"nonsense"
    forged = jws.parse(sealing.unseal(bodies[1], running.device.age_identity))
    with pytest.raises(MessageError, match="signature"):
        jws.verify(forged, backend.party.signing.public, typ="pv1.command")
    assert jws.verify(jws.parse(bodies[2]), backend.party.signing.public, typ="pv1.command") == claims
    assert receive_command(running.device, 3) == receive_command(running.device, 4) == backend.command_bytes(jti)


def test_retained_command_stays_at_the_broker_until_it_is_cleared(running: Line, broker_place: BrokerPlace) -> None:
    backend = running.cloud.backend
    jti = backend.command("inventory", select={"all": True})
    backend.replay(jti, retain=True)
    running.device.wait_until(lambda: len(running.device.raw) >= 2)
    running.device.stop()
    running.device.start()
    running.device.wait_until(lambda: any(retained for _, _, retained in running.device.raw))
    backend.send_raw(b"", retain=True)
    running.device.wait_until(lambda: running.device.raw[-1][1] == b"")
    assert broker_place.url
