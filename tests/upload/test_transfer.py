"""The pure parts of an upload: what is sent when, how fast, and who is next."""

import hashlib
import random
from typing import Any

import pytest

from agent.envelope import Go, Part, Stored
from agent.errors import CorruptError
from agent.model import Category, Object, new_id
from agent.policy import Policy
from agent.uplink import CHUNKS_AHEAD, STALLED_AFTER_S, Manifest, Rate, Transfer
from agent.uplink.transfer import Ask, Chunk, End, Idle
from agent.upload import Turn
from agent.upload.turn import LARGE_BYTES, LARGE_PLACES, PLACES
from tests.upload.hub import policy

KID, EPOCH = "k" * 43, "e"


def manifest(size: int) -> Manifest:
    header = b"header"
    return Manifest(
        upload="u" * 26,
        object="o" * 26,
        iat_s=1,
        payload_bytes=size,
        payload_sha256="a" * 64,
        header=header,
        header_sha256=hashlib.sha256(header).hexdigest(),
        regions=(),
    )


def go(offset: int) -> Go:
    return Go(iss=KID, aud="cam-1", iat=1, upload="u" * 26, manifest="0" * 64, region="eu", offset=offset, epoch=EPOCH)


def receipt(**changed: object) -> Stored:
    fields: dict[str, Any] = {
        "iss": KID, "aud": "cam-1", "iat": 1, "upload": "u" * 26, "manifest": "0" * 64, "object": "o" * 26,
        "payload": Part(bytes=25, sha256="a" * 64),
        "header": Part(bytes=6, sha256=hashlib.sha256(b"header").hexdigest()), "region": "eu", "epoch": EPOCH,
        **changed,
    }  # fmt: skip
    return Stored(**fields)


def begun(size: int = 25, *, chunk_bytes: int = 10) -> Transfer:
    transfer = Transfer(manifest(size), now_s=0, chunk_bytes=chunk_bytes)
    assert isinstance(transfer.step(0), Ask)
    return transfer


def test_no_chunk_travels_before_go() -> None:
    transfer = begun()
    assert isinstance(transfer.step(1), Idle)
    transfer.go(go(0), 1)
    assert transfer.step(1) == Chunk(0, 10)


def test_whole_payload_is_sent_once_and_then_ended() -> None:
    transfer = begun()
    transfer.go(go(0), 0)
    steps = [transfer.step(0) for _ in range(5)]
    assert steps[:4] == [Chunk(0, 10), Chunk(10, 10), Chunk(20, 5), End()]
    assert isinstance(steps[4], Idle)


def test_go_tells_where_to_begin() -> None:
    transfer = begun()
    transfer.go(go(20), 0)
    assert transfer.step(0) == Chunk(20, 5)


def test_go_while_sending_asks_for_a_resend_from_its_offset() -> None:
    transfer = begun()
    transfer.go(go(0), 0)
    for _ in range(4):
        transfer.step(0)
    transfer.go(go(10), 0)
    assert [transfer.step(0) for _ in range(3)] == [Chunk(10, 10), Chunk(20, 5), End()]
    assert transfer.resent_bytes == 15


def test_second_answer_to_a_repeated_begin_sends_nothing_again() -> None:
    transfer = begun()
    assert isinstance(transfer.step(2), Ask)  # no answer for 2 s
    transfer.go(go(0), 3)
    assert transfer.step(3) == Chunk(0, 10)
    transfer.go(go(0), 3)
    assert transfer.step(3) == Chunk(10, 10)


def test_no_more_than_64_chunks_are_beyond_what_is_durable() -> None:
    transfer = begun(10_000)
    transfer.go(go(0), 0)
    sent = 0
    while isinstance(transfer.step(0), Chunk):
        sent += 1
    assert sent == CHUNKS_AHEAD
    transfer.acknowledged(20, 0)
    assert [type(transfer.step(0)) for _ in range(3)] == [Chunk, Chunk, Idle]


def test_silence_of_15_seconds_begins_again() -> None:
    transfer = begun()
    transfer.go(go(0), 0)
    for _ in range(4):
        transfer.step(0)
    waiting = transfer.step(1)
    assert waiting == Idle(STALLED_AFTER_S - 1)
    assert isinstance(transfer.step(14.9), Idle)
    assert isinstance(transfer.step(15), Ask)


def test_acknowledgement_that_tells_nothing_new_is_no_progress() -> None:
    # A store that repeated its last word for ever would hold the next begin off for ever.
    transfer = begun()
    transfer.go(go(0), 0)
    for _ in range(4):
        transfer.step(0)
    transfer.acknowledged(10, 1)
    transfer.acknowledged(10, 10)
    transfer.acknowledged(5, 10)
    assert transfer.durable == 10
    assert transfer.step(10) == Idle(STALLED_AFTER_S - 9)
    assert isinstance(transfer.step(16), Ask)


def test_packet_that_the_broker_took_is_progress_on_a_slow_line() -> None:
    transfer = begun()
    transfer.go(go(0), 0)
    for _ in range(4):
        transfer.step(0)
    transfer.sent(14)
    assert isinstance(transfer.step(20), Idle)


def test_begin_without_answer_is_repeated_after_2_4_8_and_then_15_seconds() -> None:
    transfer = Transfer(manifest(1), now_s=0)
    asked = [now for now in range(60) if isinstance(transfer.step(now), Ask)]
    assert asked == [0, 2, 6, 14, 29, 44, 59]


def test_offset_that_cannot_be_is_not_believed() -> None:
    transfer = begun()
    with pytest.raises(CorruptError):
        transfer.go(go(26), 0)
    transfer.go(go(0), 0)
    transfer.step(0)
    with pytest.raises(CorruptError):
        transfer.acknowledged(26, 0)


