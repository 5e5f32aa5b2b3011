"""A device's keys for the tests, and the simulated store on the other side of a real broker."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import age
from agent.envelope import Key, public_jwk, sign, thumbprint
from agent.model import new_id
from agent.uplink import Device, Manifest
from device_sim.cloud.service import Cloud, init
from tests.upload.hub import Hub
from tests.upload.line import TENANT


class Keys:
    """A device's keys, and the descriptor that introduces it to a cloud."""

    def __init__(self, device: Device, *, jwk: dict[str, str], recipient: str) -> None:
        self.device = device
        self.jwk = jwk
        self.recipient = recipient

    @classmethod
    def new(cls, name: str) -> Self:
        key = Ed25519PrivateKey.generate()
        identity = age.generate_identity(post_quantum=True)
        jwk = public_jwk(key)
        device = Device(name=name, kid=thumbprint(jwk), alg="EdDSA", sign=key.sign, identities=(identity,))
        return cls(device, jwk=jwk, recipient=identity.recipient().to_text())

    @classmethod
    def of(cls, hub: Hub) -> Self:
        return cls(hub.device, jwk=hub.keystore.public_jwk(), recipient=hub.keystore.recipient())

    def write_descriptor(self, path: Path) -> Path:
        device = self.device
        claims = {
            "v": 1,
            "role": "device",
            "name": device.name,
            "jwk": self.jwk,
            "alg": device.alg,
            "recipient": self.recipient,
        }
        path.write_bytes(sign(claims, typ="pv1.descriptor", kid=device.kid, alg=device.alg, sign=device.sign))
        return path


@contextlib.contextmanager
def cloud_at(url: str, *, tls: Path, folder: Path, keys: Keys, region: str = "eu") -> Iterator[tuple[Cloud, Key]]:
    """Run the simulated cloud; yields it and its store's entry of a key set."""
    init(folder)
    descriptor = keys.write_descriptor(folder / "device.jws")
    with Cloud(
        folder, broker=url, tenant=TENANT, identity=tls / "backend", descriptors=[descriptor], region=region
    ) as cloud:
        yield cloud, store_key(cloud)


def store_key(cloud: Cloud) -> Key:
    party = cloud.store.party
    return Key(
        jwk=dict(party.signing.jwk), alg=party.signing.alg, role="store", name="", verbs=(), recipient=party.recipient
    )


def payload_file(folder: Path, *, size_bytes: int, regions: tuple[str, ...] = ()) -> tuple[Path, Manifest]:
    """Write random bytes as a sealed payload and return its manifest."""
    path = folder / new_id()
    digest = hashlib.sha256()
    with path.open("wb") as file:
        left = size_bytes
        while left:
            block = os.urandom(min(left, 1 << 20))
            digest.update(block)
            file.write(block)
            left -= len(block)
    header = os.urandom(300)
    return path, Manifest(
        upload=new_id(),
        object=new_id(),
        iat_s=1_700_000_000,
        payload_bytes=size_bytes,
        payload_sha256=digest.hexdigest(),
        header=header,
        header_sha256=hashlib.sha256(header).hexdigest(),
        regions=regions,
    )
