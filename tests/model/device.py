"""The real device in a folder: parts opened as the agent opens them, files as a camera writes them, power that fails.

Nothing of the agent is replaced. Its calls that write are counted, so that a power cut can fall behind any of them: the
state is copied as it stands there, on the index's own thread, and that copy is what the next start finds.
"""

import asyncio
import io
import os
import shutil
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, TypeVar

from agent import age
from agent.age.filekey import unwrap_header
from agent.age.stream import decrypt_stream
from agent.app.parts import Parts, opened
from agent.commands.flow import Submitted
from agent.files import remove_tree
from agent.index import Tx
from agent.ingest import Ingest
from agent.retention import Disk
from agent.sealer import Sealer
from tests.model.clocks import Clocks
from tests.model.household import SOURCES, Household

T = TypeVar("T")

_LONG_S = 3600.0


class Device:
    """One device of the household in ``top``; ``cuts`` counts the power cuts."""

    def __init__(self, house: Household, top: Path) -> None:
        shutil.copytree(house.template, top)
        self.house = house
        self.top = top
        self.clocks = Clocks()
        self.cuts = 0
        self._state = "state"
        self._runner = asyncio.Runner()
        self._sealer = Sealer(idle_s=_LONG_S)
        self._cut_behind: int | None = None
        self._lying: dict[Path, tuple[bytes, int]] = {}
        self.open()

    # --- starting and stopping

    def open(self) -> None:
        config = self.house.config(self.top, state=self._state)
        self._door: AbstractAsyncContextManager[Parts] = opened(config, read_clock=self.clocks.read)
        self.parts = self._runner.run(self._door.__aenter__())
        self._count_writes()

    def close(self) -> None:
        """Stop in order."""
        self._runner.run(self._door.__aexit__(None, None, None))

    def end(self) -> None:
        """Be done with it for good."""
        self.close()
        self._runner.run(self._sealer.aclose())
        self._runner.close()
        shutil.rmtree(self.top)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    # --- power

    def cut_behind(self, write: int) -> None:
        """Let the power fail behind that many writes from now; ``lost_power`` tells whether there were as many."""
        self._cut_behind = write

    def cut_now(self) -> None:
        """Let the power fail at once."""
        self._cut_behind = 1
        self._point()

    def lost_power(self) -> bool:
        """Have the power fail where it was to fail: what came behind it never was. The device is off then."""
        cut, self._cut_behind = self._cut_behind == 0, None
        if not cut:
            return False
        self.close()
        remove_tree(self.top / self._state)
        self.cuts += 1
        self._state = f"state{self.cuts}"
        for path, (content, time_ns) in self._lying.items():
            if not path.exists():
                path.write_bytes(content)
                os.utime(path, ns=(time_ns, time_ns))
        return True

    def _count_writes(self) -> None:
        submit = self.parts.index._submit

        def counted(kind: Any, fn: Callable[[Tx], Any], *, large: bool = False) -> Any:  # noqa: ANN401 - as the real one
            def noted(tx: Tx) -> Any:  # noqa: ANN401 - the same
                tx.then(self._point)
                return fn(tx)

            return submit(kind, noted if kind in {"write", "urgent"} else fn, large=large)

        self.parts.index._submit = counted  # type: ignore[method-assign]  # only counted, then it is the real one
        self.parts.erasure._at = lambda _step: self._point()

    def _point(self) -> None:
        if not self._cut_behind:
            return
        self._cut_behind -= 1
        if self._cut_behind == 0:
            shutil.copytree(
                self.top / self._state, self.top / f"state{self.cuts + 1}", copy_function=_copy_what_is_there
            )
            self._lying = dict(self._lies())

    def _lies(self) -> Any:  # noqa: ANN401 - pairs
        for source in SOURCES:
            for path in sorted((self.top / source).rglob("*.*")):
                with suppress(FileNotFoundError):
                    yield path, (path.read_bytes(), path.stat().st_mtime_ns)

    # --- files

    def write(self, source: str, path: str, content: bytes, *, time_ms: int) -> None:
        """Write a file as a camera does, with its time."""
        file = self.top / source / path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        part.write_bytes(content)
        os.utime(part, ns=(time_ms * 1_000_000, time_ms * 1_000_000))
        part.rename(file)

    def lying(self) -> set[tuple[str, str]]:
        """Return (source, path) of what lies at the sources."""
        tops = {source: self.top / source for source in SOURCES}
        return {
            (source, str(path.relative_to(top)))
            for source, top in tops.items()
            for path in top.rglob("*")
            if path.is_file()
        }

    def take_in(self) -> None:
        """Look over all sources once, as at a start."""
        self.run(self._take_in())

    async def _take_in(self) -> None:
        parts = self.parts
        flow = Ingest(
            parts.config.sources,
            vault=parts.vault,
            sealer=self._sealer,
            policy=parts.policy_in_force,
            now=parts.now,
            rights=parts.snapshot.at_ingest,
            monotonic=lambda: 1_000.0,
        )
        try:
            await flow.scan_once()
        finally:
            flow.close()

    # --- what others say

    def submit(self, raw: bytes) -> Submitted:
        return self.run(self.parts.commands.submit(raw, moment=self.parts.now()))

    def receive(self, raw: bytes) -> tuple[bytes, ...]:
        return self.run(self.parts.commands.receive(raw, moment=self.parts.now()))

    def seal(self, jws: bytes) -> bytes:
        return b"\x01" + age.encrypt(jws, [age.parse_recipient(self.parts.keystore.recipient())])

    # --- what goes by itself

    def retain(self) -> None:
        self.run(self._retain())

    async def _retain(self) -> None:
        parts, moment, disk = self.parts, self.parts.now(), Disk()

        def ends(lying: Any, freed_bytes: int) -> str | None:  # noqa: ANN401 - as the bundle hands it
            return parts.retention.ends_export(lying, freed_bytes, moment=moment, disk=disk)

        await asyncio.to_thread(parts.bundle.expire, ends, moment=moment)
        await parts.end_holds()
        passed = await parts.retention.run_pass(moment, disk)
        assert not passed.waiting, "so few objects surprise nobody"
        await parts.index.write(parts.keep_house, urgent=True)
        await parts.prune_log()
        await parts.commands.tell_late(moment)
        await parts.keep_keys()

    # --- what an owner sees

    def rows(self, sql: str, *values: int | str) -> list[tuple[Any, ...]]:
        return self.parts.index.read_now(lambda tx: tx.execute(sql, values))

    def content(self, object_id: str, reader: age.Identity) -> bytes:
        """Open an object as its reader does."""
        vault = self.parts.vault
        header = self.parts.index.read_now(lambda tx: vault.header(tx, object_id))
        key = (
            self.parts.index.read_now(lambda tx: vault.slot_key(tx, object_id))
            if header is None
            else unwrap_header(header, [reader])
        )
        plain = io.BytesIO()
        decrypt_stream(key, io.BytesIO(vault.payload_path(object_id).read_bytes()), plain)
        return plain.getvalue()

    def exported(self, export_id: str) -> dict[str, bytes]:
        """Open an export as its owner does: the clear bytes by object."""
        folder = self.parts.bundle.folder / export_id
        return {
            file.name.removesuffix(".age"): age.decrypt(file.read_bytes(), [self.house.owner])
            for file in folder.glob("*.age")
            if not file.name.startswith("manifest")
        }


def _copy_what_is_there(source: str, to: str) -> None:
    with suppress(FileNotFoundError):  # a part file that just became another one's
        shutil.copy2(source, to)
