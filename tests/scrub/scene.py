"""A vault with sealed objects whose bytes are known, what a medium does to them, and a scrub by a clock of its own."""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent import age, damage
from agent.age.stream import encrypt_bytes
from agent.index import Tx
from agent.keytree import seal_header, wrap_slot
from agent.model import Moment, Object, new_id
from agent.scrub.flow import Scrub
from agent.scrub.settings import ScrubSettings
from tests.store.home import NOW, Home, draft

OWNER = age.generate_identity(post_quantum=False)
HOUR_MS = 3_600_000


class Scene:
    """One vault; ``seconds`` is the scrub's clock, which only its own waits move on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder)
        self.seconds = 0.0
        self.moment = NOW
        self.alerts: list[tuple[str, str, str]] = []
        self.quarantined: list[str] = []
        self.busy: Callable[[], bool] = lambda: False

    def close(self) -> None:
        self.home.close()

    def reopen(self) -> None:
        self.close()
        self.home = Home(self.folder)

    async def keep(self, plain: bytes, **fields: object) -> Object:
        """Seal and admit what a source gave."""
        group = await self.home.vault.group()
        key, object_id = secrets.token_bytes(16), new_id()
        payload = encrypt_bytes(key, plain)
        digest = hashlib.sha256(payload).digest()
        header = age.wrap_header(key, [OWNER.recipient()])
        made = msgspec.structs.replace(
            draft(group, key),
            id=object_id,
            recipients=(OWNER.recipient().to_text(),),
            plain_bytes=len(plain),
            size_bytes=len(payload),
            payload_sha256=digest,
            header_sha256=hashlib.sha256(header).digest(),
            slot=wrap_slot(group, key, object_id=object_id, payload_sha256=digest, kind="file-key"),
            sealed_header=seal_header(key, header, object_id=object_id),
            content_tag=hashlib.sha256(plain).digest(),
            **fields,
        )
        return await self.home.vault.admit(made, part=self.home.part(payload), group=group, moment=self.moment)

    def keep_some(self, *sizes: int) -> list[Object]:
        return [asyncio.run(self.keep(os.urandom(size))) for size in sizes]

    def path(self, item: Object) -> Path:
        return self.home.vault.payload_path(item.id)

    def scrub(self, settings: ScrubSettings | None = None) -> Scrub:
        return Scrub(
            vault=self.home.vault,
            settings=settings or ScrubSettings(rate_bytes_s=1 << 40),
            now=lambda: self.moment,
            alert=self._alert,
            busy=self._is_busy,
            quarantined=self.quarantined.extend,
            clock_s=lambda: self.seconds,
            wait=self._wait,
        )

    def look_over(self) -> None:
        """Bring a pass to its end."""

        async def one() -> bool:
            return (await self.scrub().whole_pass()).whole

        assert asyncio.run(one())

    def later(self, ms: int) -> None:
        now_ms = self.moment.agent_ms + ms
        self.moment = Moment(agent_ms=now_ms, wall_ms=now_ms, trusted=True)

    def damaged(self) -> dict[str, str]:
        """What is in quarantine, and what is wrong with it."""
        return {one.object: one.what for _n, one in self.home.index.read_now(damage.page)}

    def doubted(self) -> dict[str, str]:
        return {one.object: one.what for _n, one in self.home.index.read_now(lambda tx: damage.page(tx, sure=False))}

    def opened(self, item: Object) -> bytes:
        """Open an object as its owner does."""
        header = self.home.index.read_now(lambda tx: self.home.vault.header(tx, item.id))
        assert header is not None
        return age.decrypt(header + self.path(item).read_bytes(), [OWNER])

    def _is_busy(self) -> bool:
        return self.busy()

    def _alert(self, tx: Tx, code: str, what: str, moment: Moment, *, about: str = "") -> None:  # noqa: ARG002 - as ``RaiseIn`` has it
        self.alerts.append((code, about, what))

    async def _wait(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Turn one bit around where the file lies."""
    with path.open("r+b") as file:
        file.seek(position)
        (was,) = file.read(1)
        file.seek(position)
        file.write(bytes((was ^ (1 << bit),)))
