"""An agent's vault with random sealed objects, and the upload flow over it."""

import asyncio
import contextlib
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from agent import age
from agent.broker import Broker
from agent.clock import monotonic_s
from agent.envelope import Key
from agent.erasure import Erasure
from agent.index import Index, Tx
from agent.keystore import Keystore
from agent.keytree import SLOT_KEY_BYTES, seal_header, wrap_slot
from agent.model import Category, Moment, Object, new_id
from agent.policy import Policy, Rights, parse_policy
from agent.rights.snapshot import Snapshot
from agent.uplink import Device, pause_until
from agent.upload import Upload
from agent.vault import Draft, Vault
from tests.upload.line import running
from tests.writing import policy_text

OWNER = age.generate_identity(post_quantum=False)
NOW = Moment(agent_ms=1_700_000_000_000, wall_ms=1_700_000_000_000, trusted=True)


def policy(extra: str = "", *, photo: str = "", owner: str = "") -> Policy:
    text = policy_text(
        owner or OWNER.recipient().to_text(),
        head=extra,
        recording='upload = "allowed"',
        photo=f'upload = "allowed"\n{photo}',
    )
    return parse_policy(text.encode(), file="policy.toml")


class Counted(Snapshot):
    """The real one, which counts how often a set was decided about."""

    def __init__(self) -> None:
        super().__init__()
        self.judged = 0

    def of_set(self, tx: Tx, camera: str, category: str) -> Rights:
        self.judged += 1
        return super().of_set(tx, camera, category)


class Hub:
    """Keystore, index, vault, erasure and the upload flow of one device."""

    def __init__(self, folder: Path, *, name: str = "cam-1") -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        path = folder / "keystore"
        self.keystore = Keystore.open(path) if path.exists() else Keystore.create(path)
        self.index = Index(folder / "index.db", key=self.keystore.index_key())
        self.vault = Vault(folder=folder / "vault", index=self.index, keystore=self.keystore)
        self.finished: list[str] = []
        self.erasure = Erasure(
            vault=self.vault,
            index=self.index,
            keystore=self.keystore,
            finish=lambda _tx, command, _outcomes, _moment: self.finished.append(command),
        )
        self.device = Device.of(self.keystore, name=name)
        self.policy = policy()
        self.moment = NOW
        self.alerts: list[tuple[str, str]] = []
        self.suspects: list[str] = []
        self.hurry = 1.0  # how much faster than real its clock runs
        self.snapshot = Counted()

    async def add(
        self,
        *,
        size_bytes: int,
        category: Category = "recording",
        purposes: tuple[str, ...] = ("security",),
        readers: tuple[age.Recipient, ...] = (),
    ) -> Object:
        """Put random bytes into the vault as if they were sealed, to the owner and to ``readers``."""
        object_id, key, group = new_id(), os.urandom(SLOT_KEY_BYTES), await self.vault.group()
        header = age.wrap_header(key, [OWNER.recipient(), *readers])
        fd, part = self.vault.new_part()
        digest = hashlib.sha256()
        with os.fdopen(fd, "wb") as file:
            for start in range(0, size_bytes, 1 << 20):
                block = os.urandom(min(1 << 20, size_bytes - start))
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        payload_sha256 = digest.digest()
        draft = Draft(
            id=object_id,
            camera="k3x9",
            category=category,
            purposes=purposes,
            source="spool",
            media_type="video/mp4",
            name="clip.mp4",
            captured_from_ms=NOW.agent_ms,
            captured_to_ms=NOW.agent_ms + 1000,
            plain_bytes=size_bytes,
            size_bytes=size_bytes,
            payload_sha256=payload_sha256,
            header_sha256=hashlib.sha256(header).digest(),
            kind="file-key",
            recipients=(OWNER.recipient().to_text(), *(one.to_text() for one in readers)),
            source_copy="taken",
            medium="tmpfs",
            slot=wrap_slot(group, key, object_id=object_id, payload_sha256=payload_sha256, kind="file-key"),
            sealed_header=seal_header(key, header, object_id=object_id),
            source_tag=secrets.token_bytes(32),
            content_tag=secrets.token_bytes(32),
        )
        return await self.vault.admit(draft, part=part, group=group, moment=self.moment)

    def flow(self, broker: Broker, *stores: Key) -> Upload:
        return Upload(
            index=self.index,
            vault=self.vault,
            erasure=self.erasure,
            line=broker,
            device=self.device,
            stores=lambda _tx: stores,
            policy=lambda: self.policy,
            now=lambda: self.moment,
            snapshot=self.snapshot,
            alert=lambda code, what, _about="": self.alerts.append((code, what)),
            clock_s=lambda: monotonic_s() * self.hurry,
            wait=lambda seconds, event: pause_until(seconds / self.hurry, event),
            suspect=self.suspects.append,
        )

    def uploaded(self, *items: Object) -> bool:
        return all(self.state(item) == "uploaded" for item in items)

    def state(self, item: Object) -> str:
        found = self.index.read_now(lambda tx: self.vault.get(tx, item.id))
        return found.state if found is not None else "gone"

    def close(self) -> None:
        self.index.close()


@contextlib.asynccontextmanager
async def uploading(hub: Hub, broker: Broker, *stores: Key) -> AsyncIterator[Upload]:
    """Run the line and the flow; both end with the block. The last store gets the uploads."""
    flow = hub.flow(broker, *stores)
    async with running(broker), asyncio.TaskGroup() as group:
        task = group.create_task(flow.run(), name="upload")
        try:
            yield flow
        finally:
            task.cancel()
