"""What is not acknowledged is sent again while the line stands.

Every retention pass says that there may be news, once a minute at least: the quarter of an hour without news, after
which everything was to be repeated, never came.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.outbox import REPEAT_S
from device_sim.broker import Broker as BrokerProcess
from tests.commands.office import Office
from tests.upload.line import observing, until
from tests.upload.test_refused import arrived, line, posting, receipts

HURRY = REPEAT_S / 0.5  # a quarter of an hour in half a second


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "office")
    yield made
    made.close()


def test_receipt_is_repeated_every_quarter_of_an_hour_however_often_there_is_news(
    mosquitto: BrokerProcess, tls: Path, office: Office
) -> None:
    receipts(office, (office.client.kid, b"not acknowledged"))

    async def act() -> None:
        broker = line(mosquitto, tls)
        with observing(mosquitto.url, tls / "backend") as observer:
            async with posting(office, broker, hurry=HURRY) as post:

                def repeated() -> bool:
                    post.news()  # at each look, a hundred times in that half second
                    return len(arrived(observer, f"rcpt/{office.client.kid}")) >= 3

                await until(repeated)
                assert broker.session == 1

    asyncio.run(act())
