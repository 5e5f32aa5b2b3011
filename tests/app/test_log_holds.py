"""The agent looks at its own log, and its owner is told when it does not hold: the alert for it was never raised."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import audit
from agent.app.judging import judge, judge_end
from agent.app.parts import Parts
from agent.app.standing import judged
from agent.app.verbs import offline
from agent.audit import END_ENTRIES, Event
from agent.errors import CorruptError
from agent.index import Tx
from tests.app.resident import alerts, resident
from tests.app.station import Station

LONG = 2 * END_ENTRIES + 500


def write(parts: Parts, count: int, *, sign_every: int = 400) -> None:
    def some(tx: Tx) -> None:
        for number in range(1, count + 1):
            audit.append(tx, Event(kind="keys_rotated", detail={"number": number}), moment=parts.now())
            if number % sign_every == 0 or number == count:
                audit.checkpoint(tx, parts.keystore, moment=parts.now())

    parts.index.write_now(some)


def run(station: Station, act: Callable[[Parts], object]) -> None:
    async def live() -> None:
        async with station.parts() as parts:
            done = act(parts)
            if asyncio.iscoroutine(done):
                await done

    asyncio.run(live())


def standing(parts: Parts) -> list[str]:
    return [code for code, _since, _count in parts.index.read_now(parts.outbox.alerts)]


def change(tx: Tx, behind: int) -> None:
    """Change one byte of the entry that stands that far behind the last one."""
    seq = audit.head(tx).seq - behind
    ((line,),) = tx.execute("SELECT line FROM audit WHERE seq = ?", (seq,))
    changed = line.replace(b'"trusted":true', b'"trusted":false')
    assert changed != line
    tx.execute("UPDATE audit SET line = ? WHERE seq = ?", (changed, seq))


def drop(tx: Tx, behind: int) -> None:
    tx.execute("DELETE FROM audit WHERE seq = ?", (audit.head(tx).seq - behind,))


def cut(tx: Tx, behind: int) -> None:
    """Cut the log off, and leave the signatures."""
    tx.execute("DELETE FROM audit WHERE seq >= ?", (audit.head(tx).seq - behind,))


@pytest.fixture
def station(tmp_path: Path) -> Station:
    made = Station(tmp_path)
    run(made, lambda parts: write(parts, LONG))
    return made


def test_log_that_holds_raises_nothing(station: Station) -> None:
    asyncio.run(resident(station, lambda: alerts(station, set())))

    async def look(parts: Parts) -> None:
        end, whole = await judge_end(parts), await judge(parts)
        assert whole.first == 1
        assert END_ENTRIES <= end.last - end.first <= 2 * END_ENTRIES
        assert end.signed == whole.signed > end.first
        assert standing(parts) == []

    run(station, look)


@pytest.mark.parametrize("harm", [change, drop, cut])
@pytest.mark.parametrize("behind", [20, 700])
def test_log_whose_end_was_changed_is_told_at_the_next_start(
    station: Station, harm: Callable[[Tx, int], None], behind: int
) -> None:
    run(station, lambda parts: parts.index.write_now(lambda tx: harm(tx, behind)))
    asyncio.run(resident(station, lambda: alerts(station, {"audit_broken"})))


def test_log_that_was_changed_long_ago_is_told_when_somebody_asks(station: Station) -> None:
    async def ask(parts: Parts) -> None:
        parts.index.write_now(lambda tx: change(tx, LONG - 100))
        await judge_end(parts)
        assert standing(parts) == []
        with pytest.raises(CorruptError) as caught:
            await offline(parts, "audit", {"verify": True}, progress=lambda _step: None)
        assert "entry" in caught.value.message
        assert standing(parts) == ["audit_broken"]

    run(station, ask)


def test_log_that_was_cut_does_not_hold_for_who_asks_without_an_agent(station: Station) -> None:
    assert asyncio.run(judged(station.config)).first == 1
    run(station, lambda parts: parts.index.write_now(lambda tx: cut(tx, 20)))
    with pytest.raises(CorruptError, match="was signed"):
        asyncio.run(judged(station.config))


def test_log_that_loses_its_oldest_entries_while_it_is_read_holds(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "KEEP_ENTRIES", END_ENTRIES)
    page, pages = audit.page, []

    def slowly(tx: Tx, *, after: int) -> audit.Page:
        pages.append(after)
        return page(tx, after=after)

    async def ask(parts: Parts) -> None:
        def then_prune(tx: Tx, *, after: int) -> audit.Page:
            found = slowly(tx, after=after)
            if len(pages) == 1:
                parts.index._submit("write", lambda tx: audit.prune(tx, parts.keystore, moment=parts.now()))
            return found

        monkeypatch.setattr(audit, "page", then_prune)
        verdict = await judge(parts)
        assert verdict.first > audit.PAGE_ENTRIES
        assert pages.count(0) == 2, "it began anew"
        assert standing(parts) == []

    run(station, ask)
