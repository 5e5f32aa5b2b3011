"""Retention passes on the real vault: who goes, who stays, and when a pass stops to ask."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from agent import erasure, rights, vault
from agent import retention as passing
from agent.index import Tx
from agent.model import Moment, Object, Requester, Selection, new_id
from agent.policy import Allow, Hold, Refuse, Rights, parse_policy
from agent.retention import ASK_FROM, Disk, Lost, Retention
from agent.rights import freezing
from agent.rights.snapshot import Snapshot
from tests.commands.office import Office
from tests.writing import policy_text

DAY = 86_400_000
OWNER = Requester(role="client", kid="phone")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state")
    yield opened
    opened.close()


def retention(
    office: Office,
    limits: str,
    *,
    camera: str = "",
    on_full: str = "refuse",
    within: str = "0s",
    upload: str = "never",
    lost: Lost = lambda *_: None,
) -> Retention:
    recording = f'upload = "{upload}"\non_full = "{on_full}"\nkeep = {{ {limits} }}\n{camera}'
    document = policy_text(
        office.owner_recipient, head=f'[retention]\nforget_within = "{within}"', recording=recording
    ).encode()
    policy = parse_policy(document, file="policy.toml")
    return Retention(
        index=office.index,
        vault=office.vault,
        erasure=office.erasure,
        snapshot=Snapshot(),
        policy=policy,
        document=document,
        lost=lost,
    )


def later(office: Office, days: float) -> Moment:
    ms = office.moment.agent_ms + int(days * DAY)
    return msgspec.structs.replace(office.moment, agent_ms=ms, wall_ms=ms)


def keep(office: Office, content: bytes) -> Object:
    return asyncio.run(office.keep(content))


def held(office: Office) -> set[str]:
    return {item.id for item in office.index.read_now(office.vault.page)}


def test_object_past_its_age_goes_and_a_younger_one_stays(office: Office) -> None:
    old = keep(office, b"old")
    office.moment = later(office, 2)
    young = keep(office, b"young")
    passed = asyncio.run(retention(office, 'age = "3d"').run_pass(later(office, 1), Disk()))
    assert passed.count == 1
    assert office.get(old.id) is None
    assert held(office) == {young.id}


def test_count_and_size_keep_the_newest(office: Office) -> None:
    made = [keep(office, b"x" * 1000) for _ in range(5)]
    asyncio.run(retention(office, "count = 3").run_pass(office.moment, Disk()))
    assert held(office) == {item.id for item in made[2:]}
    room = made[4].size_bytes + 1
    asyncio.run(retention(office, f'size = "{room}B"').run_pass(office.moment, Disk()))
    assert held(office) == {made[4].id}


def test_what_no_store_has_goes_by_count_from_twice_on_and_is_told_before_it_goes(office: Office) -> None:
    """A store in a region that the policy does not allow never stores, so nothing ever went by the owner's count."""
    made = [keep(office, b"x" * 1000) for _ in range(6)]
    told: list[tuple[int, tuple[str, ...], set[str]]] = []

    def lost(tx: Tx, count: int, rules: tuple[str, ...], _moment: Moment) -> None:
        told.append((count, rules, {item.id for item in office.vault.page(tx)}))

    def passes(limits: str) -> None:
        upload = retention(office, limits, upload="before-expiry", lost=lost)
        asyncio.run(upload.run_pass(office.moment, Disk()))

    passes("count = 3")
    assert len(held(office)) == 6
    assert not told
    passes("count = 2")
    assert held(office) == {item.id for item in made[2:]}
    assert told == [(2, ("category.recording.keep.count",), {item.id for item in made})]
    passes("count = 2")
    assert len(told) == 1, "what has gone is not told again"


@pytest.mark.promise("RETAIN")
def test_floor_frees_only_what_is_needed(office: Office) -> None:
    made = [keep(office, b"x" * 1000) for _ in range(4)]
    short = Disk(free_bytes=10_000 - made[0].size_bytes, total_bytes=100_000)
    asyncio.run(retention(office, 'disk_free = "10%"').run_pass(office.moment, short))
    assert held(office) == {item.id for item in made[1:]}


