"""What the shell commands ask: answers come in pages, and each page fits through the local socket."""

import asyncio
import json
import os
import secrets
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent import audit
from agent.app import inventory, verbs
from agent.app.living import Offline
from agent.app.parts import Parts, opened
from agent.app.preset import preset
from agent.app.setup import initialise, read_owner_file
from agent.app.verbs import table
from agent.audit import Event
from agent.clock import Reading
from agent.config import Config, parse_config
from agent.control import ANSWER_BYTES, Verb
from agent.errors import CorruptError, RefusedError
from agent.index import Tx
from agent.model import Moment, Object
from agent.owner import main as privacy_owner
from tests.app.station import Station
from tests.store.home import draft

READING = Reading(wall_ms=1_800_000_000_000, boot_ms=5, boot_id="b", synchronised=True)
RECIPIENT_BYTES = 1959  # of a post-quantum recipient


def clock() -> Reading:
    return READING


@pytest.fixture
def config(tmp_path: Path) -> Config:
    assert privacy_owner(["--home", str(tmp_path / "owner"), "init", "--classic"], read_clock=clock) == 0
    owner = read_owner_file(tmp_path / "owner" / "owner.pub")
    made = parse_config(b'device = "cam-01"\nstate = "state"\n', file=tmp_path / "agent.toml")
    # How full this machine's disk is decides nothing here.
    policy = preset("default", owner=owner.owner.recipient, uploads=False).replace(
        'disk_free = "10%"', 'disk_free = "1MB"'
    )
    initialise(made, owner, documents={made.policy: policy}, read_clock=clock)
    return made


@asynccontextmanager
async def asking(config: Config) -> AsyncIterator[tuple[Parts, Mapping[str, Verb]]]:
    async with opened(config, read_clock=clock) as parts:
        yield parts, table(Offline(parts))


async def keep(parts: Parts, **fields: object) -> Object:
    fd, part = parts.vault.new_part()
    os.write(fd, b"sealed")
    os.close(fd)
    group = await parts.vault.group()
    made = draft(group, secrets.token_bytes(16), **fields)
    return await parts.vault.admit(made, part=part, group=group, moment=parts.now())


async def pages(asked: Mapping[str, Verb], **selection: object) -> list[dict[str, Any]]:
    """Ask for one page after the other, as the shell command does."""
    told = [await asked["inventory"](selection, nothing)]
    while told[-1]["next"]:
        told.append(await asked["inventory"](selection | {"after": told[-1]["next"]}, nothing))
    return told


def nothing(_step: dict[str, Any]) -> None:
    """Progress that nobody looks at."""


@pytest.mark.parametrize("selection", [{}, {"category": "recording"}])
def test_inventory_of_objects_with_many_recipients_comes_in_pages_that_fit(
    config: Config, selection: dict[str, object]
) -> None:
    """A thousand objects sealed to two post-quantum recipients each were longer than any shell command takes."""
    recipients = tuple("age1pq1" + "q" * (RECIPIENT_BYTES - 7) for _ in range(60))

    async def act() -> None:
        async with asking(config) as (parts, asked):
            kept = [await keep(parts, recipients=recipients) for _ in range(40)]
            told = await pages(asked, **selection)
            assert sum(len(json.dumps(page)) for page in told) > ANSWER_BYTES
            assert max(len(json.dumps({"result": page})) for page in told) < ANSWER_BYTES
            listed = [item["id"] for page in told for item in page["objects"]]
            assert listed == sorted(item.id for item in kept)

    asyncio.run(act())


@pytest.mark.parametrize("selection", [{}, {"category": "recording"}])
def test_object_that_alone_is_longer_than_a_page_is_listed_all_the_same(
    config: Config, monkeypatch: pytest.MonkeyPatch, selection: dict[str, object]
) -> None:
    monkeypatch.setattr(inventory, "LISTED_BYTES", 10)

    async def act() -> None:
        async with asking(config) as (parts, asked):
            kept = [await keep(parts) for _ in range(3)]
            told = await pages(asked, **selection)
            assert [[item["id"] for item in page["objects"]] for page in told] == [
                [id_] for id_ in sorted(i.id for i in kept)
            ]

    asyncio.run(act())


def test_inventory_of_an_empty_vault_is_one_empty_page(config: Config) -> None:
    async def act() -> None:
        async with asking(config) as (_parts, asked):
            assert await pages(asked) == [{"objects": [], "levels": {}, "exports": [], "more_exports": 0, "next": ""}]

    asyncio.run(act())


