"""What a retention pass of the running agent does besides: the log keeps its bound, removals are tried again."""

import asyncio
from pathlib import Path

import pytest

from agent import audit
from agent.app.alarm import Alarm
from agent.app.parts import Parts
from agent.app.running import Live, _pass
from agent.audit import Event
from agent.index import Tx
from agent.ingest import Ingest
from agent.model import Selection, new_id
from agent.sealer import Sealer
from tests.app.station import Station
from tests.intake import take_in
from tests.writing import policy_text


def untold(code: str, what: str) -> None:
    raise AssertionError((code, what))


def live_of(parts: Parts) -> Live:
    alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
    return Live(
        parts, alarm, Ingest((), vault=parts.vault, sealer=Sealer(), policy=parts.policy_in_force, now=parts.now)
    )


def test_log_that_each_receipt_signs_is_pruned_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where a signature was due was the log cut, and receipts sign too often for that: it grew for ever."""
    monkeypatch.setattr(audit, "KEEP_ENTRIES", 5)
    station = Station(tmp_path)

    async def act() -> None:
        async with station.parts() as parts:

            def receipt(tx: Tx) -> None:
                audit.append(tx, Event(kind="started"), moment=parts.now())
                audit.checkpoint(tx, parts.keystore, moment=parts.now())

            for _ in range(20):
                await parts.index.write(receipt)
            await _pass(live_of(parts), untold, parts.now())
            last = (await parts.index.read(audit.head)).seq
            _, lines = await parts.index.read(lambda tx: audit.entries(tx, 0))
            entries = [line for line in lines if not line.startswith(b'{"checkpoint"')]
            assert (len(entries), last >= 20) == (5, True)

    asyncio.run(act())


def test_what_cannot_be_removed_is_one_alert_until_it_is_gone(tmp_path: Path) -> None:
    # One file that could not be removed ended the pass, and with it the agent, at every start.
    spool = tmp_path / "spool" / "front"
    spool.mkdir(parents=True)
    (spool / "a.mp4").write_bytes(b"x" * 1000)
    station = Station(tmp_path, sources=f'[[source]]\nkind = "spool"\npath = "{spool.parent}"\nmedium = "disk"\n')
    station.config.policy.write_text(policy_text(station.recipient, recording='keep = { age = "1d" }'))

    async def act() -> None:
        async with station.parts() as parts:
            await take_in(parts)
            ((kept,), made) = await parts.index.read(lambda tx: (parts.vault.page(tx), parts.now()))
            export = await parts.commands.export_here(new_id(), Selection(all=True), form="objects", moment=made)
            path = parts.vault.payload_path(kept.id)
            path.unlink()
            path.mkdir()
            (aside := tmp_path / "aside").mkdir()
            export.folder.rename(aside / "export")
            export.folder.touch()
            station.let_pass(30 * 86_400_000)

            live = live_of(parts)
            told = []
            for _ in range(2):
                await _pass(live, untold, parts.now())
                await parts.erasure.resume(parts.now())
                station.let_pass(120_000)
                await _pass(live, untold, parts.now())
                told.append([(code, count) for code, _since, count in await parts.index.read(parts.outbox.alerts)])
            assert told == [[("removal_failed", 2)]] * 2, "it is raised when it becomes more, not at each pass"
            path.rmdir()
            export.folder.unlink()
            await _pass(live, untold, parts.now())
            assert not await parts.index.read(parts.outbox.alerts)
            assert await parts.index.read(parts.bundle.exports) == frozenset()

    asyncio.run(act())
