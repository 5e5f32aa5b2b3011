"""An owner leaves a device, over a real broker and a real store; the next owner finds nothing and begins."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.listed import unlisted
from tests.farewell.leaving import contents_of, ended
from tests.flow.house import DEVICE, House
from tests.waiting import until


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path) as found:
        found.start_cloud()
        found.start_agent()
        yield found


@pytest.mark.promise("ACCOUNT-DELETE")
@pytest.mark.promise("ERASE")
def test_owner_leaves_and_the_next_one_begins(house: House) -> None:
    house.record(seed=1)
    (object_,) = house.one("uploaded")
    owner_pub = json.loads((house.home / "owner.pub").read_text().splitlines()[0])

    told = house.owner_json("erase-all", "--yes")

    assert (told["status"], told["farewell"]["phase"], told["farewell"]["cloud"]) == ("done", 2, "confirmed")
    assert {event["object"] for event in house.events("erased")} == {object_["id"]}
    assert ended(house) == 0
    assert set(contents_of(house.state)) == {"lock", "former.json"}
    assert unlisted(list(contents_of(house.state)), section=1) == []
    for path in (house.folder / "policy.toml", house.folder / "tls" / DEVICE / "tls.key"):
        assert not path.exists()
    left = b"".join(path.read_bytes() for path in house.state.rglob("*") if path.is_file())
    assert not [word for word in (owner_pub["recipient"], owner_pub["name"], object_["id"]) if word.encode() in left]
    assert "has no owner any more" in house.run("privacy-agent", "run", "--config", house.config, expect=2)

    house.run("certs", "issue", house.folder / "tls", DEVICE, "--force")
    house.home = house.folder / "next"
    house.owner("init", "--name", "Next")
    first = house.record(seed=1)  # the former owner's camera still has its copy on a card, and it is put in again
    house.agent_json("init", "--owner", house.home / "owner.pub")
    house.start_agent()
    until(lambda: not [path for path in house.spool.rglob("*") if path.is_file()], what="it destroyed unread")

    assert house.held() == []
    policy = (house.folder / "policy.toml").read_text()
    assert owner_pub["recipient"] not in policy
    assert first


@pytest.mark.promise("ACCOUNT-DELETE")
def test_first_receipt_is_partial_and_the_last_waits_for_the_store(house: House) -> None:
    house.record(seed=1)
    house.one("uploaded")
    house.stop("cloud")

    printed = house.owner("erase-all", "--yes", "--timeout", "10", "--json", expect=1)

    told = json.loads(printed.splitlines()[0])
    assert (told["status"], told["farewell"]["phase"], told["farewell"]["cloud"]) == ("partial", 1, "pending")
    assert "privacy-owner listen" in printed
    status = house.run("privacy-agent", "status", "--config", house.config)
    assert "its last word waits for 1 at stores" in status
    assert "is left" in house.run("privacy-agent", "doctor", "--offline", "--config", house.config)
    assert house.held() == []
    house.start_cloud()
    (last,) = house.owner_json("resend", told["cmd"])
    assert (last["status"], last["farewell"]["phase"], last["farewell"]["cloud"]) == ("done", 2, "confirmed")
    assert ended(house) == 0
