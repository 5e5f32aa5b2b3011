"""Sightings of all ways in one bounded list, and who is who among them by what was proved; pure state, no clock.

1. Each sighting is a row of its own, whatever it is called and wherever it was heard.
2. Rows whose keys were proved equal are one device. Nothing else joins rows.
3. A proof lasts while the row is heard with the same words: an address, a port or an id that changed is to be proved
   anew, because whoever wrote the new words may be another.
4. A goodbye or a lapse marks the row as gone, and it goes after ``GONE_MS``; the enrolled camera stays, with what was
   proved of it last.
5. At ``ROWS_MAX`` a row makes room: one that is gone, else one that proved nothing, and announces no enrolled camera's
   id before one that does, else any; the least recently heard.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from agent.camera.tls import Shown
from agent.discovery.sighting import Heard, Leak, Lost, Sighting, Trouble
from agent.enrolment import Enrolled
from agent.nearby.judging import Impostor, Same, Verdict

ROWS_MAX: Final = 1024
"""Twice what one way keeps; of a flood the rest is counted by nobody."""

GONE_MS: Final = 10 * 60_000
"""For so long what said goodbye or fell silent is shown."""

TROUBLES_MAX: Final = 64

Key = tuple[str, str, str]
"""Way, place, and what that way calls it there."""


class Met(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera said over Bluetooth, once it had proved itself.

    ``state`` is sealed to that proof; ``unverified`` is its Device Information Service, which proves nothing.
    """

    state: dict[str, Any]
    unverified: dict[str, str]


class Row(msgspec.Struct, kw_only=True):
    """One thing that was heard, how often checked, and what that showed."""

    sighting: Sighting
    first_ms: int
    last_ms: int
    gone_ms: int | None = None
    shown: Shown | None = None
    verdict: Verdict | None = None
    checked_ms: int | None = None
    answered: bool | None = None
    """Whether anything answered at its addresses when that was tried last; ``None``: not tried."""
    proved_at: str = ""
    """The address at which the key was shown."""
    met: Met | None = None
    """What a camera that proved itself over Bluetooth said when that was asked last."""
    wants_passkey: bool = False
    """It wants to be paired before it answers."""
    failures: int = 0
    waiting: bool = False
    """It waits for a check."""
    step: int = 0
    """Of its check, which is next."""
    found: list[tuple[Shown, str]] = []
    """Who answered in the steps before, and at which address."""
    slow: list[str] = []
    """The addresses that kept the steps before waiting."""
    expected: bool = False
    """It announces an enrolled camera's id, which anybody may."""

    @property
    def key(self) -> Key:
        """What it is found again by."""
        return key_of(self.sighting)


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device as it is shown to a person: the rows that proved one key, or a single one that proved none."""

    rows: tuple[Row, ...]
    camera: Enrolled | None = None
    """The enrolled camera that it is."""
    impostor: Impostor | None = None
    """The enrolled camera that it is not."""
    kid: str = ""
    unverified_device: str = ""

    @property
    def leaks(self) -> tuple[Leak, ...]:
        """What its adverts give away, each once."""
        return tuple(sorted({leak for row in self.rows for leak in row.sighting.leaks}))

    @property
    def signal_dbm(self) -> int | None:
        """The strongest signal of those heard by radio."""
        return max((one for row in self.rows if (one := row.sighting.signal_dbm) is not None), default=None)


class Inventory:
    """All that is known of what is near."""

    def __init__(self) -> None:
        self._rows: dict[Key, Row] = {}
        self._troubles: dict[tuple[str, str], Trouble] = {}

    def hear(self, heard: Heard, *, now_ms: int) -> Row | None:
        """Take in what a discoverer says; return the row where it has to be proved anew."""
        if isinstance(heard, Trouble):
            self._take_trouble(heard)
            return None
        if isinstance(heard, Lost):
            row = self._rows.get((heard.way, heard.place, heard.key))
            if row is not None and row.gone_ms is None:
                row.gone_ms = now_ms
            return None
        row = self._rows.get(key_of(heard))
        if row is None:
            self._make_room()
            row = Row(sighting=heard, first_ms=now_ms, last_ms=now_ms)
            self._rows[row.key] = row
            return row
        before, row.sighting = row.sighting, heard
        was_gone, row.gone_ms = row.gone_ms is not None, None
        row.last_ms = now_ms
        if _words(before) == _words(heard) and not was_gone:
            return None
        if _words(before) != _words(heard):
            row.shown, row.verdict, row.proved_at, row.failures, row.met = None, None, "", 0, None
        return row

    def lapse(self, *, now_ms: int) -> None:
        """Drop what has been gone for ``GONE_MS``."""
        for key, row in list(self._rows.items()):
            if row.gone_ms is not None and now_ms - row.gone_ms >= GONE_MS:
                del self._rows[key]

    def row(self, key: Key) -> Row | None:
        """Return a row that is still there."""
        return self._rows.get(key)

    def rows(self) -> Iterator[Row]:
        """Yield every row."""
        yield from self._rows.values()

    def rows_of(self, camera: str) -> tuple[Row, ...]:
        """Return the rows that proved to be an enrolled camera, the one heard last first."""
        found = [row for row in self._rows.values() if row.verdict == Same(camera)]
        return tuple(sorted(found, key=lambda row: -row.last_ms))

    def troubles(self) -> tuple[Trouble, ...]:
        """Return why nothing may be heard some way at some place."""
        return tuple(self._troubles.values())

    def devices(self, cameras: Iterable[Enrolled]) -> tuple[Device, ...]:
        """Return what is near as devices: enrolled ones first, heard or not, then the others in order of arrival."""
        known = {one.camera: one for one in cameras}
        joined: dict[str, list[Row]] = {camera: [] for camera in known}
        strangers: dict[str, list[Row]] = {}
        for row in self._rows.values():
            if isinstance(row.verdict, Same) and row.verdict.camera in known:
                joined[row.verdict.camera].append(row)
            elif row.shown is not None and row.shown.kid and not isinstance(row.verdict, Impostor):
                strangers.setdefault(row.shown.kid, []).append(row)
            else:
                strangers["/".join(row.key)] = [row]
        return (
            *(Device(rows=tuple(rows), camera=known[camera]) for camera, rows in joined.items()),
            *(_stranger(rows) for rows in strangers.values()),
        )

    def _take_trouble(self, trouble: Trouble) -> None:
        where = (trouble.way, trouble.place)
        if trouble.reason == "":
            self._troubles.pop(where, None)
        elif where in self._troubles or len(self._troubles) < TROUBLES_MAX:
            self._troubles[where] = trouble

    def _make_room(self) -> None:
        if len(self._rows) < ROWS_MAX:
            return
        oldest = min(self._rows.values(), key=_worth)
        del self._rows[oldest.key]


def _worth(row: Row) -> tuple[bool, bool, bool, int]:
    return row.gone_ms is None, isinstance(row.verdict, Same), row.expected, row.last_ms


def key_of(sighting: Sighting) -> Key:
    """Return what a sighting is found again by."""
    return sighting.way, sighting.place, sighting.key


def _words(sighting: Sighting) -> tuple[object, ...]:
    """Return what a proof was about; a proof of other words proves nothing about these."""
    return sighting.service, sighting.unverified_id, frozenset(sighting.addresses), sighting.port


def _stranger(rows: list[Row]) -> Device:
    first = rows[0]
    return Device(
        rows=tuple(rows),
        impostor=first.verdict if isinstance(first.verdict, Impostor) else None,
        kid="" if first.shown is None else first.shown.kid,
        unverified_device="" if first.shown is None else first.shown.unverified_device,
    )
