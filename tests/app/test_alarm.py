"""Alerts: each code has its meaning, each client of the owner is told once, and a full disk ends nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.app.alarm import MEANING, Alarm
from agent.envelope import signing_input_sha256
from agent.index import Tx
from agent.model import Moment
from agent.outbox import ALERT_CODES, ALERT_PAUSE_MS
from tests.commands.office import DEVICE, START_S, Office, at, party, run

PAUSE_S = ALERT_PAUSE_MS / 1000


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state")
    yield opened
    opened.close()


@pytest.fixture
def alarm(office: Office) -> Alarm:
    return Alarm(index=office.index, trust=office.trust, outbox=office.outbox)


def raised(alarm: Alarm, *, moment: Moment, code: str = "source_failed", what: str = "Source door is gone.") -> bool:
    return run(alarm.raise_(code, what, moment=moment))


def standing(office: Office) -> dict[str, int]:
    return {code: count for code, _since, count in office.index.read_now(office.outbox.alerts)}


def without_room(office: Office) -> None:
    """Let SQLite find no room for what every audited change needs."""

    def fill(tx: Tx) -> None:
        tx.execute("CREATE TABLE needed (bytes BLOB)")
        tx.execute("CREATE TRIGGER need AFTER INSERT ON audit BEGIN INSERT INTO needed VALUES (zeroblob(1000000)); END")
        ((pages,),) = tx.execute("PRAGMA page_count")
        tx.execute(f"PRAGMA max_page_count = {pages}")

    office.index.write_now(fill)


def with_room(office: Office) -> None:
    office.index.write_now(lambda tx: tx.execute("PRAGMA max_page_count = 1000000"))


def test_every_code_of_the_protocol_has_a_meaning_and_a_next_step() -> None:
    assert set(MEANING) == set(ALERT_CODES)
    for code, (effect, following) in MEANING.items():
        assert effect.endswith("."), code
        assert following, code
        assert (effect + following).isprintable(), code


@pytest.mark.parametrize("code", ALERT_CODES)
def test_alert_says_what_is_wrong_what_that_means_and_what_to_do(office: Office, alarm: Alarm, code: str) -> None:
    assert raised(alarm, code=code, what="It went wrong.", moment=at())
    (told,) = office.waiting(office.client)
    effect, following = MEANING[code]
    assert (told["code"], told["what"], told["effect"], told["next"]) == (code, "It went wrong.", effect, following)
    assert (told["iss"], told["aud"], told["iat"], told["count"]) == (DEVICE, office.client.kid, START_S, 1)
    assert standing(office) == {code: 1}
    assert office.audit_kinds().count("alert_raised") == 1


def test_clients_of_the_owner_are_told_and_nobody_else(office: Office, alarm: Alarm) -> None:
    tablet = party("client", "tablet")
    readers = (office.client, tablet, office.backend, office.store)
    raw = office.sign_keyset(2, signing_input_sha256(office.keyset_raw), *readers)
    office.index.write_now(lambda tx: office.trust.accept_key_set(tx, raw, moment=office.moment))
    raised(alarm, moment=at())
    for reader, count in ((office.client, 1), (tablet, 1), (office.backend, 0), (office.store, 0)):
        assert len(office.waiting(reader)) == count, reader.name


def test_alert_that_keeps_coming_is_counted_and_told_again_only_after_a_pause(office: Office, alarm: Alarm) -> None:
    assert raised(alarm, moment=at())
    assert not raised(alarm, moment=at(1))
    assert not raised(alarm, moment=at(PAUSE_S - 1))
    assert raised(alarm, moment=at(PAUSE_S))
    (told,) = office.waiting(office.client)
    assert (told["count"], told["since"]) == (4, "2027-01-15T08:00:00.000Z"), "one message waits, the newest"
    assert office.audit_kinds().count("alert_raised") == 1


def test_cleared_alert_ends_once_and_what_was_told_stays_until_it_is_read(office: Office, alarm: Alarm) -> None:
    raised(alarm, moment=at())
    raised(alarm, code="disk_full", moment=at())
    run(alarm.clear("source_failed", moment=at(1)))
    run(alarm.clear("source_failed", moment=at(2)))
    assert standing(office) == {"disk_full": 1}
    assert office.audit_kinds().count("alert_cleared") == 1
    assert {told["code"] for told in office.waiting(office.client)} == {"source_failed", "disk_full"}
    assert raised(alarm, moment=at(3)), "what comes back after it was over is told at once"


def test_clearing_what_does_not_stand_writes_nothing(office: Office, alarm: Alarm) -> None:
    raised(alarm, moment=at())
    before = office.index.commits
    run(alarm.clear("disk_full", moment=at(1)))
    assert office.index.commits == before


def test_alert_on_a_disk_without_any_room_is_logged_and_told_once_there_is_some(
    office: Office, alarm: Alarm, caplog: pytest.LogCaptureFixture
) -> None:
    without_room(office)
    assert not raised(alarm, moment=at(), what="There is no room.")
    assert "source_failed: There is no room." in caplog.text
    assert standing(office) == {}
    with_room(office)
    assert raised(alarm, moment=at(1))
    assert standing(office) == {"source_failed": 1}


def test_alert_that_cannot_be_ended_for_want_of_room_goes_on(office: Office, alarm: Alarm) -> None:
    raised(alarm, moment=at())
    without_room(office)
    run(alarm.clear("source_failed", moment=at(1)))
    assert standing(office) == {"source_failed": 1}
    with_room(office)
    run(alarm.clear("source_failed", moment=at(2)))
    assert standing(office) == {}


def test_standing_alert_that_is_about_something_more_is_told_at_once(office: Office, alarm: Alarm) -> None:
    def raise_(what: str, *, at_once: bool) -> bool:
        return office.index.write_now(lambda tx: alarm.raise_in(tx, "camera_impostor", what, at(1), at_once=at_once))

    assert raise_("One camera.", at_once=True)
    assert not raise_("One camera.", at_once=False), "told just now"
    assert raise_("Two cameras.", at_once=True)
    assert {told["what"] for told in office.waiting(office.client)} == {"Two cameras."}
