"""A device that its owner leaves, without a broker: what happens until it is unowned, begun anew as often as one likes.

The clocks are in the test's hands; a store that has a copy and never answers is a row.
"""

from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import envelope
from agent.age import parse_identity
from agent.app.parts import Parts, opened
from agent.clock import Reading
from agent.config import Config, parse_config
from agent.errors import ConfigError
from agent.index import Tx
from agent.model import new_id
from tests.app.station import DEVICE, START_S
from tests.commands.office import Party

DEADLINE_MS = 22 * 86_400_000
"""More than 15 working days, as the promise says, to the end of the last."""


class Leaver:
    """``folder`` has the device; ``told`` is what its receipts said, each once, in their order."""

    def __init__(self, folder: Path, client: Party, reading: Reading) -> None:
        self.folder = folder
        self.client = client
        self.reading = reading
        self.told: list[dict[str, Any]] = []
        self.store = ""

    @classmethod
    def of_words(cls, folder: str, seed: str, identity: str) -> "Leaver":
        """Make the same one in another process."""
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
        client = Party("client", "phone", key, parse_identity(identity), envelope.VERBS)
        reading = Reading(wall_ms=START_S * 1000, boot_ms=60_000, boot_id="one", synchronised=True)
        return cls(Path(folder), client, reading)

    @property
    def config(self) -> Config:
        path = self.folder / "agent.toml"
        return parse_config(path.read_bytes(), file=path)

    def read_clock(self) -> Reading:
        return self.reading

    def let_pass(self, ms: int) -> None:
        self.reading = msgspec.structs.replace(
            self.reading, wall_ms=self.reading.wall_ms + ms, boot_ms=self.reading.boot_ms + ms
        )

    async def leave(self, command: bytes) -> bool:
        """Ask, wait until the deadline has passed, acknowledge; return whether the device was unowned before."""
        try:
            async with opened(self.config, read_clock=self.read_clock) as parts:
                await parts.commands.submit(command, moment=parts.now())
                await self.hear(parts)
                self.let_pass(DEADLINE_MS)
                await parts.commands.part(parts.now())
                await self.hear(parts)
                await parts.commands.submit(self.ack(), moment=parts.now())
                await parts.commands.part(parts.now())
        except ConfigError as error:
            if "no owner any more" not in error.message:
                raise
            return True
        return False

    async def hear(self, parts: Parts) -> None:
        for message in await parts.index.read(parts.outbox.pending):
            if message.channel.startswith("rcpt/"):
                told = self.client.open(message.body)
                if told["jti"] not in {one["jti"] for one in self.told}:
                    self.told.append(told)

    def ack(self) -> bytes:
        claims = {"iss": self.client.kid, "aud": DEVICE, "iat": START_S, "acks": [self.told[-1]["jti"]]}
        return b"\x02" + self.client.sign(claims, typ="pv1.ack")


def at_store(tx: Tx, parts: Parts, object_id: str, *, store: str) -> str:
    """Let a store have a copy; return its upload."""
    upload, _iat_s = parts.vault.begin_upload(tx, object_id, moment=parts.now())
    parts.vault.set_manifest(tx, upload, "a" * 64, store=store, moment=parts.now())
    parts.vault.note_stored(tx, upload, region="eu", stated_by=store, epoch="e1", moment=parts.now())
    return upload


def erase_all(client: Party) -> bytes:
    """Return the signed command."""
    client.seq += 1
    return client.sign(
        {
            "iss": client.kid,
            "aud": DEVICE,
            "iat": START_S,
            "exp": START_S + 30 * 86_400,
            "jti": new_id(),
            "seq": client.seq,
            "verb": "erase-all",
        }
    )
