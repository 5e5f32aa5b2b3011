"""A device's keys for the tests, and the simulated store on the other side of a real broker."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import age
from agent.envelope import Key, public_jwk, sign, thumbprint
from agent.model import new_id
from agent.uplink import Device, Manifest
from device_sim.cloud.service import Cloud, init
from tests.upload.line import TENANT


class Keys:
    """What a keystore would hold."""

    def __init__(self, name: str) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.identity = age.generate_identity(post_quantum=True)
        self.jwk = public_jwk(self.key)
        self.device = Device(
            name=name, kid=thumbprint(self.jwk), alg="EdDSA", sign=self.key.sign, identities=(self.identity,)
        )

    def write_descriptor(self, path: Path) -> Path:
        claims = {
            "v": 1,
            "role": "device",
            "name": self.device.name,
            "jwk": self.jwk,
            "alg": "EdDSA",
            "recipient": self.identity.recipient().to_text(),
        }
        path.write_bytes(sign(claims, typ="pv1.descriptor", kid=self.device.kid, alg="EdDSA", sign=self.key.sign))
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
