"""What a retention pass of the running agent does besides: the audit log keeps its bound."""

import asyncio
from pathlib import Path

import pytest

from agent import audit
from agent.app.alarm import Alarm
from agent.app.running import Live, _pass
from agent.audit import Event
from agent.index import Tx
from agent.ingest import Ingest
from agent.sealer import Sealer
from tests.app.station import Station


def untold(code: str, what: str) -> None:
    raise AssertionError((code, what))


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
            alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
            sealer = Sealer()
            ingest = Ingest((), vault=parts.vault, sealer=sealer, policy=parts.policy_in_force, now=parts.now)
            await _pass(Live(parts, alarm, ingest), untold, parts.now())
            await sealer.aclose()
            last = (await parts.index.read(audit.head)).seq
            _, lines = await parts.index.read(lambda tx: audit.entries(tx, 0))
            entries = [line for line in lines if not line.startswith(b'{"checkpoint"')]
            assert (len(entries), last >= 20) == (5, True)

    asyncio.run(act())
