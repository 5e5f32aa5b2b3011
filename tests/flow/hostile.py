"""A household with a backend that keeps to no rule, on a line of its own, and ears for what the device says."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_sim.cloud import jws, sealing
from device_sim.cloud.backend import Backend, new_id
from device_sim.cloud.link import Link
from device_sim.cloud.service import Cloud
from tests.flow.house import DEVICE, TENANT, House
from tests.waiting import until


@dataclass
class Hostile:
    """A backend that keeps to no rule, and the ears for what it is answered."""

    house: House
    backend: Backend
    receipts: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[bytes] = field(default_factory=list)
    retained: dict[str, Any] = field(default_factory=dict)

    def hear(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - the link's callback
        if topic.endswith("/alert"):
            self.alerts.append(payload)
            return
        unsealed = sealing.unseal(payload[1:], self.backend.party.identity)
        self.receipts.append(json.loads(jws.unb64(unsealed.split(b".")[1].decode())))

    def claims(self, **more: object) -> dict[str, Any]:
        now_s = self.backend._now_s()
        return {
            "iss": self.backend.party.kid,
            "aud": DEVICE,
            "iat": now_s,
            "exp": now_s + 600,
            "jti": new_id(),
            "seq": self.backend.next_seq(),
            "verb": "delete",
            **({"select": {"all": True}} if more.get("verb", "delete") in {"delete", "inventory"} else {}),
            **more,
        }

    def signed(self, body: bytes) -> bytes:
        """Sign any bytes at all as a command's claims, and seal them."""
        party = self.backend.party
        head = jws.b64(json.dumps({"alg": party.signing.alg, "kid": party.kid, "typ": "pv1.command"}).encode())
        signing_input = f"{head}.{jws.b64(body)}".encode()
        whole = signing_input + b"." + jws.b64(party.signing.sign(signing_input)).encode()
        return self.backend.frame(whole, seal_to=self.backend._device("").recipient)

    def answer(self, payload: bytes, *, reason: str) -> dict[str, Any]:
        """Send and return the refusal that comes back."""
        before = len(self.receipts)
        self.backend.send_raw(payload)
        found: dict[str, Any] = until(
            lambda: next((one for one in self.receipts[before:] if one.get("reason") == reason), None),
            what=f"refused as {reason}; told so far: {self.receipts[before:]}",
        )
        assert found["status"] == "refused"
        return found


@contextlib.contextmanager
def besieged(folder: Path, *, policy: str = "") -> Iterator[Hostile]:
    """Yield a household whose agent runs and has one recording, and to which a retained command was said before.

    ``policy`` is what its policy has besides.
    """
    with House(folder) as house:
        with (house.folder / "policy.toml").open("a") as document:
            document.write(policy)
        identity = house.folder / "tls" / "backend"
        with Cloud(
            house.folder / "cloud",
            broker=house.url,
            tenant=TENANT,
            identity=identity,
            descriptors=[house.state / "device.jws"],
        ) as cloud:
            found = Hostile(house, cloud.backend)
            link = Link(
                house.url,
                client_id="ears",
                identity=identity,
                topics=[f"pv1/{TENANT}/{DEVICE}/{topic}" for topic in (f"rcpt/{cloud.backend.party.kid}", "alert")],
                receive=found.hear,
            )
            link.start()
            found.retained = found.claims(verb="inventory", limit=1)
            cloud.backend.send_raw(cloud.backend.craft(found.retained), retain=True)
            house.start_agent()
            house.record()
            house.one("uploaded")
            yield found
            link.stop()
