"""Who may do what: the set-up window, the one agent, and everybody else (docs/camera-link.md §2, §3)."""

import json
import socket
import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_sim.camera.device import Device, fingerprint
from device_sim.camera.kid import kid_of
from tests.link_server.stand import NOW, Caller, Stand, anonymous, shown

PATHS = [
    ("GET", "/v1/camera"),
    ("GET", "/v1/collection"),
    ("PUT", "/v1/collection"),
    ("GET", "/v1/recordings"),
    ("DELETE", "/v1/recordings?all=true"),
    ("DELETE", "/v1/recordings/r0000000001"),
    ("GET", "/v1/recordings/r0000000001/content"),
    ("PUT", "/v1/recordings/r0000000001/acknowledged"),
    ("DELETE", "/v1/agent"),
    ("GET", "/v1/no-such-path"),
]


def test_certificate_is_for_the_key_and_the_id_of_the_label(stand: Stand, other: Caller) -> None:
    certificate = shown(stand.port, other.context())
    said = f"PVCAM:1:{stand.device.id}:{fingerprint(kid_of(certificate.public_key())).replace(' ', '')}".upper()
    assert stand.device.label == said
    assert certificate.subject.rfc4514_string() == f"CN={stand.device.id}"


@pytest.mark.parametrize(("method", "target"), PATHS)
def test_stranger_is_refused_everything_before_and_after_the_pairing(
    stand: Stand, other: Caller, tmp_path: Path, method: str, target: str
) -> None:
    stand.record(b"a clip")
    assert other.ask(stand.port, method, target).code == (403, "not_paired")
    stand.pair(Caller(tmp_path / "agent"))
    kept = stand.record(b"a clip")
    assert other.ask(stand.port, method, target).code == (403, "not_paired")
    assert stand.do(stand.device.card.entries) == [kept]


def test_first_agent_in_the_window_is_pinned_and_the_window_closes(stand: Stand, other: Caller, tmp_path: Path) -> None:
    agent = Caller(tmp_path / "agent")
    assert agent.ask(stand.port, "PUT", "/v1/agent", {"kid": agent.kid}).code == (403, "setup_closed")
    stand.do(stand.device.open_setup)
    first = agent.ask(stand.port, "PUT", "/v1/agent", {"kid": agent.kid})
    assert first.status == 201
    assert not stand.device.setup_open
    stand.do(stand.device.open_setup)
    assert other.ask(stand.port, "PUT", "/v1/agent", {"kid": other.kid}).code == (403, "paired_elsewhere")
    again = agent.ask(stand.port, "PUT", "/v1/agent", {"kid": agent.kid})
    assert again.status == 200
    assert again.json["advert_key"] == first.json["advert_key"]
    assert agent.ask(stand.port, "GET", "/v1/camera").json["advert_key"] == first.json["advert_key"]


def test_window_closes_by_itself(stand: Stand, other: Caller) -> None:
    stand.do(stand.device.open_setup)
    stand.hands.turn(timedelta(minutes=5))
    assert other.ask(stand.port, "PUT", "/v1/agent", {"kid": other.kid}).code == (403, "setup_closed")


def test_pairing_is_on_the_disk_before_it_is_answered(stand: Stand, agent: Caller) -> None:
    again = Device(stand.device.folder, now=lambda: NOW, monotonic=lambda: 0.0)
    assert again.agent == agent.kid
    assert again.advert_key == stand.device.advert_key != b""


def test_kid_of_another_key_pairs_nobody(stand: Stand, agent: Caller, tmp_path: Path) -> None:
    assert agent.ask(stand.port, "DELETE", "/v1/agent").status == 204
    stand.do(stand.device.open_setup)
    liar = Caller(tmp_path / "liar")
    assert liar.ask(stand.port, "PUT", "/v1/agent", {"kid": agent.kid}).code == (400, "bad_request")
    assert stand.device.agent == ""
    assert stand.device.setup_open


def test_agent_with_an_ed25519_key_pairs(stand: Stand, tmp_path: Path) -> None:
    agent = Caller(tmp_path / "agent", Ed25519PrivateKey.generate())
    stand.pair(agent)
    assert agent.ask(stand.port, "GET", "/v1/camera").status == 200


