"""Whoever saw a command pass can say it for ever: receipts for its repeats are sent at a pace, at no key's cost."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from agent import age, pace
from agent.age.filekey import Unwraps
from agent.errors import CorruptError
from agent.pace import REPEATS
from tests.commands.office import Office, at

pytestmark = pytest.mark.promise("VERIFY-REQ")

SELECT_ALL = {"all": True}


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def sent(office: Office) -> object:
    """What waits to be sent; a row that is put anew has another number."""
    return office.index.read_now(lambda tx: tx.execute("SELECT * FROM outbox"))


def paced(office: Office) -> object:
    return office.index.read_now(lambda tx: tx.execute("SELECT * FROM pace"))


def test_repeats_beyond_their_pace_write_nothing_and_send_nothing(office: Office) -> None:
    async def scenario() -> None:
        raw = office.command(office.backend, "inventory", select=SELECT_ALL)
        first = await office.receive(office.backend, raw)
        for _ in range(REPEATS.burst):
            before = sent(office)
            assert await office.receive(office.backend, raw) == first
            assert sent(office) != before
        before = sent(office), paced(office)
        for _ in range(3):
            await office.receive(office.backend, raw)
        assert (sent(office), paced(office)) == before
        office.moment = at(2 * REPEATS.burst * REPEATS.pause_ms // 1000)
        await office.receive(office.backend, raw)
        assert sent(office) != before[0]

    run(scenario())


def test_flood_of_repeats_keeps_no_new_command_of_its_key_out(office: Office) -> None:
    async def scenario() -> None:
        raw = office.command(office.backend, "inventory", select=SELECT_ALL)
        for _ in range(3 * REPEATS.burst):
            await office.receive(office.backend, raw)
        assert (await office.submit(office.backend, "inventory", select=SELECT_ALL))["status"] == "done"

    run(scenario())


def test_what_is_counted_of_repeats_goes_with_its_key(office: Office) -> None:
    async def scenario() -> None:
        for who in (office.backend, office.client):
            await office.receive(who, raw := office.command(who, "inventory", select=SELECT_ALL))
            await office.receive(who, raw)
        await office.index.write(lambda tx: pace.forget_others(tx, frozenset({office.client.kid})))
        left = office.index.read_now(lambda tx: tx.execute("SELECT kid FROM pace"))
        assert left == [(office.client.kid,)]

    run(scenario())


def test_message_of_more_stanzas_than_a_reader_bears_is_not_looked_at(office: Office) -> None:
    identity = age.generate_identity(post_quantum=False)
    ours = identity.recipient()
    for others in (age.STANZAS_MAX - 1, age.STANZAS_MAX):
        sealed = age.encrypt(
            b"word", [ours, *(age.generate_identity(post_quantum=False).recipient() for _ in range(others))]
        )
        if others < age.STANZAS_MAX:
            assert age.decrypt(sealed, [identity], stanzas_max=age.STANZAS_MAX) == b"word"
            continue
        with pytest.raises(CorruptError, match="16 stanzas"):
            age.decrypt(sealed, [identity], stanzas_max=age.STANZAS_MAX)
        assert age.decrypt(sealed, [identity]) == b"word"
    looked: list[Unwraps] = []
    many = b"age-encryption.org/v1\n" + b"-> a\n\n" * 21_500 + b"--- " + b"A" * 43 + b"\n"
    with pytest.raises(CorruptError, match="16 stanzas"):
        age.decrypt(many, looked, stanzas_max=age.STANZAS_MAX)

    async def scenario() -> None:
        assert await office.receive(office.backend, b"\x01" + many) is None
        assert office.commands.counters["unreadable"] == 1

    run(scenario())
