"""What a restriction and a hold cover, of what is here and of what comes later, and who obeys."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import registry
from agent.errors import RefusedError
from agent.index import Tx
from agent.index import registry as rows
from agent.model import Aged, Moment, Object, Selection, new_id
from agent.policy import Decision, Hold, Rights, parse_policy
from agent.retention import Disk, Retention
from agent.rights import freezing
from agent.rights.freezing import Coming, Freeze, FreezeKind
from agent.rights.snapshot import Snapshot
from tests.commands.office import Office
from tests.writing import policy_text

DAY_MS = 86_400_000
FROM_MS = 1_700_000_000_000
FROM, TO = "2023-11-14T22:13:20.000Z", "2023-11-14T22:14:20.000Z"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state")
    yield opened
    opened.close()


def put(
    office: Office, kind: FreezeKind, select: Selection, *, days: float | None = None, author: str = "court"
) -> Freeze:
    until_ms = None if days is None else later(office, days).agent_ms
    return office.index.write_now(
        lambda tx: freezing.put(
            tx,
            select,
            kind=kind,
            freeze_id=new_id(),
            author=author,
            reason="claim 7",
            until_ms=until_ms,
            moment=office.moment,
        )
    )


def keep(office: Office, content: bytes = b"frames", **fields: object) -> Object:
    return asyncio.run(office.keep(content, **fields))  # type: ignore[arg-type]  # as the office's


def later(office: Office, days: float) -> Moment:
    ms = office.moment.agent_ms + int(days * DAY_MS)
    return msgspec.structs.replace(office.moment, agent_ms=ms, wall_ms=ms)


def rights(office: Office, item: Object) -> Rights:
    return office.index.read_now(lambda tx: Snapshot().of(tx, item))


def retention(office: Office, limits: str) -> Retention:
    document = policy_text(
        office.owner_recipient,
        head='[retention]\nforget_within = "0s"',
        recording=f'upload = "never"\nkeep = {{ {limits} }}',
    ).encode()
    return Retention(
        index=office.index,
        vault=office.vault,
        erasure=office.erasure,
        snapshot=Snapshot(),
        policy=parse_policy(document, file="policy.toml"),
        document=document,
    )


def coming(camera: str = "cam1", category: str = "recording", *, start_ms: int = 0, end_ms: int = 1) -> Coming:
    return Coming(
        camera=camera, category=category, captured_from_ms=FROM_MS + start_ms, captured_to_ms=FROM_MS + end_ms
    )


@pytest.mark.parametrize(
    ("select", "item", "is_covered"),
    [
        (Selection(all=True), coming(), True),
        (Selection(camera="cam1"), coming(), True),
        (Selection(camera="cam1"), coming("cam2"), False),
        (Selection(camera="cam1"), coming(""), False),
        (Selection(category="photo"), coming(category="photo"), True),
        (Selection(category="photo"), coming(), False),
        (Selection(from_=FROM, to=TO), coming(start_ms=59_999, end_ms=70_000), True),
        (Selection(from_=FROM, to=TO), coming(start_ms=60_000, end_ms=70_000), False),
        (Selection(from_=FROM, to=TO), coming(start_ms=-10, end_ms=1), True),
        (Selection(from_=FROM, to=TO), coming(start_ms=-10, end_ms=0), False),
        (Selection(from_=FROM), coming(start_ms=0, end_ms=0), True),
        (Selection(camera="cam1", category="photo", to=TO), coming(category="photo"), True),
        (Selection(camera="cam1", category="photo", to=TO), coming("cam2", "photo"), False),
    ],
)
def test_freeze_covers_what_its_selection_means(
    office: Office, select: Selection, item: Coming, *, is_covered: bool
) -> None:
    put(office, "restriction", select)
    found = office.index.read_now(
        lambda tx: Snapshot().at_ingest(
            tx,
            camera=item.camera,
            category=item.category,
            captured_from_ms=item.captured_from_ms,
            captured_to_ms=item.captured_to_ms,
        )
    )
    assert found == Rights(restricted=is_covered)


def test_named_objects_alone_are_covered(office: Office) -> None:
    one, other = keep(office), keep(office)
    put(office, "restriction", Selection(ids=(one.id, new_id())))
    assert rights(office, one).restricted
    assert not rights(office, other).restricted
    assert rights(office, msgspec.structs.replace(one, id="")) == Rights()


def test_hold_that_ends_last_is_the_one_that_is_told(office: Office) -> None:
    item = keep(office)
    for days in (3, 7, 5):
        put(office, "hold", Selection(camera="cam1"), days=days)
    assert rights(office, item) == Rights(
        hold=Hold(reason="claim 7", author="court", until_ms=later(office, 7).agent_ms)
    )


def test_set_is_frozen_as_a_whole_only_where_time_does_not_matter(office: Office) -> None:
    put(office, "restriction", Selection(camera="cam1", from_=FROM))
    put(office, "hold", Selection(category="recording"), days=1)

    def of_set(tx: Tx) -> Rights:
        return Snapshot().of_set(tx, "cam1", "recording")

    assert not office.index.read_now(of_set).restricted
    assert office.index.read_now(of_set).hold is not None
    put(office, "restriction", Selection(camera="cam1"))
    assert office.index.read_now(of_set).restricted


def test_what_was_put_in_a_transaction_that_failed_is_not_obeyed_and_what_came_after_it_is(office: Office) -> None:
    item, snapshot = keep(office), Snapshot()

    def fail(tx: Tx) -> None:
        freezing.put(
            tx,
            Selection(all=True),
            kind="restriction",
            freeze_id=new_id(),
            author="kid",
            reason="",
            moment=office.moment,
        )
        assert snapshot.of(tx, item).restricted
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        office.index.write_now(fail)
    assert office.index.read_now(lambda tx: snapshot.of(tx, item)) == Rights()
    put(office, "hold", Selection(all=True), days=1)
    assert office.index.read_now(lambda tx: snapshot.of(tx, item)).hold is not None
    assert not office.index.read_now(lambda tx: snapshot.of(tx, item)).restricted


def test_more_than_can_be_compared_with_each_object_is_refused_and_the_other_kind_is_not(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "FREEZES_MAX", 3)
    for _ in range(3):
        put(office, "restriction", Selection(ids=(new_id(),)))
    with pytest.raises(RefusedError) as refused:
        put(office, "restriction", Selection(all=True))
    assert refused.value.reason == "too_large"
    put(office, "hold", Selection(all=True), days=1)


@pytest.mark.promise("HOLD")
def test_key_that_holds_all_it_can_keeps_nobody_elses_hold_out(office: Office) -> None:
    """All authors shared one bound: one key filled it, and the hold of a court was refused."""
    for _ in range(freezing.HOLDS_OF_ONE_MAX):
        put(office, "hold", Selection(ids=(new_id(),)), days=1, author="greedy")
    with pytest.raises(RefusedError) as refused:
        put(office, "hold", Selection(all=True), days=1, author="greedy")
    assert refused.value.reason == "too_large"
    put(office, "hold", Selection(all=True), days=1, author="court")
    for _ in range(freezing.HOLDS_OF_ONE_MAX + 1):
        put(office, "restriction", Selection(ids=(new_id(),)), author="greedy")
    assert freezing.FREEZES_MAX >= 4 * freezing.HOLDS_OF_ONE_MAX


@pytest.mark.promise("HOLD")
@pytest.mark.promise("RESTRICT")
def test_retention_lets_what_is_frozen_be_and_ends_the_rest(office: Office) -> None:
    held, restricted, free = keep(office, camera="held"), keep(office, camera="frozen"), keep(office, camera="free")
    put(office, "hold", Selection(camera="held"), days=30)
    put(office, "restriction", Selection(camera="frozen"))
    passed = asyncio.run(retention(office, 'age = "3d"').run_pass(later(office, 4), Disk()))
    assert passed.kept == {"held": 1, "restricted": 1}
    assert [office.get(item.id) is not None for item in (held, restricted, free)] == [True, True, False]


def test_what_is_frozen_at_the_old_end_is_looked_at_once_and_never_keeps_retention_from_what_is_behind_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.retention.KEPT_MAX", 2)
    old = [keep(office, camera="door") for _ in range(6)]
    young = [keep(office, camera="garden") for _ in range(2)]
    put(office, "restriction", Selection(camera="door", to="2030-01-01T00:00:00.000Z"))
    keeper = retention(office, 'age = "3d"')
    judged: list[str] = []
    judge = keeper._judge

    def judging(item: Aged, *about: Any, **more: Any) -> Decision:  # noqa: ANN401 - as the real one
        judged.append(item.id)
        return judge(item, *about, **more)

    monkeypatch.setattr(keeper, "_judge", judging)
    passed = asyncio.run(keeper.run_pass(later(office, 4), Disk()))
    assert (passed.count, passed.kept) == (2, {"restricted": 6})
    assert [office.get(item.id) is None for item in young] == [True, True]
    judged.clear()
    passed = asyncio.run(keeper.run_pass(later(office, 5), Disk()))
    assert (passed.kept, judged) == ({"restricted": 6}, [])

    asyncio.run(office.submit(office.client, "delete", select={"ids": [old[0].id]}))
    passed = asyncio.run(keeper.run_pass(later(office, 6), Disk()))
    assert (passed.kept, judged) == ({"restricted": 5}, [item.id for item in old[1:]])


def test_limit_by_count_is_the_same_beside_a_frozen_old_end(office: Office) -> None:
    frozen = [keep(office, camera="door") for _ in range(3)]
    free = [keep(office, camera="garden") for _ in range(4)]
    put(office, "restriction", Selection(camera="door", to="2030-01-01T00:00:00.000Z"))
    keeper = retention(office, "count = 2")
    for _ in range(2):
        asyncio.run(keeper.run_pass(office.moment, Disk()))
    assert [office.get(item.id) is not None for item in frozen] == [True] * 3
    assert [office.get(item.id) is not None for item in free] == [False, False, True, True]


def test_set_that_is_frozen_as_a_whole_is_not_looked_at(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    for camera in ("door", "door", "garden"):
        keep(office, camera=camera)
    put(office, "restriction", Selection(category="recording"))
    put(office, "hold", Selection(camera="garden"), days=30)
    keeper = retention(office, 'age = "3d"')
    monkeypatch.delattr(keeper.__class__, "_judge")
    assert asyncio.run(keeper.run_pass(later(office, 4), Disk())).kept == {"restricted": 2, "held": 1}


@pytest.mark.promise("RESTRICT")
def test_what_comes_later_is_covered_too(office: Office) -> None:
    put(office, "restriction", Selection(camera="cam1"))
    office.moment = later(office, 1)
    item = keep(office)
    asyncio.run(retention(office, 'age = "3d"').run_pass(later(office, 4), Disk()))
    assert office.get(item.id) is not None


@pytest.mark.promise("HOLD")
def test_hold_that_has_ended_lets_retention_go_on_and_the_log_tells_of_both(office: Office) -> None:
    item = keep(office)
    hold = put(office, "hold", Selection(camera="cam1"), days=3)
    keeper = retention(office, 'age = "1d"')
    office.moment = later(office, 2.9)
    assert office.index.write_now(lambda tx: freezing.end_holds(tx, moment=office.moment)) == ()
    asyncio.run(keeper.run_pass(office.moment, Disk()))
    assert office.get(item.id) is not None
    office.moment = later(office, 0.2)
    assert office.index.write_now(lambda tx: freezing.end_holds(tx, moment=office.moment)) == (hold,)
    asyncio.run(keeper.run_pass(office.moment, Disk()))
    assert office.get(item.id) is None
    assert [kind for kind in office.audit_kinds() if kind.startswith("freeze")] == ["freeze_put", "freeze_lifted"]


def test_camera_that_something_stands_over_is_known_under_its_id_when_all_of_it_is_deleted(office: Office) -> None:
    camera = office.index.write_now(lambda tx: registry.camera_id(tx, "door", "front", moment=office.moment))
    other = office.index.write_now(lambda tx: registry.camera_id(tx, "door", "back", moment=office.moment))
    put(office, "restriction", Selection(camera=camera))
    assert office.index.read_now(lambda tx: rows.unheld_cameras(tx, all_deleted=True)) == [other]
