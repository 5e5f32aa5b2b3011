"""Time is an argument: this is the only file that reads a clock.

A flow reads once, at its start, and hands the ``Reading`` down; nothing below asks again (invariant I8). What a
reading means for ages and deadlines is decided in ``agent/timeline.py`` from the persisted floor, not here.
"""

import asyncio
import ctypes
import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

ClockSource = Literal["ntp", "system"]

MS_PER_S: Final = 1000
_NS_PER_MS: Final = 1_000_000

# Linux <sys/timex.h>: adjtimex(2) answers TIME_ERROR while the kernel clock is not synchronised.
_TIME_ERROR: Final = 5
_TIMEX_BYTES: Final = 512  # larger than struct timex on every supported platform


class Reading(msgspec.Struct, frozen=True):
    """One look at all clocks.

    ``wall_ms`` is Unix time in milliseconds; ``boot_ms`` runs since boot and through suspend; ``boot_id`` names the
    boot, so two readings of different boots are never subtracted; ``synchronised`` is what the system says of
    ``wall_ms``.
    """

    wall_ms: int
    boot_ms: int
    boot_id: str
    synchronised: bool


ReadClock = Callable[[], Reading]


def system_clock(*, source: ClockSource = "ntp") -> ReadClock:
    """Return the reader of this machine's clocks.

    ``source="system"`` is the integrator's statement that the system clock is set by something trustworthy that the
    kernel does not know of (a hypervisor, a GNSS receiver); ``"ntp"`` believes the kernel's own synchronisation flag.
    """
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def read() -> Reading:
        return Reading(
            wall_ms=time.time_ns() // _NS_PER_MS,  # noqa: TID251 - the one place that reads it
            boot_ms=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _NS_PER_MS,
            boot_id=boot_id,
            synchronised=source == "system" or _kernel_synchronised(),
        )

    return read


def _kernel_synchronised() -> bool:
    """Ask the kernel, which takes its word back when the clock is set by hand or nobody disciplined it for hours.

    Every NTP client tells it, systemd-timesyncd too unless the hardware clock runs in local time. That one's own mark
    beneath /run/systemd/timesync says only that it succeeded once in this boot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    answer: int = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= answer < _TIME_ERROR


def monotonic_s() -> float:
    """Return seconds that never run backwards; only differences mean something."""
    return time.monotonic()  # noqa: TID251 - the one place that reads it


async def pause(seconds: float) -> None:
    """Let ``seconds`` pass; flows take this as an argument so that a test's clock can answer at once."""
    await asyncio.sleep(seconds)


def rfc3339_ms(unix_ms: int) -> str:
    """Write Unix milliseconds as RFC 3339 UTC with milliseconds, the form of every data field."""
    moment = dt.datetime.fromtimestamp(unix_ms // MS_PER_S, tz=dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ms % MS_PER_S:03d}Z"


def parse_rfc3339_ms(text: str) -> int:
    """Read RFC 3339 with any offset into Unix milliseconds; a time without an offset raises ``ValueError``."""
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    return round(moment.timestamp() * MS_PER_S)
