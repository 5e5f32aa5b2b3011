"""`docs/vectors/ble.json` is read by the agent's half and by the simulator's: good is taken, the rest refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from agent.discovery.ble.advert import rotating_id
from agent.discovery.ble.proof import AgentKey, Claim, open_proof
from agent.discovery.ble.session import Session
from agent.envelope import PrivateKey, b64url_decode
from agent.errors import AgentError, CorruptError
from device_sim.ble.wire import Talk, WireError
from tests.docs.ble_vectors import camera_of

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "vectors" / "ble.json").read_text(encoding="utf-8")
)
PROOF: dict[str, str] = VECTORS["proof"]
REFUSED: dict[str, list[dict[str, str]]] = VECTORS["refused"]


def private(party: str) -> PrivateKey:
    secret = b64url_decode(VECTORS[party]["private_jwk"]["d"])
    if VECTORS[party]["alg"] == "EdDSA":
        return Ed25519PrivateKey.from_private_bytes(secret)
    return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())


def sign(words: bytes) -> bytes:
    key = private("agent")
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(words)
    r, s = decode_dss_signature(key.sign(words, ECDSA(SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def raw(name: str) -> bytes:
    return bytes.fromhex(PROOF[name])


def agent_says() -> Claim:
    made = iter([bytes.fromhex(PROOF["agent_x25519_secret"]), raw("message_1")[1:17]])
    opening = open_proof(
        AgentKey(VECTORS["agent"]["jwk"], sign),
        camera_kid=VECTORS["camera"]["kid"],
        advert_key=bytes.fromhex(VECTORS["advert_key"]),
        random=lambda _count: next(made),
    )
    assert opening.message == raw("message_1")
    return opening.claim(raw("message_2"))


def camera_says() -> Talk:
    made = iter([bytes.fromhex(PROOF["camera_x25519_secret"]), raw("message_2")[1:17]])
    camera = camera_of(
        private("camera"), agent=VECTORS["agent"]["kid"], advert_key=bytes.fromhex(VECTORS["advert_key"])
    )
    talk = Talk(camera, random=lambda _count: next(made))
    talk.hear(raw("message_1"), now_s=0)
    assert talk.answer == raw("message_2")
    talk.hear(raw("message_3"), now_s=0)
    return talk


def session() -> Session:
    return agent_says().session(raw("message_4"))


def test_rotating_id_is_that_of_the_vector() -> None:
    key, advert = bytes.fromhex(VECTORS["advert_key"]), VECTORS["advert"]
    assert rotating_id(key, unix_day=advert["unix_day"]).hex() == advert["rotating_id"]


def test_agent_says_the_third_message_and_takes_the_fourth() -> None:
    assert agent_says().message == raw("message_3")
    session()


def test_camera_takes_the_third_message_and_says_the_fourth() -> None:
    talk = camera_says()
    assert talk.up
    assert talk.answer == raw("message_4")


def test_agent_reads_every_state() -> None:
    up = session()
    for told in VECTORS["states"]:
        state = up.state(bytes.fromhex(told["value"]))
        assert state is not None
        shown = (state.recording, state.collection, state.storage, state.taken)
        assert shown == (told["recording"], told["collection"], told["storage"], told["taken"])


def test_agent_says_every_switch() -> None:
    up = session()
    for told in VECTORS["switches"]:
        assert up.switch(collection=told["collection"])[0].hex() == told["value"]


@pytest.mark.parametrize("vector", REFUSED["message_2"], ids=lambda one: one["why"])
def test_agent_refuses_the_second_message(vector: dict[str, str]) -> None:
    made = iter([bytes(range(32)), bytes(16)])
    opening = open_proof(
        AgentKey(VECTORS["agent"]["jwk"], sign),
        camera_kid=VECTORS["camera"]["kid"],
        advert_key=bytes.fromhex(VECTORS["advert_key"]),
        random=lambda _count: next(made),
    )
    with pytest.raises(CorruptError):
        opening.claim(bytes.fromhex(vector["value"]))


@pytest.mark.parametrize("vector", REFUSED["message_4"], ids=lambda one: one["why"])
def test_agent_refuses_the_fourth_message(vector: dict[str, str]) -> None:
    with pytest.raises(AgentError):
        agent_says().session(bytes.fromhex(vector["value"]))


@pytest.mark.parametrize("vector", REFUSED["states"], ids=lambda one: one["why"])
def test_agent_refuses_the_state(vector: dict[str, str]) -> None:
    with pytest.raises(CorruptError):
        session().state(bytes.fromhex(vector["value"]))


@pytest.mark.parametrize("vector", REFUSED["switches"], ids=lambda one: one["why"])
def test_camera_takes_every_switch_once_and_refuses_the_rest(vector: dict[str, str]) -> None:
    talk = camera_says()
    for told in VECTORS["switches"]:
        talk.switch(bytes.fromhex(told["value"]))
    with pytest.raises(WireError):
        talk.switch(bytes.fromhex(vector["value"]))
