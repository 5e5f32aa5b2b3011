"""Only what is new counts as a word of the cloud: whoever can write to the broker keeps no dead one alive."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.office import Office, at, run


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state")
    yield opened
    opened.close()


def test_command_of_a_backend_is_heard_once_and_not_when_it_is_sent_again_or_refused_at_the_door(
    office: Office,
) -> None:
    async def scenario() -> None:
        good = office.command(office.backend, "inventory", select={"all": True})
        late = office.command(office.backend, "inventory", select={"all": True})
        await office.receive(office.backend, good)
        assert len(office.heard) == 1
        await office.receive(office.backend, good)
        assert len(office.heard) == 1, "a repeat is none"
        not_its_own = await office.receive(office.backend, office.command(office.backend, "time", now=1))
        assert not_its_own is not None
        assert not_its_own["reason"] == "verb_not_allowed"
        office.moment = at(3 * 86_400)
        told = await office.receive(office.backend, late)
        assert told is not None
        assert told["reason"] == "expired"
        assert len(office.heard) == 1, "one that was kept until it expired is none"
        await office.receive(office.client, office.command(office.client, "inventory", select={"all": True}))
        assert len(office.heard) == 1, "its owner is not its cloud"

    run(scenario())


def test_ack_of_a_backend_is_heard_where_it_names_what_waited_and_not_when_it_is_sent_again(office: Office) -> None:
    async def scenario() -> None:
        told = await office.receive(office.backend, office.command(office.backend, "inventory", select={"all": True}))
        assert told is not None
        office.heard.clear()
        ack = office.ack(office.backend, told["jti"])
        await office.commands.receive(ack, moment=office.moment)
        assert len(office.heard) == 1
        await office.commands.receive(ack, moment=office.moment)
        assert len(office.heard) == 1

    run(scenario())
