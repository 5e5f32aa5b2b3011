"""One whole conversation of docs/ble.md, both sides from seeds: what `docs/vectors/ble.json` holds."""

from collections.abc import Callable
from typing import Any, Protocol

from agent.discovery.ble.advert import rotating_id
from agent.discovery.ble.proof import AgentKey, open_proof
from agent.envelope import PrivateKey
from device_sim.ble.camera import BareCamera
from device_sim.ble.wire import Talk

DAY = 20783
Random = Callable[[int], bytes]


class Signer(Protocol):
    private: PrivateKey
    jwk: dict[str, str]
    kid: str

    def raw_signature(self, data: bytes) -> bytes: ...

    def shown(self) -> dict[str, Any]: ...


def camera_of(key: PrivateKey, *, agent: str, advert_key: bytes) -> BareCamera:
    """Return the camera of the vectors."""
    camera = BareCamera(agent=agent, now_s=lambda: DAY * 86_400.0, key=key)
    camera.advert_key = advert_key
    return camera


def conversation(agent: Signer, device: Signer, seeded: Callable[[str], Random]) -> dict[str, Any]:
    """Return the members of the file; bytes are in hexadecimal."""
    advert_key = seeded("ble advert key")(32)
    camera = camera_of(device.private, agent=agent.kid, advert_key=advert_key)
    talk = Talk(camera, random=seeded("ble camera"))
    own = AgentKey(agent.jwk, agent.raw_signature)
    opening = open_proof(own, camera_kid=device.kid, advert_key=advert_key, random=seeded("ble agent"))
    talk.hear(opening.message, now_s=0)
    offer = talk.answer
    claim = opening.claim(offer)
    talk.hear(claim.message, now_s=0)
    proof = talk.answer
    session = claim.session(proof)
    first = talk.state()
    on, _ = session.switch(collection=True)
    talk.switch(on)
    second = talk.state()
    camera.storage = "full"
    off, _ = session.switch(collection=False)
    talk.switch(off)
    third = talk.state()
    return {
        "agent": {name: agent.shown()[name] for name in ("kid", "alg", "jwk", "private_jwk")},
        "camera": {name: device.shown()[name] for name in ("kid", "alg", "jwk", "private_jwk")},
        "advert_key": advert_key.hex(),
        "advert": {"unix_day": DAY, "rotating_id": rotating_id(advert_key, unix_day=DAY).hex()},
        "proof": {
            "agent_x25519_secret": seeded("ble agent")(32).hex(),
            "camera_x25519_secret": seeded("ble camera")(32).hex(),
            "message_1": opening.message.hex(),
            "message_2": offer.hex(),
            "message_3": claim.message.hex(),
            "message_4": proof.hex(),
        },
        "states": [
            {"value": value.hex(), "counter": number, "recording": on_, "collection": on_, "storage": store, "taken": n}
            for number, (value, on_, store, n) in enumerate(
                [(first, False, "ok", 0), (second, True, "ok", 1), (third, False, "full", 2)], start=1
            )
        ],
        "switches": [
            {"value": on.hex(), "counter": 1, "collection": True},
            {"value": off.hex(), "counter": 2, "collection": False},
        ],
        "refused": {
            "message_2": [{"why": "its E is all zeros", "value": (b"\x12" + bytes(48)).hex()}],
            "message_4": [
                {"why": "one bit was changed", "value": flipped(proof).hex()},
                {"why": "cut short", "value": proof[:-1].hex()},
            ],
            "states": [
                {"why": "one bit was changed", "value": flipped(third).hex()},
                {"why": "its counter was raised", "value": (b"\xff\xff\xff\xff" + third[4:]).hex()},
                {"why": "cut short", "value": third[:-1].hex()},
            ],
            "switches": [
                {"why": "taken before", "value": on.hex()},
                {"why": "one bit was changed", "value": flipped(off).hex()},
            ],
        },
    }


def flipped(raw: bytes) -> bytes:
    """Change the lowest bit of the last byte."""
    return raw[:-1] + bytes((raw[-1] ^ 1,))
