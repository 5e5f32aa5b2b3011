"""How the index answers what is asked all the time: by an index, whatever the number of objects.

A spool file was looked for in every row before it was taken in, the state's totals were counted over everything that
waits, and a start read every object once to find that nothing was left to give up.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent import audit, bookmark, rights, tombstone
from agent.bookmark import Bookmark
from agent.index import Tx
from agent.index import erasure as requests
from agent.index import vault as rows
from agent.index.transaction import Value
from agent.model import Selection, new_id
from agent.outbox import Outbox
from agent.trust import Trust
from tests.store.home import NOW, Home, made_of, run

LARGE = (
    "object", "slot", "header", "upload", "remote_only", "erasure_item", "intent", "tombstone", "audit",
    "audit_checkpoint", "bookmark", "object_file", "command_outcome", "command_selection", "outbox", "export_object",
)  # fmt: skip
"""Tables that grow with what is kept; a statement may not go through all of one."""

FIRST_OF_ALL = {
    ("SCAN audit", "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"),
    (
        "SCAN erasure_item USING COVERING INDEX erasure_item_asked",
        "SELECT 1 FROM erasure_item WHERE result = 'asked' LIMIT 1",
    ),
}
"""Scans that end with their first row: in the order of an index, without a condition behind it."""

ID, TAG, UPLOAD = new_id(), b"t" * 32, new_id()
A_BOOKMARK = Bookmark(
    source="s", folder=1, file_tag=TAG, path_tag=TAG, base_tag=TAG, head_tag=TAG, end_tag=TAG, look_tag=TAG,
    taken_bytes=1, since_ms=1, n=1,
)  # fmt: skip


class Explaining:
    """A transaction that asks for the plan of each statement before it runs it."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.plans: list[tuple[str, list[str]]] = []

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        found = self._tx.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        self.plans.append((sql, [row[3] for row in found]))
        return self._tx.execute(sql, params)

    def executemany(self, sql: str, many: Iterable[Sequence[Value]]) -> None:
        for params in many:
            self.execute(sql, params)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a transaction has
        return getattr(self._tx, name)


def plans(home: Home, ask: Callable[[Tx], object]) -> list[tuple[str, list[str]]]:
    """Return each statement of a call with its plan; what it writes is undone."""

    def explain(tx: Tx) -> list[tuple[str, list[str]]]:
        explaining = Explaining(tx)
        ask(explaining)  # type: ignore[arg-type] # it does what a transaction does
        assert explaining.plans
        return explaining.plans

    return home.index.read_now(explain)


