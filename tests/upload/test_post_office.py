"""What waits goes out over a real broker, in order and until its reader has it; ``state`` says how things are."""

import asyncio
import secrets
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import envelope
from agent.app.post import Post
from agent.broker import Broker
from agent.index import Tx
from device_sim.broker import Broker as BrokerProcess
from tests.commands.office import START_S, Office, at
from tests.upload.line import TENANT, Observer, no_pause, observing, running, short_pause, until
from tests.upload.proxy import proxy_to
from tests.upload.test_refused import arrived, post_office, posting, receipts

BASE = f"pv1/{TENANT}/cam-1"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "office")
    yield made
    made.close()


def line(url: str, tls: Path) -> Broker:
    return Broker(url, tenant=TENANT, identity=tls / "cam-1", wait=short_pause)


def has(observer: Observer, channel: str, body: bytes) -> bool:
    return body in arrived(observer, channel)


def has_more(observer: Observer, channel: str, *, than: int) -> bool:
    return len(arrived(observer, channel)) > than


def told_in_order(observer: Observer) -> list[tuple[str, bytes]]:
    """Return every message of the device but the look at its own access rights."""
    seen = [(topic.removeprefix(f"{BASE}/"), payload) for topic, payload, _ in observer.seen if topic.startswith(BASE)]
    return [(channel, payload) for channel, payload in seen if channel != "probe"]


def verified(office: Office, payload: bytes) -> dict[str, Any]:
    """Return the claims of a state that is signed by the device."""
    assert payload[0] == envelope.KIND["state"]
    key = office.keystore
    return envelope.verify(envelope.parse(payload[1:], typ="pv1.state"), jwk=key.public_jwk(), alg=key.alg)


def states(office: Office, observer: Observer) -> list[dict[str, Any]]:
    return [verified(office, payload) for payload in arrived(observer, "state")]


def numbered(count: int, *, start: int = 0) -> list[bytes]:
    return [b"receipt %d" % number for number in range(start, start + count)]


def unsure(office: Office) -> None:
    office.moment = msgspec.structs.replace(office.moment, trusted=False)


# --- messages


def test_what_waits_goes_out_behind_the_state_in_the_order_it_was_written(
    mosquitto: BrokerProcess, tls: Path, office: Office
) -> None:
    bodies = numbered(100)
    readers = [office.client.kid, office.backend.kid]
    receipts(office, *((readers[number % 2], body) for number, body in enumerate(bodies)))

    async def act() -> None:
        with observing(mosquitto.url, tls / "backend") as observer:
            async with posting(office, line(mosquitto.url, tls)):
                await until(lambda: len(told_in_order(observer)) >= 101)
            state, *told = told_in_order(observer)
        assert state[0] == "state"
        assert told == [(f"rcpt/{readers[number % 2]}", body) for number, body in enumerate(bodies)]

    asyncio.run(act())


def test_what_is_written_while_connected_is_sent_once_somebody_says_so(
    mosquitto: BrokerProcess, tls: Path, office: Office
) -> None:
    first, second = numbered(2)

    async def act() -> None:
        with observing(mosquitto.url, tls / "backend") as observer:
            async with posting(office, line(mosquitto.url, tls)) as post:
                for body in (first, second):
                    receipts(office, (office.client.kid, body))
                    post.news()
                    await until(partial(has, observer, f"rcpt/{office.client.kid}", body))
                assert arrived(observer, f"rcpt/{office.client.kid}") == [first, second]

    asyncio.run(act())


def test_each_connection_sends_again_what_its_reader_did_not_acknowledge(
    mosquitto: BrokerProcess, tls: Path, office: Office
) -> None:
    had, missing = numbered(2)

    def put(tx: Tx) -> None:
        for jti, body in (("had", had), ("missing", missing)):
            office.outbox.put_receipt(tx, to=office.client.kid, about=jti, jti=jti, body=body)

    office.index.write_now(put)
    channel = f"rcpt/{office.client.kid}"

    async def act() -> None:
        with observing(mosquitto.url, tls / "backend") as observer:
            async with proxy_to(mosquitto.port) as proxy, posting(office, line(proxy.url, tls)):
                await until(lambda: arrived(observer, channel) == [had, missing])
                office.index.write_now(
                    lambda tx: office.outbox.acknowledged(tx, office.client.kid, ("had",), moment=office.moment)
                )
                for _ in range(2):
                    before = len(arrived(observer, channel))
                    proxy.cut()
                    await until(partial(has_more, observer, channel, than=before))
                assert len(states(office, observer)) == 3
                assert set(arrived(observer, channel)[2:]) == {missing}

    asyncio.run(act())