def test_full_disk_drops_the_oldest_where_the_policy_says_so(office: Office) -> None:
    # ``keep = {age = "7d"}, on_full = "drop-oldest"`` dropped nothing: new recordings were refused for up to a week.
    made = [keep(office, b"x" * 100_000) for _ in range(4)]
    size = made[0].size_bytes
    full = Disk.seen(8 * size, 100 * size, reserve_bytes=7 * size, refused_bytes=0)
    asyncio.run(retention(office, 'age = "7d"').run_pass(office.moment, full))
    assert held(office) == {item.id for item in made}
    asyncio.run(retention(office, 'age = "7d"', on_full="drop-oldest").run_pass(office.moment, full))
    assert held(office) == {item.id for item in made[1:]}


def test_room_is_made_in_steps_for_the_largest_that_was_refused_and_for_no_monster() -> None:
    def wanted(free: int, refused: int = 0) -> int:
        return Disk.seen(free, 100_000, reserve_bytes=5_000, refused_bytes=refused).wanted_bytes

    assert wanted(6_001) == 0
    assert wanted(6_000) == 7_000, "a step more than what it takes"
    assert wanted(6_001, refused=2_000) == 8_000
    assert wanted(6_001, refused=10**12) == 31_000, "a sparse file claims any size"


def test_camera_with_its_own_rule_is_not_counted_in_the_general_set(office: Office) -> None:
    own = keep(office, b"own")
    camera = f"[camera.{own.camera}.recording]\nkeep.count = 100"
    asyncio.run(retention(office, "count = 1", camera=camera).run_pass(office.moment, Disk()))
    assert held(office) == {own.id}


def test_surprising_pass_stops_until_the_owner_approves_exactly_it(office: Office) -> None:
    made = {keep(office, b"x").id for _ in range(ASK_FROM + 5)}
    calm = retention(office, 'age = "300d"')
    asyncio.run(calm.run_pass(office.moment, Disk()))
    office.moment = later(office, 2)
    hasty = retention(office, 'age = "1d"')
    asked = asyncio.run(hasty.run_pass(office.moment, Disk()))
    assert asked.waiting
    assert asked.count == len(made)
    assert held(office) == made, "nothing goes before the answer"
    again = asyncio.run(hasty.run_pass(office.moment, Disk()))
    assert (again.waiting, again.selection) == (asked.waiting, asked.selection), "one question, not one each minute"

    def approve(waiting: str, selection: str, by: Requester) -> bool:
        return office.index.write_now(lambda tx: rights.approve(tx, waiting=waiting, selection=selection, by=by))

    assert not approve(asked.waiting, "0" * 64, OWNER)
    assert not approve("a" * 26, asked.selection, OWNER)
    assert not approve(asked.waiting, asked.selection, Requester(role="backend", kid="cloud"))
    assert approve(asked.waiting, asked.selection, OWNER)
    fresh = keep(office, b"came after the question")
    asyncio.run(hasty.run_pass(office.moment, Disk()))
    assert held(office) == {fresh.id}
    assert not asyncio.run(hasty.run_pass(office.moment, Disk())).waiting
    assert not approve("", "", OWNER), "nothing waits any more"


def test_nothing_is_approved_where_no_pass_has_run(office: Office) -> None:
    assert not office.index.write_now(lambda tx: rights.approve(tx, waiting="", selection="", by=OWNER))


def test_explanation_counts_what_is_newer_and_says_which_limit_ends_it(office: Office) -> None:
    made = [keep(office, b"x" * 1000) for _ in range(3)]
    size = made[0].size_bytes
    by_count, by_size = retention(office, "count = 2"), retention(office, f'size = "{2 * size}B"')

    def told(policy: Retention, item: Object) -> tuple[int, int, bool, str]:
        why = office.index.read_now(lambda tx: policy.explain(tx, item, moment=office.moment, disk=Disk()))
        assert why.rule is not None
        return why.rank, why.newer_bytes, isinstance(why.decision, Allow), why.decision.rule

    for policy, limit in ((by_count, "count"), (by_size, "size")):
        ends = f"category.recording.keep.{limit}"
        assert told(policy, made[0]) == (2, 3 * size, True, ends)
        assert told(policy, made[1]) == (1, 2 * size, False, "category.recording.keep")
        assert told(policy, made[2]) == (0, size, False, "category.recording.keep")


