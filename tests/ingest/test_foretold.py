"""A usage log that is not let in is told of when it begins to wait for company; step 1 has the last word."""

import asyncio
import errno
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agent import audit, bookmark, tombstone
from agent.clock import parse_rfc3339_ms
from agent.errors import SpaceError
from agent.ingest import Ingest
from agent.model import Selection
from agent.policy import Policy, parse_policy
from agent.sources import root
from tests.ingest.conftest import Home, Until
from tests.writing import policy_text

LOG = "front/usage-log/2026-11-22T10-00-00.000Z.jsonl"
LINE = b'{"n": 1}\n'
NEVER_S = 3600.0
SOON_S = 0.1

Asserts = Callable[[Ingest], Awaitable[None]]


def without_logs(home: Home) -> Policy:
    text = policy_text(home.owner.recipient().to_text(), recording="")
    return parse_policy(text.encode(), file="policy.toml")


def running(home: Home, asserts: Asserts, *, batch_age_s: float, **changes: object) -> None:
    """Let the flow run beside what asserts; closed batches are looked for once a second at most."""

    async def run() -> None:
        flow = home.ingest(home.settings(batch_age_s=batch_age_s, **changes))
        try:
            async with asyncio.TaskGroup() as tasks:
                taking = tasks.create_task(flow.run())
                await asserts(flow)
                taking.cancel()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())


def refusals(home: Home) -> list[dict[str, Any]]:
    """Entries of the audit log that tell of a refusal."""
    _last, lines = home.index.read_now(lambda tx: audit.entries(tx, 0))
    entries = [json.loads(line) for line in lines]
    return [one["detail"] | {"rule": one["rule"]} for one in entries if one.get("kind") == "ingest_refused"]


@pytest.mark.parametrize("after", ["take", "leave"])
def test_log_that_no_rule_lets_in_is_told_of_while_it_waits_for_company(home: Home, until: Until, after: str) -> None:
    home.policy = without_logs(home)
    home.put(LOG, LINE)

    async def asserts(_flow: Ingest) -> None:
        await until(lambda: bool(refusals(home)))

    running(home, asserts, batch_age_s=NEVER_S, after=after)
    assert home.reasons("refused") == ["no_rule"]
    assert refusals(home) == [
        {"reason": "no_rule", "category": "usage-log", "source": "spool", "rule": "category.usage-log"}
    ]
    assert home.left() == [LOG]
    assert home.objects() == ()


def test_log_that_nobody_consented_to_is_told_of_while_it_waits(home: Home, until: Until) -> None:
    text = policy_text(home.owner.recipient().to_text(), usage_log="").replace('"contract"', '"consent"')
    home.policy = parse_policy(text.encode(), file="policy.toml")
    home.put(LOG, LINE)

    async def asserts(_flow: Ingest) -> None:
        await until(lambda: bool(refusals(home)))

    running(home, asserts, batch_age_s=NEVER_S)
    assert [one["reason"] for one in refusals(home)] == home.reasons("refused") == ["no_consent"]


def test_what_was_told_of_is_not_told_of_again_when_the_wait_is_over(home: Home, until: Until) -> None:
    home.policy = without_logs(home)
    home.put(LOG, LINE)

    async def asserts(flow: Ingest) -> None:
        await until(lambda: flow.counts["refused"] == 2)

    running(home, asserts, batch_age_s=SOON_S)
    assert home.reasons("refused") == ["no_rule"]
    assert len(refusals(home)) == 1
    assert home.left() == [LOG]


def test_log_that_is_let_in_meanwhile_is_taken_when_its_wait_is_over(home: Home, until: Until) -> None:
    allowed, home.policy = home.policy, without_logs(home)
    home.put(LOG, LINE)

    async def asserts(flow: Ingest) -> None:
        await until(lambda: flow.counts["refused"] == 1)
        home.policy = allowed
        await until(lambda: flow.counts["admitted"] == 1 and home.left() == [])

    running(home, asserts, batch_age_s=SOON_S)
    assert home.opened(home.only()) == LINE