def test_lost_line_loses_nothing_of_a_long_outbox(mosquitto: BrokerProcess, tls: Path, office: Office) -> None:
    bodies = [body + secrets.token_bytes(20_000) for body in numbered(60)]
    receipts(office, *((office.client.kid, body) for body in bodies))

    async def act() -> None:
        with observing(mosquitto.url, tls / "backend") as observer:
            async with proxy_to(mosquitto.port) as proxy, posting(office, line(proxy.url, tls)):
                proxy.cut_after(400_000)
                await until(lambda: arrived(observer, f"rcpt/{office.client.kid}")[-1:] == bodies[-1:])
                assert proxy.cuts == 1
            told = arrived(observer, f"rcpt/{office.client.kid}")
        assert set(told) == set(bodies)
        assert told[-len(bodies) :] == bodies, "the second connection told all of it in order"

    asyncio.run(act())


# --- state


def test_state_is_signed_retained_and_says_how_things_are(mosquitto: BrokerProcess, tls: Path, office: Office) -> None:
    async def act() -> None:
        with observing(mosquitto.url, tls / "backend") as observer:
            async with posting(office, line(mosquitto.url, tls)):
                await until(lambda: bool(states(office, observer)))
                with observing(mosquitto.url, tls / "owner") as late:
                    await until(lambda: bool(states(office, late)))
                assert [retained for topic, _, retained in late.seen if topic == f"{BASE}/state"] == [True]
                (told,) = states(office, late)
        assert (told["iss"], told["iat"], told["online"], told["clock"]) == ("cam-1", START_S, True, "trusted")
        assert told["verbs"] == list(envelope.VERBS)
        assert told["limits"]["publish_bytes"] == envelope.MAX_PUBLISH_BYTES

    asyncio.run(act())


def test_state_is_told_again_when_it_changed_and_not_for_news_alone(
    mosquitto: BrokerProcess, tls: Path, office: Office
) -> None:
    async def act() -> None:
        with observing(mosquitto.url, tls / "backend") as observer:
            async with posting(office, line(mosquitto.url, tls), hurry=100) as post:
                await until(lambda: bool(states(office, observer)))
                for number in range(3):
                    office.moment = at(number + 1)  # time alone is no change
                    receipts(office, (office.client.kid, b"news %d" % number))
                    post.news()
                    await until(partial(has_more, observer, f"rcpt/{office.client.kid}", than=number))
                unsure(office)
                post.news()
                await until(lambda: states(office, observer)[-1]["clock"] == "unsure")
                assert [told["clock"] for told in states(office, observer)] == ["trusted", "unsure"]

    asyncio.run(act())


def test_news_without_end_put_the_state_off_only_so_long(mosquitto: BrokerProcess, tls: Path, office: Office) -> None:
    async def act() -> None:
        with observing(mosquitto.url, tls / "backend") as observer:
            async with posting(office, line(mosquitto.url, tls)) as post, asyncio.TaskGroup() as group:
                await until(lambda: bool(states(office, observer)))

                async def talk() -> None:
                    while True:
                        post.news()
                        await no_pause(0, asyncio.Event())

                talking = group.create_task(talk(), name="talk")
                unsure(office)
                await until(lambda: states(office, observer)[-1]["clock"] == "unsure")
                talking.cancel()

    asyncio.run(act())


def test_will_tells_the_end_of_exactly_the_connection_that_broke(
    mosquitto: BrokerProcess, tls: Path, office: Office
) -> None:
    post = post_office(office)

    async def act() -> None:
        with observing(mosquitto.url, tls / "backend") as observer:
            async with proxy_to(mosquitto.port) as proxy:
                broker = Broker(proxy.url, tenant=TENANT, identity=tls / "cam-1", wait=short_pause, will=post.will)
                async with running(broker), asyncio.TaskGroup() as group:
                    working = group.create_task(post.run(broker), name="post")
                    await until(lambda: len(states(office, observer)) == 1)
                    proxy.cut()
                    await until(lambda: len(states(office, observer)) == 3)
                    await post.goodbye(broker)
                    await until(lambda: len(states(office, observer)) == 4)
                    working.cancel()
            told = [(state["session"], state["online"]) for state in states(office, observer)]
        first, second = told[0][0], told[-1][0]
        assert sorted(told[:3]) == sorted([(first, True), (first, False), (second, True)])
        assert told.index((first, True)) < told.index((first, False))
        assert told[3] == (second, False), "the goodbye"
        assert second > first >= START_S

    asyncio.run(act())


def test_session_numbers_rise_when_the_clock_stands_still_and_after_a_restart(office: Office) -> None:
    async def sessions(post: Post, count: int) -> list[int]:
        return [verified(office, await post.will())["session"] for _ in range(count)]

    told = asyncio.run(sessions(post_office(office), 3))
    assert told[0] >= START_S
    office.moment = at(10)
    told += asyncio.run(sessions(post_office(office), 2))
    assert all(one < other for one, other in pairwise(told))


def test_goodbye_over_a_line_that_is_away_ends_at_once(mosquitto: BrokerProcess, tls: Path, office: Office) -> None:
    async def act() -> None:
        broker = line(mosquitto.url, tls)
        async with posting(office, broker) as post:
            await until(lambda: broker.online)
            mosquitto.kill()
            await until(lambda: not broker.online)
            async with asyncio.timeout(60):
                await post.goodbye(broker)

    asyncio.run(act())
