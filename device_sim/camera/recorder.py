"""What a camera does all day: while it may, it records onto its card.

Rules: an interval that its agent, its consent, its card or its power ends early has a clip of what it was, and no
longer; what is deleted while it is recorded is not kept; a camera that may not record sees nothing.
"""

import asyncio
import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from device_sim.camera.card import CardError, Entry
from device_sim.camera.device import Change, Device
from device_sim.camera.layout import Kind
from device_sim.camera.media import DEFAULT_BITS_PER_S, DEFAULT_FPS, DEFAULT_SIZE, write_clip, write_photo
from device_sim.camera.usage_log import usage_log_lines

LOG_LINES: Final = 20
SHORTEST_S: Final = 0.2
AFTER_FAILURE_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """What is recorded and how often; without ``rate_per_minute`` at once, ``count`` rounds that have just been."""

    rate_per_minute: float = 6.0
    seconds: float = 10.0
    count: int | None = None
    clips: bool = True
    photos: bool = False
    logs: bool = False
    size: tuple[int, int] = DEFAULT_SIZE
    fps: int = DEFAULT_FPS
    bits_per_s: int = DEFAULT_BITS_PER_S
    clip: Path | None = None

    @property
    def rest_s(self) -> float:
        """Between the end of a round and the next."""
        return max(60 / self.rate_per_minute - self.seconds, 0) if self.rate_per_minute else 0.0


class Recorder:
    """The ``Face`` that looks outward."""

    def __init__(self, device: Device, habit: Habit) -> None:
        self._device, self._habit = device, habit
        self._rounds = 0

    async def run(self) -> None:
        """Record until cancelled, or until ``count`` rounds are on the card."""
        habit = self._habit
        while habit.count is None or self._rounds < habit.count:
            await self._until(lambda: self._device.may_record)
            try:
                await self._round()
                self._rounds += 1
            except CardError as error:
                self._device.tell("not-recorded", reason=str(error))
                await self._until(lambda: not self._device.may_record, within_s=AFTER_FAILURE_S)
            await self._until(lambda: False, within_s=habit.rest_s)

    async def _round(self) -> None:
        habit, device = self._habit, self._device
        length = timedelta(seconds=habit.seconds)
        back = length * ((habit.count or 1) - self._rounds)
        begin = device.now() - (timedelta() if habit.rate_per_minute else back)
        if habit.clips:
            await self._clip(begin, length)
        if habit.photos:
            await self._keep("photo", begin, begin, lambda: _photo(device, habit, begin))
        if habit.logs:
            await self._keep("usage-log", begin, begin + length, lambda: _log(device, begin))

    async def _clip(self, begin: datetime, length: timedelta) -> None:
        device, habit = self._device, self._habit
        device.note_recording(running=True)
        try:
            with self._begun("recording", begin) as entry:
                if habit.rate_per_minute:
                    await self._until(
                        lambda: not (device.may_record and device.card.holds(entry.id)), within_s=habit.seconds
                    )
                    length = min(max(device.now() - begin, timedelta(seconds=SHORTEST_S)), length)
                await self._finish(entry, begin + length, lambda: _clip(device, habit, begin, length.total_seconds()))
        finally:
            device.note_recording(running=False)

    async def _keep(self, kind: Kind, begin: datetime, end: datetime, make: Callable[[], bytes]) -> None:
        if self._device.may_record:
            with self._begun(kind, begin) as entry:
                await self._finish(entry, end, make)

    @contextlib.contextmanager
    def _begun(self, kind: Kind, begin: datetime) -> Iterator[Entry]:
        device = self._device
        own = self._habit.clip if kind == "recording" else None
        media_type = "video/x-matroska" if own is not None and own.suffix == ".mkv" else ""
        entry = device.card.begin(device.next_number(), kind, start=begin, clock=device.clock, media_type=media_type)
        try:
            yield entry
        finally:
            device.card.abandon(entry.id)

    async def _finish(self, entry: Entry, end: datetime, make: Callable[[], bytes]) -> None:
        content = await asyncio.to_thread(make)
        made = self._device.card.finish(entry.id, content, end=end)
        if made is not None:
            self._device.tell("recorded", recording=made.id, category=made.category, size=made.size)

    async def _until(self, true: Callable[[], bool], *, within_s: float | None = None) -> None:
        """Wait for that, looking again at each change, or until the time is over."""
        seen = asyncio.Event()

        def hear(_change: Change) -> None:
            if true():
                seen.set()

        self._device.changed.append(hear)
        try:
            hear("state")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await seen.wait()
        finally:
            self._device.changed.remove(hear)


def _clip(device: Device, habit: Habit, begin: datetime, seconds: float) -> bytes:
    if habit.clip is not None:
        return habit.clip.read_bytes()
    memory = io.BytesIO()
    write_clip(
        memory,
        seed=device.seed,
        start=begin,
        seconds=seconds,
        size=habit.size,
        fps=habit.fps,
        label=device.name,
        bits_per_s=habit.bits_per_s,
    )
    return memory.getvalue()


def _photo(device: Device, habit: Habit, begin: datetime) -> bytes:
    memory = io.BytesIO()
    write_photo(memory, seed=device.seed, start=begin, size=habit.size, label=device.name)
    return memory.getvalue()


def _log(device: Device, begin: datetime) -> bytes:
    lines = usage_log_lines(device.seed, begin, LOG_LINES, name=device.name)
    return "".join(f"{line}\n" for line in lines).encode()
