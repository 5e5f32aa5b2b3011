"""A flood of one key is refused with the reason, is told its owner, and costs nobody else anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import pace
from agent.clock import monotonic_s
from agent.index import Tx
from agent.pace import PACES, Pace
from device_sim.cloud.backend import new_id
from tests.commands.office import Office, at, run
from tests.flow.hostile import Hostile, besieged
from tests.waiting import until

SLOW = Pace(burst=3, pause_ms=1_000)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state")
    yield opened
    opened.close()


def words(office: Office, *seconds: float, kid: str = "one") -> list[str]:
    def take(tx: Tx) -> list[str]:
        return [pace.take(tx, kid, pace=SLOW, moment=at(moment)) for moment in seconds]

    return office.index.write_now(take)


def test_key_acts_in_bursts_is_refused_for_as_long_again_and_then_dropped(office: Office) -> None:
    assert words(office, *[0] * 8) == ["act"] * 3 + ["refuse"] * 3 + ["drop"] * 2
    assert words(office, 0, kid="other") == ["act"], "a flood is its own key's matter"


def test_key_that_is_slower_again_acts_again_and_what_was_dropped_is_not_held_against_it(office: Office) -> None:
    words(office, *[0] * 50)
    assert words(office, 3, 7) == ["refuse", "act"]
    assert words(office, *[60] * 4) == ["act"] * 3 + ["refuse"]


def test_owner_is_heard_where_a_power_cut_took_back_the_time_that_was_counted_from(office: Office) -> None:
    """Time leapt a month at a first synchronisation and was not kept: the owner's key was dropped for that month."""
    assert words(office, 30 * 86_400, 0, 0) == ["act"] * 3
    assert words(office, 0, 0) == ["act", "refuse"], "and a flood is one again"


def test_restart_forgives_nothing(office: Office) -> None:
    words(office, *[0] * 3)
    office.restart()
    assert words(office, 0) == ["refuse"]


def test_what_is_dropped_writes_nothing(office: Office) -> None:
    words(office, *[0] * 6)
    before = office.index.commits
    assert office.index.read_now(lambda tx: pace.take(tx, "one", pace=SLOW, moment=at())) == "drop"
    assert office.index.commits == before


def test_key_that_left_the_set_is_forgotten(office: Office) -> None:
    words(office, *[0] * 3)
    office.index.write_now(lambda tx: pace.forget_others(tx, frozenset({"other"})))
    assert words(office, 0) == ["act"]


def test_repeat_of_what_was_taken_up_is_no_flood(office: Office) -> None:
    async def scenario() -> None:
        raw = office.command(office.backend, "inventory", select={"all": True})
        first = await office.commands.receive(raw, moment=office.moment)
        for _ in range(2 * PACES["backend"].burst):
            assert await office.commands.receive(raw, moment=office.moment) == first
        told = await office.submit(office.backend, "inventory", select={"all": True})
        assert told["status"] == "done"

    run(scenario())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with besieged(tmp_path_factory.mktemp("flood")) as found:
        yield found


@pytest.mark.promise("EXPLAIN")
@pytest.mark.promise("VERIFY-REQ")
def test_flood_is_refused_with_the_reason_and_its_owner_is_told_which_key_and_served_on(hostile: Hostile) -> None:
    backend, house = hostile.backend, hostile.house
    burst = PACES["backend"].burst
    begun_s = monotonic_s()
    for _ in range(burst + 64):  # more than a slow machine is forgiven meanwhile
        backend.send_raw(backend.craft(hostile.claims(verb="inventory", limit=1, jti=new_id())))
    (refused, *_) = until(
        lambda: [one for one in hostile.receipts if one.get("reason") == "too_many_requests"], what="the flood refused"
    )
    assert (refused["status"], refused["retry"]) == ("refused", "later")
    forgiven = int((monotonic_s() - begun_s) * 1000) // PACES["backend"].pause_ms
    assert sum(one["status"] == "done" for one in hostile.receipts) <= burst + 3 + forgiven
    assert house.owner_json("inventory")["count"] == 1, "the owner is served as before"
    (told,) = [one for one in house.owner_json("alerts", "--incidents") if one["code"] == "request_flood"]
    assert backend.party.kid in told["what"]
    log = house.run("privacy-agent", "audit", "show", "--config", house.config)
    assert '"reason":"too_many_requests"' in log, "the refusal stands there with its reason"
    house.owner("delete", house.held()[0]["id"], "--yes")