def test_dry_run_counts_all_that_would_go_and_lists_the_first(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "LISTED_MAX", 2)

    async def act() -> None:
        async with asking(config) as (parts, asked):
            kept = [await keep(parts) for _ in range(5)]
            stricter = parts.document.decode().replace('age = "14d"', 'age = "14d", count = 1')
            told = await asked["dry-run"]({"policy": stricter}, nothing)
            assert (told["count"], told["held"]) == (4, 5)
            assert [item["id"] for item in told["objects"]] == [item.id for item in kept[:2]]
            unchanged = await asked["dry-run"]({}, nothing)
            assert (unchanged["count"], unchanged["objects"]) == (0, [])

    asyncio.run(act())


HALF = "\ud800"


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("explain", {"id": HALF}),
        ("inventory", {"camera": HALF}),
        ("inventory", {"ids": [HALF]}),
        ("inventory", {"after": HALF}),
        ("inventory", {HALF: 1}),
        ("export", {"camera": HALF}),
        ("dry-run", {"policy": HALF}),
    ],
)
def test_half_a_character_is_refused_as_malformed_whatever_is_asked(
    config: Config, verb: str, args: dict[str, Any]
) -> None:
    """JSON can write it and the index cannot hold it: it was a fault of the agent's own, with a traceback."""

    async def act() -> None:
        async with asking(config) as (_parts, asked):
            with pytest.raises(RefusedError) as refused:
                await asked[verb](args, nothing)
            assert (refused.value.reason, refused.value.retry) == ("malformed", "after_fix")
            assert HALF not in refused.value.message

    asyncio.run(act())


def test_file_whose_name_is_no_text_is_submitted_all_the_same(config: Config) -> None:
    async def act() -> None:
        async with asking(config) as (_parts, asked):
            with pytest.raises(CorruptError, match="\udcff"):
                await asked["submit"]({"file": "YQ==", "name": "\udcff.jws"}, nothing)

    asyncio.run(act())


def write_log(tx: Tx, *, count: int, moment: Moment) -> int:
    """Write ``count`` entries; return the bytes of the whole log."""
    for _ in range(count):
        audit.append(tx, Event(kind="admitted", object="o" * 26), moment=moment)
    return int(tx.execute("SELECT sum(length(line)) FROM audit")[0][0])


def checkpoints(tx: Tx) -> int:
    return int(tx.execute("SELECT count(*) FROM audit_checkpoint")[0][0])


def test_verifying_the_log_signs_nothing_and_tells_how_far_it_was_signed(config: Config) -> None:
    """It signed the head before it judged: a tail that somebody had remade was vouched for by the look at it."""

    async def act() -> None:
        async with asking(config) as (parts, asked):
            await parts.index.write(lambda tx: write_log(tx, count=3, moment=parts.now()))
            await parts.index.write(lambda tx: audit.checkpoint(tx, parts.keystore, moment=parts.now()))
            signed = (await parts.index.read(audit.head)).seq
            await parts.index.write(lambda tx: write_log(tx, count=2, moment=parts.now()))
            before = await parts.index.read(checkpoints)
            told = await asked["audit"]({"verify": True}, nothing)
            assert (told["verdict"]["signed"], told["verdict"]["last"]) == (signed, signed + 2)
            assert await parts.index.read(checkpoints) == before

            edit = "UPDATE audit SET line = CAST('{}' AS BLOB) WHERE seq = ?"
            await parts.index.write(lambda tx: tx.execute(edit, (signed + 1,)))
            with pytest.raises(CorruptError):
                await asked["audit"]({"verify": True}, nothing)
            assert await parts.index.read(checkpoints) == before

    asyncio.run(act())


def test_verifying_a_long_log_holds_a_page_of_it_and_never_the_whole(config: Config) -> None:
    """A log of a million entries was read into memory whole, more than the service may have: doctor ended the agent."""

    async def act() -> None:
        async with asking(config) as (parts, asked):
            log_bytes = await parts.index.write(lambda tx: write_log(tx, count=8_000, moment=parts.now()))
            tracemalloc.start()
            try:
                told = await asked["audit"]({"verify": True}, nothing)
                _, peak_bytes = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert told["verdict"]["last"] >= 8_000
            assert peak_bytes < log_bytes / 3

    asyncio.run(act())


def test_look_at_the_inventory_stands_in_the_log_once_an_hour(tmp_path: Path) -> None:
    station = Station(tmp_path)

    async def act() -> None:
        async with station.parts() as parts:
            asked = table(Offline(parts))

            def looks() -> int:
                _next, lines = parts.index.read_now(lambda tx: audit.entries(tx, 0))
                told = [json.loads(line) for line in lines]
                return sum((one["kind"], one["actor"]) == ("inventory_told", "local") for one in told)

            for minutes, count in ((0, 1), (1, 1), (58, 1), (1, 2), (1, 2)):
                station.let_pass(minutes * 60_000)
                await asked["inventory"]({}, nothing)
                assert looks() == count

    asyncio.run(act())
