"""A clock that is unsure lags: since when a yes counts is what its owner's own clock says."""

import asyncio
from pathlib import Path

import pytest

from agent.clock import Reading, rfc3339_ms
from agent.index import consent as rows
from tests.app.station import START_S, Station
from tests.intake import take_in

START_MS = START_S * 1000
DAY_MS = 86_400_000
ANALYTICS = """\
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
[category.photo]
purpose = "analytics"
seal_to = ["owner"]
"""


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    path = tmp_path / "spool"
    path.mkdir()
    return path


@pytest.fixture
def station(tmp_path: Path, spool: Path) -> Station:
    source = f'[[source]]\nkind = "spool"\nname = "spool"\npath = "{spool}"\nmedium = "disk"\n'
    return Station(tmp_path, sources=source)


def photos_need_consent(station: Station) -> None:
    with station.config.policy.open("a") as document:
        document.write(ANALYTICS)


def record(spool: Path, at_ms: int, *, category: str = "photo", ending: str = ".jpg") -> Path:
    folder = spool / "front" / category
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (rfc3339_ms(at_ms).replace(":", "-") + ending)
    path.write_bytes(f'{{"at":"{at_ms}"}}\n'.encode())
    return path


async def names(station: Station) -> list[str]:
    async with station.parts() as parts:
        await take_in(parts)
        return sorted(Path(item.name).name for item in await parts.index.read(parts.vault.page))


def switch_on_behind_time(station: Station, *, off_ms: int, wall_ms: int) -> int:
    """Have it start anew without a clock that is sure, and return what time it really is."""
    station.reading = Reading(wall_ms=wall_ms, boot_ms=1_000, boot_id="two", synchronised=False)
    return START_MS + off_ms


async def begin(station: Station) -> None:
    async with station.parts() as parts:
        await parts.index.write(parts.timeline.keep)


@pytest.mark.promise("CONSENT-GIVE")
@pytest.mark.parametrize("wall_ms", [0, START_MS + 300 * DAY_MS], ids=["dead", "right"])
def test_yes_is_not_about_what_was_recorded_before_it_while_our_clock_lags(
    station: Station, spool: Path, wall_ms: int
) -> None:
    """A device that lay off for 300 days took in what a camera with the right time had recorded in them."""
    photos_need_consent(station)

    async def live() -> None:
        await begin(station)
        now_ms = switch_on_behind_time(station, off_ms=300 * DAY_MS, wall_ms=wall_ms)
        async with station.parts() as parts:
            yes = station.command(
                station.client, "consent", iat_s=now_ms // 1000, purpose="analytics", decision="given"
            )
            assert (await parts.commands.submit(yes, moment=parts.now())).status == "done"
        before, later = record(spool, now_ms - 200 * DAY_MS), record(spool, now_ms + DAY_MS)
        assert await names(station) == [later.name]
        assert before.exists()

    asyncio.run(live())


def test_yes_of_a_clock_that_was_ahead_counts_from_the_next_one_of_one_that_is_not(station: Station) -> None:
    photos_need_consent(station)

    async def live() -> None:
        await begin(station)
        now_ms = switch_on_behind_time(station, off_ms=DAY_MS, wall_ms=0)
        async with station.parts() as parts:
            for iat_ms in (now_ms + 100 * DAY_MS, now_ms):
                yes = station.command(
                    station.client, "consent", iat_s=iat_ms // 1000, purpose="analytics", decision="given"
                )
                assert (await parts.commands.submit(yes, moment=parts.now())).status == "done"
            word = await parts.index.read(lambda tx: rows.word(tx, "analytics", "photo"))
            assert word is not None
            assert word[-1] == now_ms

    asyncio.run(live())