def test_explanation_of_what_is_held_and_restricted_tells_the_restriction_which_has_no_end(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, policy = keep(office, b"held"), retention(office, 'age = "3d"')
    hold = Hold(reason="claim 7", author="cloud", until_ms=later(office, 30).agent_ms)

    def told(stands: Rights) -> tuple[str, int | None]:
        monkeypatch.setattr(Snapshot, "of", lambda *_: stands)
        why = office.index.read_now(lambda tx: policy.explain(tx, item, moment=office.moment, disk=Disk())).decision
        assert isinstance(why, Refuse)
        return why.reason, why.until_ms

    assert told(Rights(hold=hold)) == ("held", hold.until_ms)
    assert told(Rights(hold=hold, restricted=True)) == ("restricted", None)


def test_ordinary_day_of_deletions_never_asks(office: Office) -> None:
    policy = retention(office, 'age = "1d"')
    asyncio.run(policy.run_pass(office.moment, Disk()))
    for _ in range(ASK_FROM + 5):
        keep(office, b"x")
    passed = asyncio.run(policy.run_pass(later(office, 1), Disk()))
    assert not passed.waiting
    assert held(office) == set()


def many(office: Office, count: int = ASK_FROM + 5) -> list[Object]:
    return [keep(office, b"x" * 1000) for _ in range(count)]


@pytest.mark.parametrize("limit", ["count", "size", "floor"])
def test_as_much_as_came_in_may_drive_out_as_much_without_a_question(office: Office, limit: str) -> None:
    # Sixty photos a minute under ``count = 60``: half of all there was went in each pass, so each pass stopped to ask.
    first = many(office)
    size = first[0].size_bytes
    limits = {"count": f"count = {len(first)}", "size": f'size = "{len(first) * size}B"', "floor": 'disk_free = "10%"'}
    policy = retention(office, limits[limit])
    asyncio.run(policy.run_pass(office.moment, Disk()))
    office.moment = later(office, 0.01)
    second = many(office)
    short = Disk(free_bytes=100_000 - len(second) * size, total_bytes=1_000_000)
    passed = asyncio.run(policy.run_pass(office.moment, short if limit == "floor" else Disk()))
    assert (passed.waiting, passed.count) == ("", len(second))
    assert held(office) == {item.id for item in second}


def test_disk_that_somebody_else_fills_asks_before_it_takes_the_recordings(office: Office) -> None:
    made = many(office)
    policy = retention(office, 'disk_free = "10%"')
    asyncio.run(policy.run_pass(office.moment, Disk()))
    office.moment = later(office, 0.01)
    passed = asyncio.run(policy.run_pass(office.moment, Disk(free_bytes=1, total_bytes=1_000_000)))
    assert passed.waiting
    assert held(office) == {item.id for item in made}


def test_maximum_age_goes_on_while_a_question_stands(office: Office) -> None:
    # A question about anything stopped everything, maximum ages too, until the owner answered or the disk was full.
    old = many(office, 3)
    office.moment = later(office, 1)
    young = many(office)
    asyncio.run(retention(office, 'age = "3d"').run_pass(office.moment, Disk()))
    hasty = retention(office, 'age = "3d", count = 2')
    asked = asyncio.run(hasty.run_pass(office.moment, Disk()))
    assert asked.waiting
    assert asked.count == len(young) + 3 - 2
    for _ in range(2):
        office.moment = later(office, 1)
        again = asyncio.run(hasty.run_pass(office.moment, Disk()))
    assert (again.waiting, again.selection) == (asked.waiting, asked.selection), "the answer must find it"
    assert held(office) == {item.id for item in young}
    assert all(office.get(item.id) is None for item in old)
    assert office.index.write_now(
        lambda tx: rights.approve(tx, waiting=asked.waiting, selection=asked.selection, by=OWNER)
    )
    asyncio.run(hasty.run_pass(office.moment, Disk()))
    assert held(office) == {item.id for item in young[-2:]}


def test_what_is_taken_in_while_a_question_stands_may_drive_out_as_much(office: Office) -> None:
    made = many(office)
    asyncio.run(retention(office, "count = 100").run_pass(office.moment, Disk()))
    hasty = retention(office, "count = 2")
    asked = asyncio.run(hasty.run_pass(office.moment, Disk()))
    office.moment = later(office, 0.01)
    fresh = many(office, 4)
    for _ in range(2):
        again = asyncio.run(hasty.run_pass(office.moment, Disk()))
        assert again.waiting == asked.waiting
        assert held(office) == {item.id for item in [*made[4:], *fresh]}, "four came and four went, once"


def test_clock_that_leaps_twice_answers_no_question(office: Office) -> None:
    made = many(office)
    policy = retention(office, 'age = "100d"')
    asyncio.run(policy.run_pass(office.moment, Disk()))
    for leap in (150, 300):
        office.moment = later(office, leap)
        assert asyncio.run(policy.run_pass(office.moment, Disk())).waiting
        office.moment = later(office, 1 / 1440)
        assert asyncio.run(policy.run_pass(office.moment, Disk())).waiting
        assert held(office) == {item.id for item in made}


def test_question_ends_when_nothing_of_it_is_left(office: Office) -> None:
    made = many(office)
    asyncio.run(retention(office, "count = 100").run_pass(office.moment, Disk()))
    hasty = retention(office, "count = 2")
    assert asyncio.run(hasty.run_pass(office.moment, Disk())).waiting
    ids = [item.id for item in made[:-2]]
    asyncio.run(office.erasure.erase(ids, actor="o", rule="r", command="c" * 26, moment=office.moment))
    assert not asyncio.run(hasty.run_pass(office.moment, Disk())).waiting
    assert held(office) == {item.id for item in made[-2:]}


def test_next_due_is_the_oldest_objects_age(office: Office) -> None:
    item = keep(office, b"x")
    policy = retention(office, 'age = "3d"')
    assert office.index.read_now(policy.next_due_ms) == item.taken_in_ms + 3 * DAY
    assert office.index.read_now(retention(office, "count = 3").next_due_ms) is None


# -- when the keys change


def rotations(office: Office) -> int:
    sql = "SELECT count(*) FROM audit WHERE CAST(line AS TEXT) LIKE '%keys_rotated%'"
    ((found,),) = office.index.read_now(lambda tx: tx.execute(sql))
    return int(found)


def states(office: Office, *made: Object) -> list[str]:
    return ["gone" if (found := office.get(item.id)) is None else found.state for item in made]


def test_due_objects_are_refused_at_once_and_all_their_keys_change_together_within_the_hour(office: Office) -> None:
    # A hub has something due every few seconds; each time all keys were rotated: 20 GB written a day.
    policy = retention(office, 'age = "1d"', within="1h")
    made = []
    for number in range(40):
        office.moment = later(office, 60 / 86_400)
        made.append(keep(office, b"minute %d" % number))
    moment = msgspec.structs.replace(office.moment, agent_ms=made[0].taken_in_ms + DAY)
    for number in range(40):
        moment = msgspec.structs.replace(moment, agent_ms=made[number].taken_in_ms + DAY)
        asyncio.run(policy.run_pass(moment, Disk()))
        assert office.get(made[number].id).state == "erasing"  # type: ignore[union-attr] # it is there
        everything = office.index.read_now(lambda tx: office.vault.select(tx, Selection(all=True)))
        assert made[number].id not in everything, "nobody is given it"
    assert rotations(office) == 0
    by_ms = office.index.read_now(policy.forgets_by_ms)
    assert by_ms == made[0].taken_in_ms + DAY + 3_600_000
    moment = msgspec.structs.replace(moment, agent_ms=by_ms - 60_000)  # the next pass but one would be late
    asyncio.run(policy.run_pass(moment, Disk()))
    assert states(office, *made) == ["gone"] * 40
    assert rotations(office) == 1
    assert office.index.read_now(policy.forgets_by_ms) is None


def test_owners_delete_takes_along_what_is_due(office: Office) -> None:
    policy = retention(office, 'age = "1d"', within="1h")
    due = keep(office, b"due")
    office.moment = later(office, 1)
    other = keep(office, b"other")
    asyncio.run(policy.run_pass(office.moment, Disk()))
    assert states(office, due, other) == ["erasing", "sealed"]
    asyncio.run(office.erasure.erase([other.id], actor="o", rule="r", command="c" * 26, moment=office.moment))
    assert states(office, due, other) == ["gone", "gone"]


def test_receipt_looks_at_no_more_than_a_bounded_number_of_the_oldest(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [keep(office, b"kept") for _ in range(6)]
    restrict = partial(
        freezing.put, selection=Selection(all=True), kind="restriction", freeze_id=new_id(), author="phone",
        reason="contested", moment=office.moment,
    )  # fmt: skip
    office.index.write_now(restrict)
    policy = retention(office, 'age = "1d"')

    def named() -> set[str]:
        return {one.id for one in office.index.read_now(lambda tx: policy.stays(tx, later(office, 2)))}

    assert named() == {one.id for one in made}
    monkeypatch.setattr(vault, "PAGE_MAX", 1)
    monkeypatch.setattr(passing, "EXEMPT_MAX", 4 * len(policy._policy.rules))
    assert named() == {one.id for one in made[:4]}


def test_delete_that_is_asked_for_what_is_due_leaves_a_tombstone(office: Office) -> None:
    due = keep(office, b"due")
    office.index.write_now(lambda tx: office.vault.mark_source_gone(tx, due.id))
    asyncio.run(retention(office, 'age = "1d"', within="1h").run_pass(later(office, 1), Disk()))
    assert office.index.read_now(lambda tx: tx.execute("SELECT count(*) FROM tombstone")) == [(0,)]
    asyncio.run(office.erasure.erase([due.id], actor="o", rule="r", command="c" * 26, moment=office.moment))
    assert office.index.read_now(lambda tx: tx.execute("SELECT rule, asked FROM tombstone")) == [("r", 1)]


def test_keys_change_at_once_when_a_whole_group_dies(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "WHOLE_GROUPS", 3)
    made = [keep(office, b"x") for _ in range(3)]
    policy = retention(office, 'age = "1d"', within="1h")
    asyncio.run(policy.run_pass(later(office, 1), Disk()))
    assert states(office, *made) == ["gone"] * 3


def test_room_that_was_begun_counts_and_keys_change_when_it_is_needed(office: Office) -> None:
    made = [keep(office, b"x" * 1000) for _ in range(6)]
    size = made[0].size_bytes
    policy = retention(office, 'disk_free = "10%"', within="1h")
    short = Disk(free_bytes=10_000 - size, total_bytes=100_000, step_bytes=2 * size)
    for _ in range(3):
        asyncio.run(policy.run_pass(office.moment, short))
        assert states(office, *made) == ["erasing", *["sealed"] * 5], "the second pass took another for the same room"
    shorter = msgspec.structs.replace(short, free_bytes=10_000 - 2 * size)
    asyncio.run(policy.run_pass(office.moment, shorter))
    assert states(office, *made) == ["gone", "gone", *["sealed"] * 4], "a step's worth"
    asyncio.run(policy.run_pass(office.moment, short))
    full = msgspec.structs.replace(short, enough_bytes=short.free_bytes + 1)
    asyncio.run(policy.run_pass(office.moment, full))
    assert states(office, *made) == ["gone"] * 3 + ["sealed"] * 3, "new recordings need it now"


def test_start_carries_out_what_was_begun(office: Office) -> None:
    due = keep(office, b"due")
    asyncio.run(retention(office, 'age = "1d"', within="1h").run_pass(later(office, 1), Disk()))
    office.restart()
    assert states(office, due) == ["erasing"]
    asyncio.run(office.erasure.resume(office.moment))
    assert states(office, due) == ["gone"]
    assert len(office.keystore.roots()) == 1
