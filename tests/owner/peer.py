"""A device made of docs/protocol.md and the simulator's own formats: it takes commands and signs receipts as told."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from device_sim.cloud import jws, sealing, wire
from device_sim.cloud.jws import PublicKey, SigningKey
from device_sim.cloud.link import Link
from tests.sim.fake_device import new_id

TENANT = "acme"
LIMIT_S = 60.0
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
Answers = Callable[["Peer", dict[str, Any]], list[dict[str, Any]]]


def done(_peer: "Peer", _command: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"status": "accepted"}, {"status": "done", "outcomes": []}]


class Peer:
    """``answers`` says which receipts a command gets; each is a few claims that differ from the usual."""

    def __init__(self, name: str = "device", *, answers: Answers = done) -> None:
        self.id = name
        self.key = SigningKey.generate()
        self.age_identity, self.recipient = sealing.generate_identity()
        self.answers = answers
        self.owner: dict[str, Any] = {}
        self.client: dict[str, Any] = {}
        self.head = 0
        self.commands: list[dict[str, Any]] = []
        self.payloads: list[bytes] = []
        self.acked: list[str] = []
        self.connections = 0
        self._changed = threading.Condition()
        self._link: Link | None = None

    # What it is.

    def write_descriptor(self, path: Path) -> Path:
        claims: dict[str, object] = {
            "v": 1, "role": "device", "name": self.id, "jwk": dict(self.key.jwk), "alg": self.key.alg,
            "recipient": self.recipient,
        }  # fmt: skip
        path.write_bytes(jws.sign(claims, self.key, typ="pv1.descriptor"))
        return path

    def learn(self, client_json: Path) -> None:
        """Learn the owner's client, as the key set would tell."""
        self.client = json.loads(client_json.read_bytes())

    # What it does.

    def open_command(self, payload: bytes) -> dict[str, Any]:
        assert payload[0] == 0x01
        signed = sealing.unseal(payload[1:], self.age_identity)
        key = PublicKey.from_jwk(self.client["jwk"])
        claims: dict[str, Any] = jws.verify(jws.parse(signed), key, typ="pv1.command")
        return claims

    def receipt_claims(self, command: dict[str, Any], **differs: object) -> dict[str, Any]:
        self.head += 1
        return {
            "iss": self.id,
            "aud": command["iss"],
            "iat": command["iat"],
            "jti": new_id(),
            "cmd": command["jti"],
            "verb": command["verb"],
            "status": "done",
            "seq": command["seq"],
            "selection": {"count": 0, "hash": EMPTY},
            "audit_head": {"seq": self.head, "hash": f"{self.head:064x}"},
            "protection": "software",
            **differs,
        }

    def seal(self, kind: wire.Kind, claims: dict[str, Any], *, signer: SigningKey | None = None) -> bytes:
        signed = jws.sign(claims, signer or self.key, typ=f"pv1.{kind}")
        return bytes([wire.BYTE[kind]]) + sealing.seal(signed, self.client["recipient"])

    def receipt(self, command: dict[str, Any], **differs: object) -> bytes:
        return self.seal("receipt", self.receipt_claims(command, **differs))

    # On the broker.

    @contextmanager
    def online(self, url: str, identity: Path | None) -> Iterator["Peer"]:
        self._link = Link(
            url,
            client_id=self.id,
            identity=identity,
            topics=[f"pv1/{TENANT}/{self.id}/cmd"],
            receive=self._receive,
            connected=self._connected,
        )
        self._link.start()
        try:
            yield self
        finally:
            self._link.stop()
            self._link = None

    def _connected(self) -> None:
        """Say that we are back, as a device does at each connection after the first."""
        self.connections += 1
        if self.connections > 1:
            self.say_state(session=self.connections, online=True)

    def publish(self, channel: str, payload: bytes, *, retain: bool = False) -> None:
        assert self._link is not None
        self._link.publish(f"pv1/{TENANT}/{self.id}/{channel}", payload, retain=retain)

    def say_state(self, *, session: int, online: bool) -> None:
        claims = {"iss": self.id, "iat": 1_772_000_000, "online": online, "session": session}
        signed = jws.sign(claims, self.key, typ="pv1.state")
        self.publish("state", bytes([wire.BYTE["state"]]) + signed, retain=True)

    def wait_until(self, true: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(true, LIMIT_S)

    def _receive(self, _topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - the link's callback
        if payload[0] == wire.BYTE["ack"]:
            key = PublicKey.from_jwk(self.client["jwk"])
            claims: dict[str, Any] = jws.verify(jws.parse(payload[1:]), key, typ="pv1.ack")
            with self._changed:
                self.acked.extend(claims["acks"])
                self._changed.notify_all()
            return
        command = self.open_command(payload)
        with self._changed:
            self.commands.append(command)
            self.payloads.append(payload)
            self._changed.notify_all()
        for differs in self.answers(self, command):
            self.publish(f"rcpt/{command['iss']}", self.receipt(command, **differs))
