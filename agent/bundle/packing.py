"""The form for people: objects as they were recorded, packed in zip archives that are sealed while they are written."""

import datetime as dt
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, Literal

from agent.bundle import table
from agent.bundle.archive import ENTRY_OVERHEAD_BYTES, Archive, Entry, dos_time
from agent.bundle.content import Measured, fixed, measure, opened
from agent.bundle.names import file_name
from agent.bundle.work import ChangedError, Source, Work, about
from agent.clock import MS_PER_S
from agent.envelope import encode
from agent.errors import CorruptError
from agent.model import Outcome
from agent.vault import Vault

PART_BYTES: Final = 256 * 1024 * 1024
_ENTRY_MANIFEST_BYTES: Final = 2048


class Zip:
    """Fills archives of at most ``PART_BYTES``; an object that is larger alone gets a part of its own.

    Raises ``ChangedError`` for one that is not what it was when its turn comes: its part is broken.
    """

    def __init__(self, work: Work, vault: Vault, *, total: int, progress: Callable[[int, int], None]) -> None:
        self._work = work
        self._vault = vault
        self._total = total
        self._progress = progress

    def fill(self, sources: Iterator[Source]) -> list[dict[str, Any]]:
        """Pack everything; return what the manifest says of each object."""
        described: list[dict[str, Any]] = []
        packable = self._packable(sources)
        first = next(packable, None)
        number = 0
        while first is not None:
            number += 1
            part: list[dict[str, Any]] = []
            holder: list[tuple[Source, list[tuple[str, Measured]]] | None] = [None]
            file = self._work.seal(f"part-{number:03d}.zip.age", self._part(first, packable, part, holder))
            self._work.files.append(file)
            described.extend(entry | {"part": file.name} for entry in part)
            self._work.within.update((entry["id"], file.name) for entry in part)
            first = holder[0]
        return described

    def _packable(self, sources: Iterator[Source]) -> Iterator[tuple[Source, list[tuple[str, Measured]]]]:
        """Open each object whole; one that does not open, or that only its owner can open, is left out."""
        for source in sources:
            item = source.item
            if item.kind != "file-key":
                self._leave_out(source, "not_readable_here")
                continue
            pieces = opened(self._vault.payload_path(item.id), file_key=source.slot_key, size_bytes=item.size_bytes)
            name = file_name(item, label=source.label)
            try:
                entries = [(name, measure(pieces))]
                if item.category == "usage-log":
                    names = table.columns(pieces())
                    csv = measure(partial(_csv, pieces, names))
                    entries.append((f"{name.rpartition('.')[0]}.csv", csv))
            except (CorruptError, FileNotFoundError):
                self._leave_out(source, "failed")
                continue
            yield source, entries

    def _leave_out(self, source: Source, result: Literal["not_readable_here", "failed"]) -> None:
        self._work.outcomes[source.item.id] = Outcome(id=source.item.id, result=result)
        self._progress(len(self._work.outcomes), self._total)

    def _part(
        self,
        first: tuple[Source, list[tuple[str, Measured]]],
        packable: Iterator[tuple[Source, list[tuple[str, Measured]]]],
        described: list[dict[str, Any]],
        following: list[tuple[Source, list[tuple[str, Measured]]] | None],
    ) -> Iterator[bytes]:
        archive = Archive()
        room = PART_BYTES
        held: tuple[Source, list[tuple[str, Measured]]] | None = first
        while held is not None:
            source, entries = held
            need = sum(measured.size_bytes + ENTRY_OVERHEAD_BYTES for _name, measured in entries)
            need += _ENTRY_MANIFEST_BYTES
            if need > room and described:
                following[0] = held
                break
            room -= need
            item = source.item
            for name, measured in entries:
                entry = Entry(
                    name=name,
                    size_bytes=measured.size_bytes,
                    crc32=measured.crc32,
                    dos_time=_dos_time(item.captured_from_ms),
                )
                try:
                    yield from archive.entry(entry, measured.pieces())
                except CorruptError as error:
                    raise ChangedError(
                        f"object {item.id} could not be read a second time: {error.message}",
                        object_id=item.id,
                        hint="look at the disk that holds the vault, then export again",
                    ) from error
            described.append(self._work.described(about(source) | {"files": [name for name, _measured in entries]}))
            self._work.outcomes[item.id] = Outcome(id=item.id, result="exported")
            self._progress(len(self._work.outcomes), self._total)
            held = next(packable, None)
        manifest = fixed(encode({"v": 1, "objects": described}))
        entry = Entry(name="manifest.json", size_bytes=manifest.size_bytes, crc32=manifest.crc32, dos_time=_dos_time(0))
        yield from archive.entry(entry, manifest.pieces())
        yield from archive.end()


def _dos_time(unix_ms: int) -> int:
    moment = dt.datetime.fromtimestamp(unix_ms // MS_PER_S, tz=dt.UTC)
    return dos_time(moment.year, moment.month, moment.day, hour=moment.hour, minute=moment.minute, second=moment.second)


def _csv(pieces: Callable[[], Iterator[bytes]], names: tuple[str, ...]) -> Iterator[bytes]:
    return table.rows(pieces(), names)
