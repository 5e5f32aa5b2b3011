"""What decides in the broker client without a network: urls, pauses, the window."""

import asyncio
from collections.abc import Iterator

import pytest

from agent.broker import MOST_IN_FLIGHT, Reconnect, Window, parse_url, topic_base
from agent.errors import ConfigError, LinkError


@pytest.mark.parametrize(
    ("url", "host", "port", "secure"),
    [
        ("mqtts://mqtt.example", "mqtt.example", 8883, True),
        ("mqtts://mqtt.example:9", "mqtt.example", 9, True),
        ("mqtt://localhost", "localhost", 1883, False),
        ("mqtt://127.0.0.9:5", "127.0.0.9", 5, False),
        ("mqtt://[::1]:5", "::1", 5, False),
    ],
)
def test_good_url_is_read(url: str, host: str, port: int, *, secure: bool) -> None:
    address = parse_url(url)
    assert (address.host, address.port, address.secure) == (host, port, secure)


@pytest.mark.parametrize(
    "url",
    [
        "", "mqtt.example", "http://a", "mqtts://", "mqtts://a:0", "mqtts://a:99999", "mqtts://a:x", "mqtts://u:p@a",
        "mqtts://a/path", "mqtts://a?q", "mqtt://mqtt.example", "mqtt://10.0.0.1", "mqtt://localhost.example",
    ],
)  # fmt: skip
def test_other_url_is_refused_with_a_next_step(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "ä", "x" * 65, "a b", "a\n"])
def test_name_that_cannot_be_in_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        topic_base("acme", name)
    with pytest.raises(ConfigError):
        topic_base(name, "cam")


def counting(*numbers: float) -> Reconnect:
    drawn: Iterator[float] = iter(numbers)
    return Reconnect(lambda: next(drawn))


def test_failures_in_a_row_widen_the_jitter_up_to_its_limit() -> None:
    reconnect = Reconnect(lambda: 0.5)
    assert [reconnect.failed() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_pause_may_be_anything_from_zero_to_the_ceiling() -> None:
    reconnect = counting(0.0, 0.999, 0.0)
    assert [reconnect.failed() for _ in range(3)] == [0.0, pytest.approx(1.998), 0.0]


def test_session_that_lasted_starts_the_pauses_anew() -> None:
    reconnect = Reconnect(lambda: 0.5)
    for _ in range(5):
        reconnect.failed()
    assert reconnect.ended(31.0) == 0.5


def test_short_session_counts_as_a_failure() -> None:
    reconnect = Reconnect(lambda: 0.5)
    assert [reconnect.ended(1.0) for _ in range(4)] == [0.5, 1, 2, 4]


def test_three_short_sessions_in_a_row_are_suspected_as_takeover() -> None:
    reconnect = Reconnect(lambda: 0.5)
    suspected = []
    for _ in range(3):
        reconnect.ended(1.0)
        suspected.append(reconnect.takeover_suspected)
    assert suspected == [False, False, True]


def test_broker_that_also_refuses_is_not_suspected() -> None:
    reconnect = Reconnect(lambda: 0.5)
    for _ in range(5):
        reconnect.ended(1.0)
        reconnect.failed()
    assert not reconnect.takeover_suspected


def test_broker_that_says_taken_over_is_believed_at_once() -> None:
    reconnect = Reconnect(lambda: 0.5)
    reconnect.ended(100.0, taken_over=True)
    assert reconnect.takeover_suspected


def test_window_is_never_wider_than_the_protocol_allows() -> None:
    assert Window(65_535).limit == MOST_IN_FLIGHT
    assert Window(20).limit == 20


def test_full_window_lets_an_answer_pass_before_bulk() -> None:
    async def act() -> list[str]:
        window, order = Window(3), list[str]()

        async def take(name: str, *, bulk: bool) -> None:
            await window.take(bulk=bulk)
            order.append(name)

        for _ in range(3):
            await window.take(bulk=False)
        async with asyncio.TaskGroup() as group:
            for name in ("bulk", "answer"):
                group.create_task(take(name, bulk=name == "bulk"), name=name)
            await asyncio.sleep(0)
            window.give(bulk=False)
            await asyncio.sleep(0)
            window.give(bulk=False)
        return order

    assert asyncio.run(act()) == ["answer", "bulk"]


def test_bulk_leaves_room_for_answers() -> None:
    async def act() -> None:
        window = Window(4)
        for _ in range(2):
            await window.take(bulk=True)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await window.take(bulk=True)
        async with asyncio.timeout(1):
            await window.take(bulk=False)

    asyncio.run(act())


async def bulk_slots(window: Window) -> int:
    """Return how many bulk packets go out without waiting; none is held afterwards."""
    taken = 0
    async with asyncio.TaskGroup() as group:
        while True:
            turn = group.create_task(window.take(bulk=True), name="bulk")
            await asyncio.sleep(0)
            if not turn.done():
                turn.cancel()
                break
            taken += 1
    for _ in range(taken):
        window.give(bulk=True)
    return taken


def test_slow_acknowledgements_narrow_bulk_and_quick_ones_widen_it() -> None:
    async def act() -> list[int]:
        window, limits = Window(64), list[int]()
        for after_s in (0.1, 0.1, 5.0, 5.0, 5.0, 5.0, 0.1):
            await window.take(bulk=True)
            window.acknowledged(after_s, bulk=True)
            limits.append(await bulk_slots(window))
        return limits

    assert asyncio.run(act()) == [5, 6, 3, 1, 1, 1, 2]


def test_cancelled_waiter_leaks_no_slot() -> None:
    async def act() -> None:
        window = Window(1)
        await window.take(bulk=False)
        async with asyncio.TaskGroup() as group:
            cancelled = group.create_task(window.take(bulk=False), name="cancelled")
            await asyncio.sleep(0)
            window.give(bulk=False)  # wakes it in the same turn as it is cancelled
            cancelled.cancel()
        async with asyncio.timeout(1):
            await window.take(bulk=False)

    asyncio.run(act())


def test_closed_window_fails_who_waits() -> None:
    async def act() -> None:
        window = Window(1)
        await window.take(bulk=False)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(failing(window), name="waiting")
            await asyncio.sleep(0)
            window.close(LinkError("gone"))
        assert waiting.result()

    async def failing(window: Window) -> bool:
        with pytest.raises(LinkError):
            await window.take(bulk=True)
        return True

    asyncio.run(act())