def test_no_certificate_ends_the_handshake(stand: Stand) -> None:
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        _first_word(stand.port, anonymous())


def test_tls_12_ends_the_handshake(stand: Stand, agent: Caller) -> None:
    context = agent.context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        shown(stand.port, context)


def _first_word(port: int, context: ssl.SSLContext) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain, context.wrap_socket(plain) as line:
        line.sendall(b"GET /v1/camera HTTP/1.1\r\nHost: x\r\n\r\n")
        return line.recv(1)


def test_unpaired_camera_forgets_and_stops(stand: Stand, agent: Caller) -> None:
    agent.ask(stand.port, "PUT", "/v1/collection", {"enabled": True})
    announced = stand.device.rotating_id
    assert agent.ask(stand.port, "DELETE", "/v1/agent").status == 204
    assert (stand.device.agent, stand.device.advert_key, stand.device.collecting) == ("", b"", False)
    assert stand.device.rotating_id != announced
    assert agent.ask(stand.port, "GET", "/v1/camera").code == (403, "not_paired")


@pytest.mark.parametrize("who", ["agent", "other"])
def test_next_agent_never_gets_what_was_recorded_for_the_one_before(
    stand: Stand, agent: Caller, other: Caller, who: str
) -> None:
    entry = stand.record(b"a clip")
    agent.ask(stand.port, "DELETE", "/v1/agent")
    following = {"agent": agent, "other": other}[who]
    stand.pair(following)
    listed = following.ask(stand.port, "GET", "/v1/recordings").json["recordings"]
    assert [one["id"] for one in listed] == ([entry.id] if who == "agent" else [])


def test_agent_is_not_changed_while_the_old_recordings_cannot_be_deleted(
    stand: Stand, agent: Caller, other: Caller
) -> None:
    entry = stand.record(b"a clip")
    agent.ask(stand.port, "DELETE", "/v1/agent")
    stand.do(stand.device.open_setup)
    stand.do(lambda: stand.device.break_("card-missing"))
    assert other.ask(stand.port, "PUT", "/v1/agent", {"kid": other.kid}).code == (503, "storage_missing")
    stand.do(lambda: stand.device.mend("card-missing"))
    assert stand.device.agent == ""
    assert stand.do(stand.device.card.entries) == [entry]


def test_reset_leaves_its_label_and_nothing_else(stand: Stand, agent: Caller) -> None:
    label = stand.device.label
    stand.record(b"a clip")
    number = stand.do(stand.device.next_number)
    stand.do(lambda: stand.device.break_("reset"))
    assert stand.device.label == label
    assert stand.do(stand.device.card.entries) == []
    assert stand.do(stand.device.next_number) > number, "ids are never used twice"
    assert agent.ask(stand.port, "GET", "/v1/camera").code == (403, "not_paired")


def test_changed_identity_shows_another_key_under_the_same_id(stand: Stand, agent: Caller) -> None:
    true = shown(stand.port, agent.context())
    stand.do(lambda: stand.device.break_("identity-changed"))
    false = shown(stand.port, agent.context())
    assert false.subject == true.subject
    assert kid_of(false.public_key()) != kid_of(true.public_key())
    stand.do(lambda: stand.device.mend("identity-changed"))
    assert shown(stand.port, agent.context()) == true


def test_state_is_its_owners_alone(stand: Stand, agent: Caller) -> None:
    assert agent.kid
    stand.record(b"a clip")
    for path in (stand.device.folder, *stand.device.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_rotating_id_is_the_documents(stand: Stand, agent: Caller) -> None:
    assert agent.kid
    settings = json.loads((stand.device.folder / "device.json").read_text())
    settings["advert_key"] = bytes(range(32)).hex()
    (stand.device.folder / "device.json").write_text(json.dumps(settings))
    at = NOW.replace(day=26)
    device = Device(stand.device.folder, now=lambda: at, monotonic=lambda: 0.0)
    assert device.rotating_id == "ewyjkd5kfj4utll5"