def test_acknowledgement_of_what_was_sent_before_a_restart_is_no_lie() -> None:
    # An agent that ended sent two chunks; the broker kept what the store said to it for the one that started after.
    transfer = begun()
    transfer.acknowledged(10, 0)
    transfer.go(go(10), 0)
    transfer.acknowledged(20, 0)
    assert [transfer.step(0) for _ in range(2)] == [Chunk(20, 5), End()]


def test_store_that_acknowledged_what_it_does_not_have_gets_it_once_it_asks() -> None:
    transfer = begun()
    transfer.go(go(0), 0)
    transfer.acknowledged(25, 0)
    assert isinstance(transfer.step(0), End)
    transfer.go(go(10), 0)
    assert [transfer.step(0) for _ in range(3)] == [Chunk(10, 10), Chunk(20, 5), End()]


@pytest.mark.parametrize(
    "changed",
    [
        {"object": "p" * 26},
        {"payload": Part(bytes=24, sha256="a" * 64)},
        {"payload": Part(bytes=25, sha256="b" * 64)},
        {"header": Part(bytes=6, sha256="b" * 64)},
        {"header": Part(bytes=7, sha256=hashlib.sha256(b"header").hexdigest())},
    ],
)
def test_receipt_that_names_anything_else_is_not_believed(changed: dict[str, object]) -> None:
    transfer = begun()
    transfer.stored(receipt())
    with pytest.raises(CorruptError):
        transfer.stored(receipt(**changed))


@pytest.mark.parametrize("seed", range(200))
def test_any_order_of_losses_ends_with_every_byte_at_the_store(seed: int) -> None:
    """A store that loses, repeats and forgets at random gets the whole payload in bounded time."""
    draw = random.Random(seed)  # noqa: S311 - a repeatable fault, no key
    size = draw.randrange(400)
    transfer = Transfer(manifest(size), now_s=0, chunk_bytes=10)
    have, now = 0, 0.0
    for _ in range(20_000):
        now += draw.choice((0.0, 0.1, 1.0, 20.0))
        step = transfer.step(now)
        if isinstance(step, Idle) and draw.random() < 0.3:
            transfer.restart(now)  # the link was lost
        if isinstance(step, Idle) or draw.random() < 0.2:
            continue
        if isinstance(step, Chunk):
            assert step.offset + step.length <= size
            assert step.offset + step.length - transfer.durable <= 10 * CHUNKS_AHEAD
            if step.offset <= have:
                have = max(have, step.offset + step.length)
            if draw.random() < 0.5:
                transfer.acknowledged(have, now)
        elif isinstance(step, End) and have == size:
            return
        else:
            transfer.go(go(have), now)
    raise AssertionError("never ended")


def test_rate_lets_a_burst_pass_and_then_holds_to_the_average() -> None:
    rate = Rate(100, now_s=0)
    assert [rate.take(50, 0) for _ in range(4)] == [0, 0, 0.5, 1.0]
    assert rate.take(50, 10) == 0


def test_rate_over_time_is_the_limit() -> None:
    rate, now, sent = Rate(1000, now_s=0), 0.0, 0
    while now < 20:
        now += rate.take(100, now)
        sent += 100
    assert sent == pytest.approx(21_000, abs=200)  # 20 s and one second of burst


def test_no_rate_never_waits() -> None:
    assert Rate(None, now_s=0).take(1 << 40, 0) == 0


def item(size: int = 1, *, category: Category = "recording") -> Object:
    return Object(
        id=new_id(), camera="k3x9", category=category, purposes=("security",), source="spool", media_type="video/mp4",
        name="", captured_from_ms=0, captured_to_ms=1, taken_in_ms=0, plain_bytes=size, size_bytes=size,
        payload_sha256=b"", header_sha256=b"", kind="file-key", state="sealed", recipients=(), upload="",
        source_copy="taken", medium="tmpfs",
    )  # fmt: skip


@pytest.fixture
def rules() -> Policy:
    return policy(photo="priority = 90")


def test_higher_priority_goes_first_and_the_order_given_holds_within_it(rules: Policy) -> None:
    films, photos = [item() for _ in range(2)], [item(category="photo") for _ in range(2)]
    assert Turn().next([*films, *photos], policy=rules, now_s=0) == (*photos, *films)


def test_places_are_limited_and_large_ones_take_few(rules: Policy) -> None:
    turn = Turn()
    large, small = [item(LARGE_BYTES) for _ in range(5)], [item() for _ in range(10)]
    chosen = turn.next([*large, *small], policy=rules, now_s=0)
    assert len(chosen) == PLACES
    assert sum(one.size_bytes >= LARGE_BYTES for one in chosen) == LARGE_PLACES
    turn.running.update({one.id: one for one in chosen})
    assert turn.next([*large, *small], policy=rules, now_s=0) == ()


def test_failed_object_waits_longer_each_time_and_others_go_on(rules: Policy) -> None:
    turn, bad, good = Turn(), item(), item()
    turn.failed(bad.id, 0)
    assert turn.next([bad, good], policy=rules, now_s=59) == (good,)
    assert turn.next([bad, good], policy=rules, now_s=60) == (bad, good)
    turn.failed(bad.id, 60)
    assert turn.next([bad], policy=rules, now_s=179) == ()
    assert turn.next([bad], policy=rules, now_s=180) == (bad,)


def test_change_of_the_policy_lets_everybody_try_again(rules: Policy) -> None:
    turn, one = Turn(), item()
    turn.wait(one.id, 1e9)
    turn.clear()
    assert turn.next([one], policy=rules, now_s=0) == (one,)
