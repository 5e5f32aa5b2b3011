"""A real vault, index, keystore and sealing process around a source folder."""

import asyncio
import io
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.age import Identity, generate_identity
from agent.age.filekey import unwrap_header
from agent.age.stream import decrypt_stream
from agent.index import Index, Tx
from agent.ingest import Ingest, IngestEvent
from agent.keystore import Keystore
from agent.model import Moment, Object
from agent.policy import Policy, Rights, parse_policy
from agent.sealer import Sealer
from agent.sources import SourceSettings
from agent.vault import Vault
from tests.waiting import at_most
from tests.writing import policy_text

NOW = Moment(agent_ms=1_800_000_000_000, wall_ms=1_800_000_000_000, trusted=True)


Until = Callable[[Callable[[], bool]], Awaitable[None]]


class Home:
    """One agent's folder, the source beside it, and what is asked of both."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.spool = top / "spool"
        self.spool.mkdir(mode=0o700)
        self.state = top / "state"
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.owner: Identity = generate_identity(post_quantum=False)
        text = policy_text(self.owner.recipient().to_text(), recording="", photo="", usage_log="")
        self.policy = parse_policy(text.encode(), file="policy.toml")
        self.events: list[IngestEvent] = []
        self.rights = Rights()
        self.now = NOW
        self.sealers: list[Sealer] = []
        self.job_limit_s = 60.0
        self.still_s = 10.0
        self.keystore = Keystore.create(self.state / "keystore")
        self.index = Index(self.state / "index.db", key=self.keystore.index_key())
        self.vault = Vault(folder=self.state, index=self.index, keystore=self.keystore)

    def settings(self, **changes: object) -> SourceSettings:
        """Settings of the one source, a spool that is ours to empty unless ``changes`` say otherwise."""
        values: dict[str, Any] = {
            "name": "spool", "kind": "spool", "path": self.spool, "medium": "disk", "settle_s": 0.05, "poll_s": 0.05,
            "rescan_s": 60.0, **changes,
        }  # fmt: skip
        return SourceSettings(**values)

    def ingest(
        self,
        *sources: SourceSettings,
        policy: Policy | None = None,
        reserve_bytes: int = 0,
        on_event: Callable[[IngestEvent], None] | None = None,
    ) -> Ingest:
        """Build the flow inside the running loop."""
        self.sealers.append(Sealer(job_limit_s=self.job_limit_s, still_s=self.still_s))
        return Ingest(
            sources or (self.settings(),),
            vault=self.vault,
            sealer=self.sealers[-1],
            policy=lambda: policy or self.policy,
            now=lambda: self.now,
            rights=self._rights,
            reserve_bytes=reserve_bytes,
            on_event=on_event or self.events.append,
        )

    def _rights(self, _tx: Tx, /, **_place: object) -> Rights:
        return self.rights

    def scan(self, *sources: SourceSettings, policy: Policy | None = None, reserve_bytes: int = 0) -> Ingest:
        """Take in once what is there, and return the flow for its counts."""

        async def once() -> Ingest:
            flow = self.ingest(*sources, policy=policy, reserve_bytes=reserve_bytes)
            try:
                await flow.scan_once()
            finally:
                flow.close()
                await self.sealers[-1].aclose()
            return flow

        return asyncio.run(once())

    def confirm_absences(self, *sources: SourceSettings) -> None:
        """Look once which of what was taken is gone from its source."""

        async def once() -> None:
            flow = self.ingest(*sources)
            try:
                await flow.confirm_absences()
            finally:
                flow.close()

        asyncio.run(once())

    def put(self, path: str, content: bytes, *, folder: Path | None = None) -> Path:
        """Write a complete file beneath the source's folder."""
        file = (folder or self.spool) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.name + ".part")
        part.write_bytes(content)
        part.rename(file)
        return file

    def objects(self) -> tuple[Object, ...]:
        """What the vault holds."""
        return self.index.read_now(self.vault.page)

    def only(self) -> Object:
        """The one object there is."""
        (item,) = self.objects()
        return item

    def opened(self, item: Object) -> bytes:
        """Open an object as its owner does: header and payload joined, nothing of the device used but storage."""
        header = self.index.read_now(lambda tx: self.vault.header(tx, item.id))
        assert header is not None
        return self.open_with(header, self.vault.payload_path(item.id).read_bytes())

    def open_with(self, header: bytes, payload: bytes) -> bytes:
        """Decrypt with the owner's identity."""
        plain = io.BytesIO()
        decrypt_stream(unwrap_header(header, [self.owner]), io.BytesIO(payload), plain)
        return plain.getvalue()

    def left_over(self) -> tuple[Object, ...]:
        """What of the spool is sealed and not noted as gone from there."""
        return self.index.read_now(partial(self.vault.source_left_over, source="spool"))

    def left(self) -> list[str]:
        """Names that are still in the source's folder."""
        return sorted(str(path.relative_to(self.spool)) for path in self.spool.rglob("*") if not path.is_dir())

    def reasons(self, kind: str) -> list[str]:
        """Why things of this kind were told."""
        return [event.reason for event in self.events if event.kind == kind]

    def reopen(self) -> None:
        """Stop using the vault and open it as the next start does."""
        self.index.close()
        self.index = Index(self.state / "index.db", key=self.keystore.index_key())
        self.vault = Vault(folder=self.state, index=self.index, keystore=self.keystore)
        self.vault.recover()

    def close(self) -> None:
        """Give the index back."""
        self.index.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    place = Home(tmp_path)
    yield place
    place.close()


@pytest.fixture
def until() -> Until:
    """Wait in a running loop until something is true, for at most a minute."""
    pulse = threading.Event()  # never set: only its deadline is used

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(at_most(60)):
            while not condition():
                await asyncio.to_thread(pulse.wait, 0.01)

    return wait
