"""A backend's quota counts every copy that its delete ends, wherever it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.envelope import VERBS, Quota, signing_input_sha256
from agent.model import Object
from tests.commands.office import Office, party, run

EXPIRED = "category.recording.keep.age"


@pytest.fixture
def careful(tmp_path: Path) -> Iterator[Office]:
    """An office where a backend may delete one object and asks for more."""
    opened = Office(tmp_path / "state", quota=Quota(objects=1, bytes=10**9, window_s=3600))
    yield opened
    opened.close()


async def kept_by_the_store_only(office: Office, count: int, content: bytes = b"frames") -> list[Object]:
    """Have objects uploaded, and their copies here removed by retention."""
    kept = []
    for number in range(count):
        one = await office.keep(content + b"%d" % number)
        office.upload(one.id, manifest=f"{number:064x}")
        kept.append(one)
    await office.erasure.begin([one.id for one in kept], rule=EXPIRED, moment=office.moment)
    await office.erasure.resume(office.moment)
    assert [office.get(one.id) for one in kept] == [None] * count
    return kept


def asked_of_the_store(office: Office) -> int:
    return len(office.index.read_now(lambda tx: office.erasure.pending_remote(tx, office.store.kid, 100)))


RANGE = {"from": "2023-01-01T00:00:00.000Z", "to": "2032-01-01T00:00:00.000Z"}


@pytest.mark.parametrize("select", [{"all": True}, {"category": "recording"}, RANGE, "ids"], ids=str)
def test_copies_that_only_the_store_has_count_for_a_backends_quota(
    careful: Office, select: dict[str, object] | str
) -> None:
    async def scenario() -> None:
        kept = await kept_by_the_store_only(careful, 5)
        chosen = {"ids": [one.id for one in kept]} if select == "ids" else select
        receipt = await careful.submit(careful.backend, "delete", select=chosen)
        assert (receipt["status"], receipt["reason"]) == ("waiting", "quota_exceeded")
        assert asked_of_the_store(careful) == 0
        await careful.submit(careful.client, "approve", command=receipt["cmd"], selection=receipt["selection"]["hash"])
        await careful.commands.resume(careful.moment)
        assert asked_of_the_store(careful) == 5

    run(scenario())


def test_bytes_that_only_the_store_has_count_for_a_backends_quota(tmp_path: Path) -> None:
    office = Office(tmp_path / "state", quota=Quota(objects=100, bytes=1000, window_s=3600))

    async def scenario() -> None:
        (kept,) = await kept_by_the_store_only(office, 1)
        (large,) = await kept_by_the_store_only(office, 1, bytes(5000))
        small = await office.submit(office.backend, "delete", select={"ids": [kept.id]})
        assert small["status"] == "waiting", "for the store's word"
        assert "reason" not in small
        receipt = await office.submit(office.backend, "delete", select={"ids": [large.id]})
        assert receipt["reason"] == "quota_exceeded"

    run(scenario())
    office.close()


def test_hold_keeps_also_what_only_the_store_has(careful: Office) -> None:
    async def scenario() -> None:
        (kept,) = await kept_by_the_store_only(careful, 1)
        careful.hold(kept.id)
        receipt = await careful.submit(careful.backend, "delete", select={"all": True})
        assert [(one["id"], one["result"]) for one in receipt["outcomes"]] == [(kept.id, "held")]
        assert asked_of_the_store(careful) == 0
        careful.rights.clear()
        await careful.submit(careful.client, "delete", select={"all": True})
        assert asked_of_the_store(careful) == 1

    run(scenario())


def test_export_of_a_backend_weighs_only_what_is_here(careful: Office) -> None:
    async def scenario() -> None:
        await kept_by_the_store_only(careful, 3)
        await careful.keep(b"here")
        receipt = await careful.submit(careful.backend, "export", select={"all": True}, form="objects")
        assert receipt["status"] in {"done", "partial"}

    run(scenario())


def test_totals_of_what_only_the_store_has_follow_every_change(careful: Office) -> None:
    def counted() -> tuple[int, int]:
        return careful.index.read_now(
            lambda tx: tx.execute("SELECT coalesce(sum(objects), 0), coalesce(sum(bytes), 0) FROM remote_total")[0]
        )

    async def scenario() -> None:
        kept = await kept_by_the_store_only(careful, 3)
        assert counted() == (3, sum(one.size_bytes for one in kept))
        await careful.submit(careful.client, "delete", select={"ids": [kept[0].id]})
        assert counted() == (2, sum(one.size_bytes for one in kept[1:]))
        await careful.submit(careful.client, "delete", select={"all": True})
        assert counted() == (0, 0)

    run(scenario())


def test_client_does_not_lift_its_own_quota_another_one_does(tmp_path: Path) -> None:
    office = Office(tmp_path / "state")
    phone = party("client", "phone", *VERBS, quota=Quota(objects=1, bytes=10**9, window_s=3600))
    tablet = party("client", "tablet", *VERBS)
    members = office.sign_keyset(2, signing_input_sha256(office.keyset_raw), phone, tablet, office.store)
    run(office.commands.submit(members, moment=office.moment))

    async def scenario() -> None:
        kept = [await office.keep(), await office.keep()]
        told = await office.submit(phone, "delete", select={"ids": [one.id for one in kept]})
        assert told["reason"] == "quota_exceeded"
        own = {"command": told["cmd"], "selection": told["selection"]["hash"]}
        mine = await office.submit(phone, "approve", **own)
        assert (mine["status"], mine["reason"]) == ("refused", "nothing_waiting")
        assert [office.get(one.id) is None for one in kept] == [False, False]
        assert (await office.submit(tablet, "approve", **own))["status"] == "done"
        await office.commands.resume(office.moment)
        assert [office.get(one.id) is None for one in kept] == [True, True]

    run(scenario())
    office.close()