def scans(home: Home, ask: Callable[[Tx], object]) -> list[str]:
    """Return what a call reads from one end to the other, of the tables that grow."""
    large = re.compile(rf"SCAN ({'|'.join(LARGE)}|[a-z])\b")
    told = plans(home, ask)
    found = [(line, sql) for sql, plan in told for line in plan if large.match(line) or "AUTOMATIC" in line]
    return [f"{line}: {sql}" for line, sql in found if (line, sql) not in FIRST_OF_ALL]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A vault with some of everything in it."""
    made = Home(tmp_path_factory.mktemp("plans") / "vault")
    kept = run(made.keep_many(20))
    made.upload(kept[0].id)
    made.upload(kept[1].id, stored=False)
    run(made.keep(files=made_of(3), category="usage-log"))
    run(made.erase(kept[2].id))
    asked_for = made.upload(kept[3].id)
    run(made.erase(kept[3].id))  # its store has not confirmed yet
    made.index.write_now(lambda tx: tx.execute("UPDATE upload SET id = ? WHERE id = ?", (UPLOAD, asked_for)))
    yield made
    made.close()


def asked_always(home: Home) -> dict[str, Callable[[Tx], object]]:
    vault, erasure, trust = home.vault, home.erasure, Trust()
    outbox = Outbox(device="d", signer=home.keystore, random=bytes)
    kept = home.index.read_now(vault.page)[0]
    return {
        "waiting totals, at each change of state": vault.waiting_totals,
        "totals": vault.totals,
        "what is to be fetched again": lambda tx: vault.wants(tx, TAG),
        "the upload queue": lambda tx: vault.queued(tx, 10),
        "is it held, before a file is taken": lambda tx: vault.held(tx, TAG, TAG),
        "was it seen, for a file that stays": lambda tx: vault.seen(tx, TAG),
        "is it forbidden": lambda tx: tombstone.forbidden(
            tx, source_tag=TAG, content_tag=TAG, camera="c", category="photo", captured_from_ms=1, captured_to_ms=2,
            source="s",
        ),
        "an object": lambda tx: vault.get(tx, kept.id),
        "a page of objects": vault.page,
        "the oldest of some sets": lambda tx: vault.oldest(tx, ("cam1", "cam2"), "recording"),
        "a group for the next object": lambda tx: rows.group_with_room(tx, room=9, closed=(1, 2)),
        "what a cut left to give up, at start": lambda tx: vault.source_left_over(tx, source="door"),
        "which files a row accounts for": lambda tx: rows.unaccounted(tx, (ID,)),
        "an upload": lambda tx: vault.upload_of(tx, UPLOAD),
        "an upload begins": lambda tx: vault.begin_upload(tx, kept.id, moment=NOW),
        "an upload is given up": lambda tx: vault.forget_upload(tx, kept.upload or UPLOAD),
        "a storage receipt": lambda tx: vault.note_stored(
            tx, kept.upload or UPLOAD, region="r", stated_by="s", epoch="e", moment=NOW
        ),
        "a store lost it": lambda tx: vault.note_lost(tx, kept.upload or UPLOAD, moment=NOW),
        "was it given up too often, at each begin": lambda tx: vault.given_up(tx, kept.id, store="store"),
        "copies to compare with a store": lambda tx: vault.stored_page(tx, "store"),
        "copies to erase": lambda tx: erasure.pending_remote(tx, "store", 100),
        "a store's word of an erasure": lambda tx: erasure.note_erased(
            tx, UPLOAD, "m" * 64, header="erased", payload="erased", stated_by="store", moment=NOW
        ),
        "the weight of all, with what only stores have": lambda tx: vault.weigh(
            tx, Selection(all=True), with_stores=True
        ),
        "a page of all ids": lambda tx: vault.page_of(tx, Selection(all=True), after=ID, limit=10),
        "a page of all ids, with what goes": lambda tx: vault.page_of(
            tx, Selection(all=True), after=ID, limit=10, erasing=True
        ),
        "what is left of a command": lambda tx: trust.left(tx, ID),
        "results by kind": lambda tx: trust.tally(tx, ID),
        "an outcome": lambda tx: trust.decide(tx, ID, ()),
        "results to be hashed": lambda tx: trust.outcomes_hash(tx, ID),
        "is anything asked, or under way": requests.any_asked_or_intended,
        "groups with victims": lambda tx: requests.victims_groups(tx, 16),
        "victims of a group": lambda tx: requests.victims(tx, 1, 16),
        "slots of a group": lambda tx: requests.slots_of(tx, 1),
        "what is next to unlink": lambda tx: requests.intents(tx, 3, 100),
        "what was put off": lambda tx: requests.those_put_off(tx, 100),
        "what is put off": lambda tx: requests.put_off(tx, (ID,)),
        "what retention has begun": requests.retention_since,
        "an event": lambda tx: audit.append(tx, audit.Event(kind="started"), moment=NOW),
        "is a checkpoint due": audit.checkpoint_due,
        "a page of the log": lambda tx: audit.entries(tx, 5),
        "messages that wait": lambda tx: outbox.pending(tx, after=3),
        "an acknowledgement": lambda tx: outbox.acknowledged(tx, "kid", (ID,), moment=NOW),
        "results of a command": lambda tx: trust.outcomes(tx, ID),
        "commands that run": lambda tx: trust.running(tx, limit=10),
        "commands that wait, every few seconds": trust.waiting,
        "is a key busy": lambda tx: trust.unfinished_counts(tx, "kid"),
        "is a key busy with its rights": lambda tx: trust.unfinished_of(tx, "kid", ("withdraw",)),
        "what is read is acknowledged": lambda tx: trust.acknowledged(tx, "kid", (ID,)),
        "the last retention pass": rights.last_pass,
        "was nothing left of a log": lambda tx: bookmark.looked_at(tx, TAG),
        "how far was a log taken": lambda tx: bookmark.related(tx, path_tag=TAG, base_tag=TAG, file_tag=TAG),
        "which log begins so": lambda tx: bookmark.beginning(tx, TAG, size_bytes=9),
        "a bookmark is kept": lambda tx: bookmark.keep(tx, A_BOOKMARK),
        "the newest bookmark": lambda tx: bookmark.newest(tx, "s", 1),
        "which logs are gone": lambda tx: bookmark.note_absent(tx, "s", 1, files=(), paths=(), after=0, upto=9),
        "what arrived since": lambda tx: vault.arrived(tx, since_ms=NOW.agent_ms),
    }  # fmt: skip


def test_what_is_asked_all_the_time_is_found_by_an_index(home: Home) -> None:
    found = {name: scans(home, ask) for name, ask in asked_always(home).items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_what_an_index_was_made_for_uses_it(home: Home) -> None:
    """A search by id that passes over every object is none."""
    vault = home.vault
    kept = home.index.read_now(vault.page)[0]
    for ask, line in (
        (lambda tx: vault.source_left_over(tx, source="door"), "SEARCH o USING INDEX object_to_give_up (id>?)"),
        (
            lambda tx: vault.queued(tx, 10),
            "SEARCH object USING COVERING INDEX object_waiting (camera=? AND category=?)",
        ),
        (
            lambda tx: vault.oldest(tx, ("cam1",), "recording"),
            "SEARCH object USING INDEX object_of_set (camera=? AND category=? AND n>?)",
        ),
        (
            lambda tx: vault.newer_than(tx, kept.id, ("cam1",), "recording"),
            "SEARCH object USING INDEX object_of_set (camera=? AND category=? AND n>?)",
        ),
        (
            lambda tx: vault.select(tx, Selection(all=True)),
            "SEARCH object USING COVERING INDEX sqlite_autoindex_object_1 (id>?)",
        ),
        (
            lambda tx: vault.select(tx, Selection(camera="cam1", category="recording")),
            "SEARCH object USING INDEX object_of_set (camera=? AND category=?)",
        ),
        (
            lambda tx: vault.weigh(tx, Selection(camera="cam1", to="2026-03-01T00:00:00Z"), with_stores=True),
            "SEARCH object USING INDEX object_of_set (camera=?)",
        ),
    ):
        assert line in [told for _, plan in plans(home, ask) for told in plan]


def test_totals_follow_every_change_of_state(tmp_path: Path) -> None:
    home = Home(tmp_path / "vault")
    kept = [run(home.keep(content=bytes(number + 1))) for number in range(4)]
    uploads = [home.upload(item.id) for item in kept[:3]]
    assert totals(home) == counted(home) == [("cam1", "recording", 4, 10, 1, 4)]
    home.index.write_now(lambda tx: home.vault.note_lost(tx, uploads[0], moment=NOW))
    assert totals(home) == counted(home) == [("cam1", "recording", 4, 10, 2, 5)]
    run(home.erase(kept[0].id, kept[1].id))
    assert totals(home) == counted(home) == [("cam1", "recording", 2, 7, 1, 4)]
    run(home.erase(kept[2].id, kept[3].id))
    assert totals(home) == counted(home) == []
    home.close()


def totals(home: Home) -> list[tuple[Any, ...]]:
    return home.rows("SELECT * FROM total")


def counted(home: Home) -> list[tuple[Any, ...]]:
    return home.rows(
        "SELECT camera, category, count(*), sum(size_bytes), count(*) FILTER (WHERE state = 'sealed'),"
        " coalesce(sum(size_bytes) FILTER (WHERE state = 'sealed'), 0) FROM object WHERE state != 'erasing'"
        " GROUP BY camera, category"
    )
