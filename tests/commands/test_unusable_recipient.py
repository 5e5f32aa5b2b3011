"""A key whose recipient has one wrong letter was accepted, signed and all, and every start of the agent ended there."""

import json
from typing import Any

import pytest

from agent import age
from agent.age.bech32 import encode
from agent.app.alarm import Alarm
from agent.envelope import parse_descriptor, parse_keyset, public_jwk
from agent.errors import CorruptError, RefusedError
from agent.index import trust as rows
from tests.commands.office import Office, Party, at, party, run


def misspelt(recipient: str) -> str:
    return recipient[:-1] + ("q" if recipient[-1] != "q" else "p")


LOW_ORDER = encode("age", bytes(32))
"""Spelt well, and no identity in the world has it."""


class Misspelt(Party):
    @property
    def recipient(self) -> str:
        return misspelt(super().recipient)


def of(who: Party) -> Misspelt:
    return Misspelt(who.role, who.name, who.private, who.identity, who.verbs)


@pytest.mark.parametrize("post_quantum", [False, True])
def test_descriptor_whose_recipient_has_a_wrong_letter_is_refused(*, post_quantum: bool) -> None:
    who = party("store", "bucket")
    good = age.generate_identity(post_quantum=post_quantum).recipient().to_text()
    claims: dict[str, Any] = {"v": 1, "role": "store", "name": "bucket", "jwk": who.jwk, "alg": who.alg}
    assert parse_descriptor(json.dumps(claims | {"recipient": good}).encode()).recipient == good
    for wrong in (misspelt(good), good[:-20], LOW_ORDER):
        with pytest.raises(CorruptError) as caught:
            parse_descriptor(json.dumps(claims | {"recipient": wrong}).encode())
        assert "recipient" in caught.value.message
        assert wrong not in str(caught.value)


def test_key_set_with_a_wrong_letter_in_a_recipient_is_refused_and_names_the_key(office: Office) -> None:
    root = public_jwk(office.root)
    first = parse_keyset(office.keyset_raw, root_jwk=root, current=None)
    for wrong in (of(office.store), of(office.client)):
        raw = office.sign_keyset(2, first.sha256, wrong)
        with pytest.raises(RefusedError) as caught:
            parse_keyset(raw, root_jwk=root, current=first)
        assert caught.value.reason == "malformed"
        assert f"{wrong.name!r}" in caught.value.message


def in_force(office: Office, *parties: Party) -> None:
    """Put a key set in force that an agent accepted which did not look at recipients."""
    raw = office.sign_keyset(2, "0" * 64, *parties)
    office.index.write_now(lambda tx: rows.set_key_set(tx, raw, version=2))


def test_command_of_a_key_that_nothing_can_be_sealed_to_acts_and_is_not_answered(office: Office) -> None:
    wrong = of(office.client)
    in_force(office, wrong, office.backend)

    async def live() -> None:
        kept = await office.keep()
        raw = office.command(wrong, "delete", select={"ids": [kept.id]})
        assert await office.commands.receive(raw, moment=office.moment) == ()
        await office.commands.resume(office.moment)
        assert office.get(kept.id) is None
        refused = office.command(wrong, "export", select={"all": True}, form="nonsense")
        assert await office.commands.receive(refused, moment=office.moment) == ()

    run(live())
    assert office.index.read_now(office.outbox.pending) == ()


def test_alert_goes_to_the_readers_that_it_can_be_sealed_to(office: Office) -> None:
    tablet = party("client", "tablet")
    in_force(office, of(office.client), tablet)
    assert [key.name for key in office.index.read_now(office.trust.unusable_keys)] == ["phone"]
    alarm = Alarm(index=office.index, trust=office.trust, outbox=office.outbox)
    assert run(alarm.raise_("disk_full", "There is no room.", moment=at()))
    assert [alert["code"] for alert in office.waiting(tablet)] == ["disk_full"]


def test_next_key_set_ends_the_alert_about_an_unusable_key(office: Office) -> None:
    in_force(office, of(office.client), office.backend)
    alarm = Alarm(index=office.index, trust=office.trust, outbox=office.outbox)
    run(alarm.raise_("unusable_key", "Nothing can be sealed to a key.", moment=at()))
    current = office.index.read_now(office.trust.key_set)
    assert current is not None
    run(office.commands.submit(current.raw, moment=at()))  # a repeat changes nothing
    assert [code for code, _since, _count in office.index.read_now(office.outbox.alerts)] == ["unusable_key"]
    run(office.commands.submit(office.sign_keyset(3, current.sha256), moment=at()))
    assert office.index.read_now(office.outbox.alerts) == ()
    assert office.index.read_now(office.trust.unusable_keys) == ()
