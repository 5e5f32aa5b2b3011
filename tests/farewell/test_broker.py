"""What the broker keeps of a device that has left its owner: nothing, whatever dies in between."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.farewell.leaving import ended
from tests.flow.house import DEVICE, TENANT, House
from tests.upload.line import Observer, observing
from tests.waiting import until

STATE = f"pv1/{TENANT}/{DEVICE}/state"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path) as found:
        found.start_agent()
        yield found


def states(observer: Observer) -> list[bytes]:
    return [payload for topic, payload, _ in observer.seen if topic == STATE]


def receipts_behind(observer: Observer) -> list[str]:
    """Return the topics of the receipts that came behind an empty state: on one topic, each is sent once."""
    told = [topic if payload else "" for topic, payload, _ in observer.seen]
    behind = told[told.index("") :] if "" in told else []
    return [topic for topic in behind if topic.startswith(f"pv1/{TENANT}/{DEVICE}/rcpt/")]


def leave_unread(house: House) -> None:
    """Ask for everything to be erased by a file, so that nobody who listens acknowledges the last receipt."""
    house.owner("erase-all", "--yes", "--out", house.folder / "erase.cmd")
    house.run("privacy-agent", "submit", house.folder / "erase.cmd", "--config", house.config)


@pytest.mark.promise("ACCOUNT-DELETE")
def test_broker_keeps_nothing_of_a_device_that_is_killed_behind_its_last_receipt(house: House) -> None:
    with observing(house.url, house.folder / "tls" / "backend") as observer:
        until(lambda: states(observer), what="its state, retained")
        assert states(observer)[0] != b""

        leave_unread(house)
        until(lambda: receipts_behind(observer), what="its last receipt, behind a state that clears what was retained")
        so_far = len(states(observer))
        house.kill("agent")
        until(lambda: len(states(observer)) > so_far, what="its will")
        assert states(observer)[-1] == b""

    with observing(house.url, house.folder / "tls" / "backend", STATE) as late:
        house.start_agent()
        until(lambda: late.seen, what="what the next start says")
        assert [(payload, retained) for _, payload, retained in late.seen] == [(b"", False)] * len(late.seen)


@pytest.mark.promise("ACCOUNT-DELETE")
def test_broker_keeps_nothing_of_a_device_that_ended(house: House) -> None:
    leave_unread(house)
    (asked,) = house.owner_json("pending")
    house.owner("resend", asked["command"])
    assert ended(house) == 0

    with observing(house.url, house.folder / "tls" / "backend") as late:
        late.publish(f"pv1/{TENANT}/{DEVICE}/cmd", b"behind what is retained")
        until(lambda: late.seen, what="the message that comes behind what is retained")
        assert [topic for topic, _, _ in late.seen if topic == STATE] == []
