"""The clocks of the device as the machine sets them, and what a device may make of them: a second reading of the table.

``docs/design.md`` (Time) and the table of ``agent/timeline.py`` say what is written here once more, in other words.
"""

from dataclasses import dataclass, replace

from agent.clock import Reading

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_800_000_000_000


@dataclass
class Clocks:
    """``true_ms`` is what everybody else's clock shows; ``off_by_ms`` is by how much the device's own is wrong."""

    true_ms: int = START_MS
    off_by_ms: int = 0
    boot_ms: int = 60_000
    boots: int = 1
    synchronised: bool = True

    def read(self) -> Reading:
        return Reading(
            wall_ms=self.true_ms + self.off_by_ms,
            boot_ms=self.boot_ms,
            boot_id=f"boot {self.boots}",
            synchronised=self.synchronised,
        )

    def pass_ms(self, ms: int) -> None:
        """Let time pass while the device is on."""
        self.true_ms += ms
        self.boot_ms += ms

    def boot_after(self, off_ms: int) -> None:
        """Start the machine anew, after it was off."""
        self.true_ms += off_ms
        self.boot_ms = 5_000
        self.boots += 1


@dataclass(frozen=True)
class Known:
    """What a device knows of the time at one look."""

    now_ms: int
    boot: str
    boot_ms: int
    trusted: bool
    leapt: bool = False
    signed: bool = False
    believed: tuple[int, int] | None = None
    """Wall and boot clock when the wall clock was first believed in this boot; not kept over a start."""


class AgentTime:
    """The agent's own time: never behind, on the wall clock where that is believed, else on with the boot clock."""

    def __init__(self, reading: Reading) -> None:
        self.known = Known(reading.wall_ms, reading.boot_id, reading.boot_ms, trusted=True)
        self.known = replace(self.known, believed=(reading.wall_ms, reading.boot_ms))
        self.kept = self.known
        self.looked_at = reading

    @property
    def now_ms(self) -> int:
        return self.known.now_ms

    @property
    def trusted(self) -> bool:
        return self.known.trusted

    def look(self, reading: Reading) -> None:
        self.looked_at = reading
        was, same = self.known, self.known.boot == reading.boot_id
        by_boot_ms = was.now_ms + (reading.boot_ms - was.boot_ms if same else 0)
        believed = was.believed or ((was.now_ms, was.boot_ms) if was.trusted or was.leapt else None)
        at = Known(by_boot_ms, reading.boot_id, reading.boot_ms, trusted=False, believed=believed if same else None)
        if was.signed and same:
            self.known = replace(at, trusted=True, signed=True)
        elif not reading.synchronised:
            self.known = replace(at, leapt=was.leapt and same)
        elif self._may_follow(at, reading):
            first = at.believed or (reading.wall_ms, reading.boot_ms)
            self.known = replace(at, now_ms=max(was.now_ms, reading.wall_ms), trusted=True, believed=first)
        else:
            self.known = replace(at, leapt=True)

    def _may_follow(self, at: Known, reading: Reading) -> bool:
        ahead_ms = reading.wall_ms - at.now_ms
        if at.believed is None:
            return -HOUR_MS <= ahead_ms <= 400 * DAY_MS
        wall_ms, boot_ms = at.believed
        passed_ms = reading.boot_ms - boot_ms
        strays_ms = abs(reading.wall_ms - wall_ms - passed_ms)
        return abs(ahead_ms) <= HOUR_MS and strays_ms <= HOUR_MS + passed_ms // 2_000

    def sign(self, now_ms: int) -> bool:
        """Follow a signed time; one behind what is known is refused, and so is one ahead of a clock that is right."""
        if now_ms < self.now_ms - 10_000:
            return False
        wall_ms = self.looked_at.wall_ms
        right = self.trusted and self.looked_at.synchronised and abs(wall_ms - self.now_ms) <= HOUR_MS
        if right and now_ms > max(self.now_ms, wall_ms + HOUR_MS // 2):
            return False
        self.known = replace(
            self.known, now_ms=max(now_ms, self.now_ms), trusted=True, leapt=False, signed=True, believed=None
        )
        self.kept = self.known
        return True

    def keep(self) -> None:
        """Have what is known survive a power cut; what is further on survives already."""
        signed_since = self.kept.signed and self.kept.boot == self.known.boot and not self.known.signed
        if self.kept.now_ms <= self.known.now_ms and not signed_since:
            self.kept = self.known

    def start(self) -> None:
        """Know no more than what was kept."""
        self.known = replace(self.kept, believed=None)
