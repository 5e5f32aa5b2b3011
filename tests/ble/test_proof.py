"""The proof of docs/ble.md, the agent's half against the simulator's, both read from the document alone."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent.discovery.ble.proof import AgentKey, Claim, Opening, open_proof
from agent.discovery.ble.session import Session
from agent.envelope import PrivateKey, b64url, public_jwk, raw_signature, thumbprint
from agent.errors import AgentError, CorruptError, RefusedError
from device_sim.ble.camera import BareCamera, kid_bytes
from device_sim.ble.wire import PROOF_S, Talk, WireError

pytestmark = pytest.mark.promise("FIND-AUTH")

MAKES: list[Callable[[], PrivateKey]] = [
    lambda: ec.generate_private_key(ec.SECP256R1()),
    Ed25519PrivateKey.generate,
]


def agent_of(key: PrivateKey) -> AgentKey:
    return AgentKey(public_jwk(key), lambda words: raw_signature(key, words))


@dataclass
class Pair:
    agent: AgentKey
    camera: BareCamera

    def open(self, *, kid: str = "", advert_key: bytes = b"", agent: AgentKey | None = None) -> Opening:
        return open_proof(
            agent or self.agent,
            camera_kid=kid or self.kid,
            advert_key=advert_key or self.camera.advert_key,
            random=os.urandom,
        )

    @property
    def kid(self) -> str:
        return b64url(kid_bytes(self.camera.key.public_key()))

    def claim(self, talk: Talk) -> Claim:
        opening = self.open()
        talk.hear(opening.message, now_s=0)
        claim = opening.claim(talk.answer)
        talk.hear(claim.message, now_s=1)
        return claim

    def session(self) -> tuple[Session, Talk]:
        talk = Talk(self.camera)
        return self.claim(talk).session(talk.answer), talk


def pair(agent: PrivateKey | None = None, camera: PrivateKey | None = None) -> Pair:
    own = agent_of(agent or ec.generate_private_key(ec.SECP256R1()))
    return Pair(own, BareCamera(agent=thumbprint(own.jwk), now_s=lambda: 0.0, key=camera))


@pytest.mark.parametrize("make_agent", MAKES)
@pytest.mark.parametrize("make_camera", MAKES)
def test_each_proves_itself_to_the_other_whatever_kind_of_key(
    make_agent: Callable[[], PrivateKey], make_camera: Callable[[], PrivateKey]
) -> None:
    session, talk = pair(make_agent(), make_camera()).session()
    state = session.state(talk.state())
    assert state is not None
    assert talk.up


# --- who is not the camera


def impostor(two: Pair, other: BareCamera, *, minds: bool = True) -> None:
    talk = Talk(other, minds=minds)
    opening = two.open()
    talk.hear(opening.message, now_s=0)
    claim = opening.claim(talk.answer)
    talk.hear(claim.message, now_s=0)
    claim.session(talk.answer)


def test_another_key_is_refused_by_the_camera_itself_and_by_the_agent() -> None:
    two = pair()
    other = BareCamera(agent=two.camera.agent, now_s=lambda: 0.0)
    other.advert_key = two.camera.advert_key
    with pytest.raises(WireError, match="signature"):
        impostor(two, other)


def test_another_key_that_minds_nothing_is_refused_by_the_agent() -> None:
    """The impostor is a camera that believes every agent's signature: only the agent's own check stands."""
    two = pair()
    other = BareCamera(agent=two.camera.agent, now_s=lambda: 0.0)
    other.advert_key = two.camera.advert_key
    with pytest.raises(RefusedError) as raised:
        impostor(two, other, minds=False)
    assert raised.value.reason == "camera_impostor"
    assert "another key" in raised.value.message


def test_right_key_without_its_private_half_is_refused() -> None:
    """Who knows the camera's public key, from its label's maker or a sniffed certificate, cannot sign with it."""
    two = pair()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("device_sim.ble.wire._sign", lambda _key, _words: os.urandom(64))
        with pytest.raises(RefusedError, match="does not hold the camera's key"):
            two.session()


def test_who_does_not_hold_the_advert_key_is_refused() -> None:
    two = pair()
    talk = Talk(two.camera)
    opening = two.open()
    talk.hear(opening.message, now_s=0)
    claim = opening.claim(talk.answer)
    with pytest.raises(RefusedError, match="advert key"):
        claim.session(b"\x14" + os.urandom(145))


def test_agent_shows_nothing_of_itself_to_who_does_not_hold_the_advert_key() -> None:
    """Its key and its signature are sealed: two proofs of one agent have nothing in common that a stranger can see."""
    two = pair()
    seen = []
    for _ in range(2):
        talk = Talk(two.camera)
        seen.append(two.claim(talk).message)
    shared = [left for left, right in zip(*seen, strict=True) if left == right]
    assert len(shared) < len(seen[0]) // 8


# --- who plays again what was said


def test_earlier_proof_of_the_camera_played_again_is_refused() -> None:
    two = pair()
    talk = Talk(two.camera)
    opening = two.open()
    talk.hear(opening.message, now_s=0)
    offer = talk.answer
    talk.hear(opening.claim(offer).message, now_s=0)
    proof = talk.answer
    again = two.open()
    with pytest.raises(RefusedError):
        again.claim(offer).session(proof)


def test_earlier_proof_of_the_agent_played_again_is_refused() -> None:
    two = pair()
    talk = Talk(two.camera)
    opening = two.open()
    talk.hear(opening.message, now_s=0)
    claim = opening.claim(talk.answer)
    talk.hear(claim.message, now_s=0)
    fresh = Talk(two.camera)
    fresh.hear(opening.message, now_s=0)
    with pytest.raises(WireError, match="does not open"):
        fresh.hear(claim.message, now_s=0)


def test_proof_meant_for_one_camera_is_refused_by_another_of_the_same_agent() -> None:
    two, other = pair(), pair()
    other.camera.agent = two.camera.agent
    other.camera.advert_key = two.camera.advert_key
    talk = Talk(other.camera)
    opening = two.open()
    talk.hear(opening.message, now_s=0)
    with pytest.raises(WireError, match="signature"):
        talk.hear(opening.claim(talk.answer).message, now_s=0)


def test_agent_that_is_not_pinned_is_refused() -> None:
    two = pair()
    stranger = agent_of(ec.generate_private_key(ec.SECP256R1()))
    talk = Talk(two.camera)
    opening = two.open(agent=stranger)
    talk.hear(opening.message, now_s=0)
    with pytest.raises(WireError, match="another agent"):
        talk.hear(opening.claim(talk.answer).message, now_s=0)


def test_camera_without_an_agent_answers_nobody() -> None:
    two = pair()
    two.camera.agent = ""
    with pytest.raises(WireError, match="nobody"):
        Talk(two.camera).hear(two.open().message, now_s=0)


def test_proof_that_takes_too_long_is_forgotten() -> None:
    two = pair()
    talk = Talk(two.camera)
    opening = two.open()
    talk.hear(opening.message, now_s=0)
    with pytest.raises(WireError, match="going on"):
        talk.hear(opening.claim(talk.answer).message, now_s=PROOF_S + 1)


# --- who changes what is said


@pytest.mark.parametrize("bit", [0, 8, 200, 8 * 48])
def test_one_bit_of_the_camera_s_offer_changed_on_the_way_is_refused(bit: int) -> None:
    two = pair()
    talk = Talk(two.camera)
    opening = two.open()
    talk.hear(opening.message, now_s=0)
    changed = flipped(talk.answer, bit)
    with pytest.raises((CorruptError, WireError)):
        talk.hear(opening.claim(changed).message, now_s=0)


@pytest.mark.parametrize("bit", [8, 300, 8 * 145])
def test_one_bit_of_the_camera_s_proof_changed_on_the_way_is_refused(bit: int) -> None:
    two = pair()
    talk = Talk(two.camera)
    claim = two.claim(talk)
    with pytest.raises(RefusedError):
        claim.session(flipped(talk.answer, bit))


def test_share_of_zeros_is_refused_by_both() -> None:
    two = pair()
    opening = two.open()
    with pytest.raises(CorruptError, match="no key"):
        opening.claim(b"\x12" + bytes(48))
    with pytest.raises(WireError, match="zeros"):
        Talk(two.camera).hear(b"\x11" + bytes(48), now_s=0)


# --- the session


def test_state_that_is_played_again_or_overtaken_is_dropped_silently() -> None:
    session, talk = pair().session()
    first, second = talk.state(), talk.state()
    assert session.state(second) is not None
    assert session.state(first) is None
    assert session.state(second) is None


@pytest.mark.parametrize("bit", [0, 31, 32, 40, 8 * 18])
def test_state_that_was_changed_is_corrupt(bit: int) -> None:
    session, talk = pair().session()
    with pytest.raises(CorruptError):
        session.state(flipped(talk.state(), bit))


def test_state_of_another_session_is_corrupt() -> None:
    two = pair()
    _, before = two.session()
    old = before.state()
    session, _ = two.session()
    with pytest.raises(CorruptError):
        session.state(old)


def test_corrupt_state_does_not_move_the_counter() -> None:
    session, talk = pair().session()
    good = talk.state()
    with pytest.raises(CorruptError):
        session.state(b"\xff\xff\xff\xff" + good[4:])
    assert session.state(good) is not None


def test_switch_that_is_played_again_or_changed_is_refused_by_the_camera() -> None:
    two = pair()
    session, talk = two.session()
    on, _ = session.switch(collection=True)
    off, _ = session.switch(collection=False)
    talk.switch(on)
    talk.switch(off)
    for raw in (on, off, flipped(session.switch(collection=True)[0], 32), off[:-1]):
        with pytest.raises(WireError):
            talk.switch(raw)
    assert not two.camera.collecting


def test_switch_of_another_session_is_refused_by_the_camera() -> None:
    two = pair()
    before, _ = two.session()
    _, talk = two.session()
    with pytest.raises(WireError):
        talk.switch(before.switch(collection=True)[0])


def test_state_and_switch_are_no_substitute_for_each_other() -> None:
    session, talk = pair().session()
    command, _ = session.switch(collection=True)
    with pytest.raises(CorruptError):
        session.state(command + bytes(2))
    del talk


def test_state_of_another_version_is_corrupt() -> None:
    two = pair()
    session, talk = two.session()
    up = talk._up
    assert up is not None
    for plain in (b"\x40\x01\x00", b"\x00\x04\x00"):
        with pytest.raises(CorruptError, match="version"):
            session.state(up.tell(plain))


# --- whatever arrives


@given(raw=st.binary(max_size=200))
def test_any_bytes_instead_of_a_message_raise_an_error_of_ours(raw: bytes) -> None:
    two = pair()
    talk = Talk(two.camera)
    opening = two.open()
    with pytest.raises(AgentError):
        opening.claim(raw if raw[:1] != b"\x12" else b"")
    talk.hear(opening.message, now_s=0)
    claim = opening.claim(talk.answer)
    with pytest.raises(AgentError):
        claim.session(raw)
    session = Session(state_key=bytes(16), switch_key=bytes(16))
    with pytest.raises(CorruptError):
        session.state(raw)


@given(shown=st.binary(max_size=140))
def test_any_bytes_that_the_camera_seals_raise_an_error_of_ours(shown: bytes) -> None:
    """Also who holds the advert key may send what it likes."""
    two = pair()
    talk = Talk(two.camera)
    opening = two.open()
    talk.hear(opening.message, now_s=0)
    claim = opening.claim(talk.answer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("device_sim.ble.wire._write_key", lambda _key: shown)
        patch.setattr("device_sim.ble.wire._sign", lambda _key, _words: b"")
        talk.hear(claim.message, now_s=0)
    with pytest.raises(AgentError):
        claim.session(talk.answer)


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
