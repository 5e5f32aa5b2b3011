"""Alerts of one code about different things stand beside each other: none is told in place of another."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent import envelope
from agent.clock import rfc3339_ms
from agent.index import Tx
from agent.index import outbox as rows
from agent.model import new_id
from agent.outbox import APART_MAX, WAITING_MAX, Alert
from tests.commands.office import START_S, Office, Party, at, party, run

Claims = dict[str, Any]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state")
    yield opened
    opened.close()


def told(office: Office, code: str) -> list[Claims]:
    return [one for one in office.waiting(office.client) if one.get("code") == code]


def standing(office: Office) -> dict[str, int]:
    return {code: count for code, _since, count in office.index.read_now(office.outbox.alerts)}


def misuse(office: Office, who: Party) -> None:
    run(office.receive(who, office.command(who, "approve", command="a" * 26, selection="0" * 64)))


def hold(office: Office, seconds: int = 3_600) -> str:
    own = {"select": {"all": True}, "reason": "claim 7", "until": rfc3339_ms((START_S + seconds) * 1000)}
    held: str = run(office.submit(office.backend, "hold", **own))["cmd"]
    return held


@pytest.mark.promise("INCIDENT")
def test_second_key_that_is_misused_within_the_minute_is_told_beside_the_first(office: Office) -> None:
    """Ten seconds after the first the second was counted, and never told."""
    misuse(office, office.backend)
    office.moment = at(10)
    misuse(office, office.clock)
    kids = [office.backend.kid, office.clock.kid]
    assert [one["what"].split()[2] for one in told(office, "key_misused")] == kids
    assert [one["about"] for one in told(office, "key_misused")] == [f"{kid}.verb_not_allowed" for kid in kids]
    assert standing(office)["key_misused"] == 2


@pytest.mark.promise("INCIDENT")
def test_first_of_two_incidents_ends_with_its_ack_and_the_other_stands(office: Office) -> None:
    misuse(office, office.backend)
    misuse(office, office.clock)
    first, second = told(office, "key_misused")
    run(office.receive(office.client, office.ack(office.client, first["jti"])))
    assert told(office, "key_misused") == [second]
    assert standing(office)["key_misused"] == 1
    run(office.receive(office.client, office.ack(office.client, second["jti"])))
    assert "key_misused" not in standing(office)


@pytest.mark.promise("INCIDENT")
def test_incident_that_a_lost_phone_never_read_is_told_to_the_phone_in_its_place(office: Office) -> None:
    """It waited for that one alone, went with its key, and nobody was ever told."""
    misuse(office, office.backend)
    misuse(office, office.clock)
    read, kept = told(office, "key_misused")
    run(office.receive(office.client, office.ack(office.client, read["jti"])))
    other = party("client", "new phone", *envelope.VERBS)
    raw = office.sign_keyset(2, envelope.signing_input_sha256(office.keyset_raw), other, office.backend)
    run(office.commands.submit(raw, moment=office.moment))
    (again,) = [one for one in office.waiting(other) if one.get("code") == "key_misused"]
    assert {name: again[name] for name in ("about", "what", "since")} == {
        name: kept[name] for name in ("about", "what", "since")
    }
    run(office.receive(other, office.ack(other, again["jti"])))
    assert "key_misused" not in standing(office)
    assert office.index.read_now(rows.every_told) == (), "nothing is kept of what everybody has read"


@pytest.mark.promise("HOLD")
def test_each_hold_is_told_by_an_alert_of_its_own_and_so_is_its_end(office: Office) -> None:
    """Two that ended in one look were told as one, and of three that came while the owner was away one was told."""
    held = [hold(office), hold(office), hold(office, 7_200)]
    assert [one["about"] for one in told(office, "held")] == held
    assert all(one in alert["what"] for one, alert in zip(held, told(office, "held"), strict=True))
    office.moment = at(3_600)
    office.index.write_now(partial(office.freezing.end_holds, moment=office.moment))
    assert sorted(one["about"] for one in told(office, "hold_ended")) == sorted(held[:2])
    assert standing(office) == {"held": 1, "hold_ended": 2}
    run(office.submit(office.client, "release", hold=held[2]))
    assert "held" not in standing(office)


def raise_some(office: Office, numbers: range) -> None:
    for number in numbers:
        alert = Alert(code="held", what=f"Number {number}.", effect="e", next="n", about=f"about-{number}")
        readers = (office.client.key(),)
        told = partial(office.outbox.raise_alert, alert=alert, readers=readers, at_once=True, moment=office.moment)
        office.index.write_now(told)


def test_alerts_beyond_those_that_are_told_apart_share_one_that_counts_them(office: Office) -> None:
    raise_some(office, range(APART_MAX + 3))
    alerts = told(office, "held")
    assert [one["about"] for one in alerts[:-1]] == [f"about-{number}" for number in range(APART_MAX)]
    assert (alerts[-1]["about"], len(alerts)) == ("", APART_MAX + 1)
    assert alerts[-1]["what"] == f"Number {APART_MAX + 2}. Beside those that are told one by one this is number 3."
    raise_some(office, range(1))
    assert told(office, "held")[-1]["about"] == "about-0", "one that is told apart is so again"


def test_alerts_that_ended_and_still_wait_for_their_reader_are_bounded_too(office: Office) -> None:
    for number in range(APART_MAX + 3):
        raise_some(office, range(number, number + 1))
        office.index.write_now(partial(office.outbox.clear_alert, code="held", moment=office.moment))
    assert len(told(office, "held")) == APART_MAX + 1


@pytest.mark.promise("INCIDENT")
def test_incident_is_pushed_out_by_nothing_that_comes_later(office: Office) -> None:
    misuse(office, office.backend)

    def fill(tx: Tx) -> None:
        for number in range(WAITING_MAX + 5):
            office.outbox.put_receipt(tx, to=office.client.kid, about=f"{number}", jti=new_id(), body=b"x")

    office.index.write_now(fill)
    messages = office.index.read_now(lambda tx: office.outbox.pending(tx, limit=5_000))
    waiting = [one.about for one in messages if one.reader == office.client.kid]
    assert len(waiting) == WAITING_MAX
    assert waiting[0] == f"alert/key_misused/{office.backend.kid}.verb_not_allowed"
