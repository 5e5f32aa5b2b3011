"""A device made of docs/protocol.md alone, to try the simulated cloud with: no agent code, no policy, no vault."""

import hashlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_sim.cloud import clock, jws, sealing, wire
from device_sim.cloud.failure import MessageError
from device_sim.cloud.jws import SigningKey
from device_sim.cloud.keys import Party
from device_sim.cloud.link import Link

TENANT = "acme"
CHUNK_BYTES = 120 * 1024
LIMIT_S = 60.0
NOW_S = 1_772_000_000


def new_id() -> str:
    return wire.encode_id(secrets.token_bytes(16))


@dataclass
class Recording:
    """Something sealed, with the ids and the manifest of its upload."""

    payload: bytes
    header: bytes
    upload: str = field(default_factory=new_id)
    object: str = field(default_factory=new_id)
    regions: tuple[str, ...] = ()
    manifest: str = ""

    @property
    def parts(self) -> dict[str, Any]:
        return {
            "payload": {"bytes": len(self.payload), "sha256": hashlib.sha256(self.payload).hexdigest()},
            "header": {"bytes": len(self.header), "sha256": hashlib.sha256(self.header).hexdigest()},
        }


def recording(size_bytes: int = 3_000_000) -> Recording:
    return Recording(payload=os.urandom(size_bytes), header=b"age-encryption.org/v1\n" + os.urandom(200))


class FakeDevice:
    def __init__(
        self, url: str, *, store: dict[str, Any], identity: Path | None = None, name: str = "camera-1"
    ) -> None:
        self.id = name
        self.key = SigningKey.generate()
        self.age_identity, self.recipient = sealing.generate_identity()
        self.store_kid = jws.thumbprint(store["jwk"])
        self.store_key = jws.PublicKey.from_jwk(store["jwk"])
        self.store_recipient = store["recipient"]
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.raw: list[tuple[str, bytes, bool]] = []
        self.bad: list[str] = []
        self._taken = 0
        self._changed = threading.Condition()
        self._url, self._identity = url, identity
        self._link: Link | None = None

    def descriptor(self, folder: Path) -> Path:
        claims: dict[str, object] = {
            "v": 1, "role": "device", "name": self.id, "jwk": dict(self.key.jwk), "alg": self.key.alg,
            "recipient": self.recipient,
        }  # fmt: skip
        file = folder / f"{self.id}.jws"
        file.write_bytes(jws.sign(claims, self.key, typ="pv1.descriptor"))
        return file

    def start(self) -> None:
        self._link = Link(
            self._url,
            client_id=self.id,
            identity=self._identity,
            topics=[f"pv1/{TENANT}/{self.id}/cmd", f"pv1/{TENANT}/{self.id}/upack"],
            receive=self._receive,
        )
        self._link.start()

    def stop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.stop()

    # What it sends.

    def send(self, channel: str, payload: bytes) -> None:
        assert self._link is not None
        self._link.publish(f"pv1/{TENANT}/{self.id}/{channel}", payload)

    def say(self, kind: wire.Kind, channel: str, **claims: object) -> str:
        """Sign and seal to the store; returns the hash of the signing input."""
        whole = {"iss": self.id, "aud": self.store_kid, "iat": NOW_S, **claims}
        signed = jws.sign(whole, self.key, typ=f"pv1.{kind}")
        self.send(channel, bytes([wire.BYTE[kind]]) + sealing.seal(signed, self.store_recipient))
        return jws.parse(signed).signing_input_sha256

    def begin(self, one: Recording) -> None:
        parts = one.parts
        one.manifest = self.say(
            "begin",
            f"up/{one.upload}",
            upload=one.upload,
            object=one.object,
            payload=parts["payload"],
            header={**parts["header"], "data": jws.b64(one.header)},
            regions=list(one.regions),
        )

    def chunks(self, one: Recording, *, offset: int = 0, end: int | None = None) -> None:
        stop = len(one.payload) if end is None else end
        for at in range(offset, stop, CHUNK_BYTES):
            self.send(f"up/{one.upload}", wire.chunk(at, one.payload[at : min(at + CHUNK_BYTES, stop)]))

    def end(self, one: Recording) -> None:
        self.say("end", f"up/{one.upload}", upload=one.upload, manifest=one.manifest)

    def upload(self, one: Recording) -> dict[str, Any]:
        """Upload as an agent does, resending from each ``go``; returns ``stored``, or ``failed``."""
        self.begin(one)
        while True:
            kind, said = self.next("go", "stored", "failed", upload=one.upload)
            if kind != "go":
                return said
            self.chunks(one, offset=said["offset"])
            self.end(one)

    # What it hears.

    def next(self, *kinds: str, timeout_s: float = LIMIT_S, **match: object) -> tuple[str, dict[str, Any]]:
        """Take the next true message of those kinds; what came before it is passed over."""
        deadline_s = clock.monotonic_s() + timeout_s
        with self._changed:
            while True:
                while self._taken < len(self.seen):
                    kind, claims = self.seen[self._taken]
                    self._taken += 1
                    if kind in kinds and all(claims.get(name) == value for name, value in match.items()):
                        return kind, claims
                left_s = deadline_s - clock.monotonic_s()
                if left_s <= 0 or not self._changed.wait(left_s):
                    raise TimeoutError(f"no {kinds} within {timeout_s} s; saw {[kind for kind, _ in self.seen][-9:]}")

    def claims(self, kind: str) -> list[dict[str, Any]]:
        with self._changed:
            return [claims for seen, claims in self.seen if seen == kind]

    def wait_until(self, true: Callable[[], object], *, timeout_s: float = LIMIT_S) -> None:
        with self._changed:
            assert self._changed.wait_for(true, timeout_s)

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - the link's callback
        kind = wire.KIND.get(payload[0]) if payload else None
        with self._changed:
            self.raw.append((topic, payload, retained))
            if topic.endswith("/upack") and kind is not None:
                self._hear(kind, payload[1:])
            self._changed.notify_all()

    def _hear(self, kind: wire.Kind, body: bytes) -> None:
        try:
            signed = body if kind in wire.UNSEALED else sealing.unseal(body, self.age_identity)
            claims: dict[str, Any] = jws.verify(jws.parse(signed), self.store_key, typ=f"pv1.{kind}")
        except MessageError as error:
            self.bad.append(f"{kind}: {error}")
            return
        if claims["iss"] == self.store_kid and claims["aud"] == self.id:
            self.seen.append((kind, claims))
        else:
            self.bad.append(f"{kind}: not from our store to us")


@contextmanager
def device(url: str, *, folder: Path, identity: Path | None = None, name: str = "camera-1") -> Iterator[FakeDevice]:
    made = FakeDevice(url, store=json.loads((folder / "store.json").read_text()), identity=identity, name=name)
    made.descriptor(folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def stranger(role: str = "backend") -> Party:
    return Party.generate("backend" if role == "backend" else "client", name="nobody")
