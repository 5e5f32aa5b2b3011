"""A device whose state lies on a disk of its own and whose spool lies in memory, as the erasure statement asks.

The camera's files never touch the disk, so whatever is found there of them the agent wrote.
"""

import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from agent import age
from agent.app.parts import Parts, opened
from agent.config import Config, parse_config
from tests.commands.office import run
from tests.loop import Disk, Kind
from tests.torture.home import CONFIG, DEVICE, NOW_S, Home, clock_at

DAY_S: Final = 86_400

CAMERA: Final = "front_door"
CLIPS: Final = tuple(f"{CAMERA}/recording/2026-11-22T1{hour}-15-00.000Z_10s.mp4" for hour in range(3))
PHOTO: Final = f"{CAMERA}/photo/2026-11-22T10-16-00.000Z.jpg"
LOG: Final = f"{CAMERA}/usage-log/2027-01-15T08-00-04.000Z.jsonl"
"""Recorded behind the yes that it needs: a home is made at eight o'clock."""

FILES: Final = (*CLIPS, PHOTO, LOG)

VENDOR: Final = age.generate_identity(post_quantum=False)

POLICY: Final = """\
version = 1
[recipients]
owner = ["{owner}"]
vendor = ["{vendor}"]
[retention]
forget_within = "1s"
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
seal_to = ["vendor"]
[category.recording]
purpose = "security"
seal_to = ["owner"]
upload = "allowed"
[category.photo]
purpose = "security"
seal_to = ["owner"]
keep = {{ age = "3d" }}
[category.usage-log]
purpose = "analytics"
upload = "never"
"""


@dataclass(slots=True)
class Device(Home):
    """The device; ``commands`` are given to it by name."""

    def config(self) -> Config:
        return parse_config(CONFIG.replace('"disk"', '"tmpfs"').encode(), file=self.top / "agent.toml")

    def undisturbed(self, work: Callable[[Parts], Coroutine[Any, Any, None]]) -> None:
        self.at_work(work, after_s=8)

    def open(self, parts: Parts, object_id: str) -> bytes:
        """Open an object as its readers do."""
        header = parts.index.read_now(lambda tx: parts.vault.header(tx, object_id))
        assert header is not None
        return age.decrypt(header + parts.vault.payload_path(object_id).read_bytes(), [self.owner, VENDOR])

    def at_work(self, work: Callable[[Parts], Coroutine[Any, Any, None]], *, after_s: float) -> None:
        """Open the device so long after it was made, do something, close it."""

        async def act() -> None:
            async with opened(self.config(), read_clock=lambda: clock_at(after_s)) as parts:
                await work(parts)

        run(act())

    async def tell(self, parts: Parts, name: str) -> str:
        """Give a command to the device and return how its receipt ends."""
        submitted = await parts.commands.submit(self.commands[name], moment=parts.now())
        return str(self.client.open(submitted.receipt)["status"])

    async def leave(self, parts: Parts, name: str) -> None:
        """Have everything erased, and acknowledge the last receipt, behind which nothing stays."""
        await parts.commands.submit(self.commands[name], moment=parts.now())
        messages = [m for m in await parts.index.read(parts.outbox.pending) if m.channel.startswith("rcpt/")]
        jtis = [self.client.open(message.body)["jti"] for message in messages]
        claims = {"iss": self.client.kid, "aud": DEVICE, "iat": int(parts.now().wall_ms / 1000), "acks": jtis}
        await parts.commands.submit(b"\x02" + self.client.sign(claims, typ="pv1.ack"), moment=parts.now())
        await parts.commands.part(parts.now())

    def order(self, name: str, verb: str, *, after_s: float, **own: Any) -> None:  # noqa: ANN401 - claims of any kind
        """Sign a command so long after the device was made."""
        self.command(name, verb, iat=NOW_S + int(after_s) - 1, exp=NOW_S + int(after_s) + DAY_S, **own)

    def by_path(self) -> dict[str, str]:
        """Return the id of each source's object."""
        ids = {content: object_id for object_id, content in self.objects.items()}
        return {path: ids[content] for path, content in self.sources.items() if content in ids}


@contextmanager
def device_on(folder: Path, kind: Kind) -> Iterator[tuple[Disk, Device]]:
    """Make a device on a new disk, with nothing in it yet."""
    with Disk(folder, kind) as disk:
        device = cast("Device", Device.make(disk.top / "device"))
        owner = device.owner.recipient().to_text()
        policy = POLICY.format(owner=owner, vendor=VENDOR.recipient().to_text())
        device.config().policy.write_text(policy)
        yield disk, device


@contextmanager
def mounted(disk: Disk, device: Device) -> Iterator[None]:
    """Let the disk be there, with the spool in memory over it; both are gone afterwards, however it ends."""
    if not disk.top.is_mount():
        disk.mount()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "none", device.spool], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", device.spool], check=True)
        disk.unmount()
