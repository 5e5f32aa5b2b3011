"""The keys of a party (store, backend, client) in one 0600 file, and the descriptors of docs/protocol.md §3."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from device_sim.cloud import jws, sealing, strictjson
from device_sim.cloud.failure import MessageError, SetupError
from device_sim.cloud.jws import Alg, PublicKey, SigningKey
from device_sim.cloud.strictjson import Claims

Role = Literal["store", "backend", "client", "time"]

DESCRIPTOR_TYP: Final = "pv1.descriptor"
MAX_DESCRIPTOR_BYTES: Final = 16 * 1024
_FINGERPRINT_BYTES: Final = 16


def _fingerprint(kid: str, recipient: str) -> str:
    """Return the fingerprint of docs/protocol.md §3, in groups of four."""
    digest = hashlib.sha256(f"{kid}\n{recipient}".encode()).digest()[:_FINGERPRINT_BYTES].hex()
    return " ".join(digest[at : at + 4] for at in range(0, len(digest), 4))


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody with a signing key and an age identity."""

    role: Role
    name: str
    signing: SigningKey
    identity: str
    recipient: str

    @classmethod
    def generate(cls, role: Role, *, name: str, alg: Alg = "EdDSA") -> Self:
        """Make new keys."""
        identity, recipient = sealing.generate_identity()
        return cls(role, name, SigningKey.generate(alg), identity, recipient)

    @property
    def kid(self) -> str:
        """The key id."""
        return self.signing.kid

    @property
    def fingerprint(self) -> str:
        """What a person compares on both sides."""
        return _fingerprint(self.kid, self.recipient)

    def descriptor(self) -> Claims:
        """Return what an owner puts into the key set."""
        return {
            "v": 1,
            "role": self.role,
            "name": self.name,
            "jwk": dict(self.signing.jwk),
            "alg": self.signing.alg,
            "recipient": self.recipient,
        }

    def write_descriptor(self, path: Path) -> None:
        """Write the descriptor as a JSON file."""
        path.write_text(json.dumps(self.descriptor(), indent=2) + "\n")

    def save(self, path: Path) -> None:
        """Write the private keys to a new 0600 file; raises ``SetupError`` if there is one already."""
        body = json.dumps(
            {
                "role": self.role,
                "name": self.name,
                "signing_key": self.signing.pem().decode(),
                "identity": self.identity,
                "recipient": self.recipient,
            }
        )
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise SetupError(f"{path} exists and is not overwritten", hint="choose another folder") from error
        with os.fdopen(descriptor, "w") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote; raises ``SetupError``."""
        try:
            held = json.loads(path.read_bytes())
            return cls(
                role=held["role"],
                name=held["name"],
                signing=SigningKey.from_pem(held["signing_key"].encode()),
                identity=held["identity"],
                recipient=held["recipient"],
            )
        except FileNotFoundError as error:
            raise SetupError(f"{path} is missing", hint=f"device-sim cloud init {path.parent}") from error
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise SetupError(f"{path} cannot be read", hint="make new keys: device-sim cloud init DIR") from error


@dataclass(frozen=True, slots=True)
class Device:
    """A device whose descriptor was checked."""

    id: str
    key: PublicKey
    recipient: str

    @property
    def fingerprint(self) -> str:
        """What a person compares on both sides."""
        return _fingerprint(self.key.kid, self.recipient)


def read_device(raw: bytes) -> Device:
    """Read a device's self-signed descriptor; raises ``MessageError``.

    The key that signs is the key inside, so this proves possession only: a person compares the fingerprint.
    """
    if len(raw) > MAX_DESCRIPTOR_BYTES:
        raise MessageError("a descriptor above 16 KiB")
    parsed = jws.parse(raw.strip())
    unverified = strictjson.loads(parsed.unverified_payload)
    key = PublicKey.from_jwk(unverified.get("jwk"))
    claims = jws.verify(parsed, key, typ=DESCRIPTOR_TYP)
    name, recipient = claims.get("name"), claims.get("recipient")
    if claims.get("v") != 1 or claims.get("role") != "device" or claims.get("alg") != key.alg:
        raise MessageError("not the descriptor of a version 1 device")
    if not isinstance(name, str) or not isinstance(recipient, str):
        raise MessageError("the descriptor names no device or no recipient")
    try:
        sealing.seal(b"", recipient)
    except SetupError as error:
        raise MessageError(f"the descriptor's recipient: {error}") from error
    return Device(name, key, recipient)