def test_policy_that_lets_no_log_in_any_more_is_told_of_while_one_waits(home: Home, until: Until) -> None:
    home.put(LOG, LINE)

    async def asserts(flow: Ingest) -> None:
        await until(lambda: LOG.partition("/")[0] in flow._shares["spool"].logs)
        home.policy = without_logs(home)
        flow.reconsider()
        await until(lambda: bool(refusals(home)))

    running(home, asserts, batch_age_s=NEVER_S)
    assert home.reasons("refused") == ["no_rule"]


def test_refusal_that_could_not_be_written_down_is_told_with_its_entry_later(
    home: Home, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.policy = without_logs(home)
    home.put(LOG, LINE)
    write = home.index.write
    failed: list[Any] = []

    async def full_once(work: Any) -> Any:  # noqa: ANN401 - whatever is written
        if not failed:
            failed.append(work)
            raise SpaceError("the index is full")
        return await write(work)

    monkeypatch.setattr(home.index, "write", full_once)

    async def asserts(_flow: Ingest) -> None:
        await until(lambda: bool(refusals(home)))

    running(home, asserts, batch_age_s=SOON_S)
    assert failed
    assert len(refusals(home)) == 1
    assert home.left() == [LOG]


def test_log_that_was_taken_before_is_no_refused_one(home: Home, until: Until) -> None:
    log = home.put(LOG, LINE)
    home.scan(home.settings(after="leave"))
    home.policy = without_logs(home)

    async def asserts(flow: Ingest) -> None:
        waiting = flow._shares["spool"].logs

        def offered_again() -> bool:
            log.open("ab").close()  # its writer came and wrote nothing
            return bool(waiting)

        await until(offered_again)
        await until(lambda: not waiting and not flow.is_at_work)

    running(home, asserts, batch_age_s=SOON_S, after="leave")
    assert refusals(home) == []
    assert home.reasons("refused") == []


def test_log_that_a_delete_covers_is_destroyed_and_no_refused_one(home: Home, until: Until) -> None:
    home.policy = without_logs(home)
    written_s = parse_rfc3339_ms("2026-11-22T10:15:00.000Z") // 1000
    os.utime(home.put(LOG, LINE), (written_s, written_s))
    hours = Selection(from_="2026-11-22T10:00:00.000Z", to="2026-11-22T11:00:00.000Z")
    now_ms = home.now.agent_ms
    home.index.write_now(
        lambda tx: tombstone.cut_off(
            tx, hours, rule="owner_erase", by=tombstone.Commanded(),
            before_ms=now_ms, commanded_ms=now_ms, wall_ms=now_ms,
        )
    )  # fmt: skip

    async def asserts(_flow: Ingest) -> None:
        await until(lambda: home.left() == [] and bool(home.reasons("deleted_before")))

    running(home, asserts, batch_age_s=SOON_S)
    assert refusals(home) == []
    assert home.reasons("refused") == []


def test_log_that_was_taken_and_cannot_be_removed_is_no_refused_one(
    home: Home, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_arguments: object, **_named: object) -> bool:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(root, "remove_beneath", read_only)
    home.put(LOG, LINE)

    async def asserts(flow: Ingest) -> None:
        await until(lambda: flow.counts["source_failed"] == 1)
        home.policy = without_logs(home)
        flow.reconsider()
        await until(lambda: flow.counts["source_failed"] == 2)

    running(home, asserts, batch_age_s=SOON_S)
    assert home.opened(home.only()) == LINE
    assert refusals(home) == []
    assert home.reasons("refused") == []


def test_log_for_which_there_is_no_bookmark_is_told_as_that_and_no_refused_one(
    home: Home, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookmark, "BOOKMARKS_MAX", 1)
    home.put(LOG, LINE)
    home.scan(home.settings(after="leave"))
    home.put(LOG.replace("T10", "T11"), LINE)
    home.policy = without_logs(home)

    async def asserts(_flow: Ingest) -> None:
        await until(lambda: bool(home.reasons("unreadable")))

    running(home, asserts, batch_age_s=SOON_S, after="leave")
    assert home.reasons("unreadable") == ["more logs are there than can be known"]
    assert refusals(home) == []
    assert home.reasons("refused") == []
