"""n of m: what destroys acts only once as many of the owner's clients have signed for it as the key set asks for."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import envelope
from agent.clock import rfc3339_ms
from agent.envelope import Approvals, Quota, signing_input_sha256
from agent.envelope.keyset import Verb
from agent.errors import RefusedError
from tests.commands.office import START_S, Office, Party, at, party, run
from tests.flow.house import TENANT, House


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state")
    yield opened
    opened.close()


def ask_for(office: Office, need: int, *clients: Party, verbs: tuple[Verb, ...] = ("delete",)) -> None:
    """Put a key set in force that asks for so many words."""
    claims = envelope.keyset_claims(
        [one.key() for one in (*clients, office.backend, office.store)],
        version=2,
        prev=signing_input_sha256(office.keyset_raw),
        iat=START_S,
        root_jwk=envelope.public_jwk(office.root),
        approvals=Approvals(need=need, verbs=verbs),
    )
    raw = envelope.sign(
        claims,
        typ="pv1.keyset",
        kid=envelope.thumbprint(envelope.public_jwk(office.root)),
        alg="ES256",
        sign=lambda data: envelope.raw_signature(office.root, data),
    )
    run(office.commands.submit(raw, moment=office.moment))


def approval(told: dict[str, Any]) -> dict[str, Any]:
    return {"command": told["cmd"], "selection": told["selection"]["hash"]}


def standing(office: Office) -> set[str]:
    return {code for code, _since, _count in office.index.read_now(office.outbox.alerts)}


def newest(office: Office, who: Party, cmd: str) -> dict[str, Any]:
    return [told for told in office.waiting(who) if told.get("cmd") == cmd][-1]


def test_delete_acts_only_with_the_word_of_a_second_client_that_is_not_its_senders(office: Office) -> None:
    tablet = party("client", "tablet", *envelope.VERBS)
    ask_for(office, 2, office.client, tablet)

    async def scenario() -> None:
        one = await office.keep()
        told = await office.submit(office.client, "delete", select={"ids": [one.id]})
        assert (told["status"], told["reason"], told["retry"]) == ("waiting", "approvals_missing", "later")
        assert standing(office) == {"approval_waiting"}
        own = await office.submit(office.client, "approve", **approval(told))
        assert (own["status"], own["reason"]) == ("refused", "nothing_waiting"), "its own word counts once"
        other = await office.submit(tablet, "approve", command=told["cmd"], selection="0" * 64)
        assert other["reason"] == "nothing_waiting", "another selection is no word for this one"
        assert office.get(one.id) is not None
        assert (await office.submit(tablet, "approve", **approval(told)))["status"] == "done"
        assert office.get(one.id) is None
        assert newest(office, office.client, told["cmd"])["status"] == "done"
        assert standing(office) == set()
        assert office.index.read_now(lambda tx: tx.execute("SELECT * FROM approval")) == []
        assert "command_approved" in office.audit_kinds()

    run(scenario())


def test_each_of_two_commands_that_wait_for_words_is_told_with_its_hash(office: Office) -> None:
    """The second took the place of the first, whose hash no other client then saw anywhere."""
    tablet = party("client", "tablet", *envelope.VERBS)
    ask_for(office, 2, office.client, tablet)

    async def scenario() -> None:
        asked = []
        for _ in range(2):
            one = await office.keep()
            asked.append(await office.submit(office.client, "delete", select={"ids": [one.id]}))
        alerts = [told for told in office.waiting(tablet) if told.get("code") == "approval_waiting"]
        for told, alert in zip(asked, alerts, strict=True):
            assert alert["about"] == told["cmd"]
            assert f"{told['cmd']} {told['selection']['hash']}" in alert["next"]
            assert alert["what"] == "A command to delete over 1 object waits for another of the owner's clients."
        assert (await office.submit(tablet, "approve", **approval(asked[0])))["status"] == "done"
        assert standing(office) == {"approval_waiting"}, "the other waits still"
        assert (await office.submit(tablet, "approve", **approval(asked[1])))["status"] == "done"
        assert standing(office) == set()

    run(scenario())


def test_two_of_three_words_are_two_different_clients(office: Office) -> None:
    others = [party("client", name, *envelope.VERBS) for name in ("tablet", "desk")]
    ask_for(office, 3, office.client, *others)

    async def scenario() -> None:
        one = await office.keep()
        told = await office.submit(office.client, "delete", select={"ids": [one.id]})
        assert (await office.submit(others[0], "approve", **approval(told)))["status"] == "done"
        again = await office.submit(others[0], "approve", **approval(told))
        assert again["reason"] == "nothing_waiting", "a client counts once"
        assert office.get(one.id) is not None
        office.restart()
        assert office.get(one.id) is not None
        assert (await office.submit(others[1], "approve", **approval(told)))["status"] == "done"
        assert office.get(one.id) is None

    run(scenario())


def test_word_of_a_client_that_left_the_set_counts_no_more(office: Office) -> None:
    lost, tablet = (party("client", name, *envelope.VERBS) for name in ("lost", "tablet"))
    ask_for(office, 3, office.client, lost, tablet)

    async def scenario() -> tuple[str, dict[str, Any]]:
        one = await office.keep()
        told = await office.submit(office.client, "delete", select={"ids": [one.id]})
        await office.submit(lost, "approve", **approval(told))
        return one.id, told

    kept, told = run(scenario())
    set_ = office.index.read_now(office.trust.key_set)
    assert set_ is not None
    desk = party("client", "desk", *envelope.VERBS)
    keys = [one.key() for one in (office.client, tablet, desk)]
    jwk = envelope.public_jwk(office.root)
    claims = envelope.keyset_claims(
        keys, version=3, prev=set_.sha256, iat=START_S, root_jwk=jwk, approvals=set_.approvals
    )
    raw = envelope.sign(
        claims,
        typ="pv1.keyset",
        kid=envelope.thumbprint(jwk),
        alg="ES256",
        sign=lambda data: envelope.raw_signature(office.root, data),
    )
    run(office.commands.submit(raw, moment=office.moment))
    run(office.submit(tablet, "approve", **approval(told)))
    assert office.get(kept) is not None
    run(office.submit(desk, "approve", **approval(told)))
    assert office.get(kept) is None


def test_backends_delete_waits_for_the_owners_clients_also_below_its_quota(office: Office) -> None:
    ask_for(office, 1, office.client)

    async def scenario() -> None:
        one = await office.keep()
        told = await office.submit(office.backend, "delete", select={"ids": [one.id]})
        assert told["reason"] == "approvals_missing"
        assert (await office.submit(office.client, "approve", **approval(told)))["status"] == "done"
        assert office.get(one.id) is None
        two = await office.keep()
        mine = await office.submit(office.client, "delete", select={"ids": [two.id]})
        assert mine["status"] == "done", "its own word is the one that is asked for"

    run(scenario())


def test_command_that_nobody_approves_expires_and_its_alert_ends(office: Office) -> None:
    ask_for(office, 2, office.client, party("client", "tablet", *envelope.VERBS))

    async def scenario() -> None:
        one = await office.keep()
        told = await office.submit(office.client, "delete", select={"ids": [one.id]})
        office.moment = at(2 * 86_400)
        await office.commands.tick(office.moment)
        assert newest(office, office.client, told["cmd"])["reason"] == "expired"
        assert office.get(one.id) is not None
        assert standing(office) == set()

    run(scenario())


def test_what_is_not_named_acts_at_once(office: Office) -> None:
    ask_for(office, 2, office.client, party("client", "tablet", *envelope.VERBS), verbs=("export",))

    async def scenario() -> None:
        one = await office.keep()
        assert (await office.submit(office.client, "delete", select={"ids": [one.id]}))["status"] == "done"
        told = await office.submit(office.client, "export", select={"all": True}, form="objects")
        assert told["reason"] == "approvals_missing"

    run(scenario())


BROKEN: dict[str, Callable[[Office], None]] = {
    "more than there are clients": lambda office: ask_for(office, 2, office.client),
    "clients that may not approve": lambda office: ask_for(office, 2, office.client, party("client", "x", "delete")),
    "the word itself": lambda office: ask_for(office, 1, office.client, verbs=("approve",)),
    "a verb twice": lambda office: ask_for(office, 1, office.client, verbs=("delete", "delete")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_key_set_that_asks_for_what_nobody_could_give_is_refused(office: Office, case: str) -> None:
    with pytest.raises(RefusedError) as caught:
        BROKEN[case](office)
    assert caught.value.reason == "malformed"


@pytest.mark.promise("VERIFY-REQ")
def test_delete_of_one_client_waits_visibly_for_another_ones_approve(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        home, reached = (
            tmp_path / "tablet",
            ("--broker", house.url, "--tenant", TENANT, "--tls", tmp_path / "tls" / "owner"),
        )

        def tablet(*arguments: str | Path) -> str:
            return house.run("privacy-owner", "--home", home, *arguments)

        tablet("client", "new", "tablet", "--out", tmp_path / "tablet.json", *reached)
        house.owner("client", "add", tmp_path / "tablet.json", "--yes", "--out", tmp_path / "2.jws")
        house.owner("client", "approvals", "2", "--verb", "delete", "--out", tmp_path / "3.jws")
        for version in (2, 3):
            house.agent_json("submit", tmp_path / f"{version}.jws")
        shown = house.owner_json("device", "list")[0]["fingerprint"]
        tablet("device", "add", house.state / "device.jws", "--accept", shown)
        house.start_agent()
        house.record()
        (item,) = house.one("sealed")
        told = house.owner("delete", item["id"], "--yes", "--timeout", "10", expect=1)
        assert "another of the owner's clients" in told
        assert [one["id"] for one in house.held()] == [item["id"]]
        (waiting,) = [one for one in house.owner_json("receipts") if one["status"] == "waiting"]
        command, selected = waiting["cmd"], waiting["selection"]["hash"]
        tablet("approve", command, selected, "--yes")
        assert house.held() == []
        assert "approval_waiting" in {one["code"] for one in json.loads(tablet("alerts", "--json"))}


def leavings(office: Office) -> list[tuple[str]]:
    return [(row[0],) for row in office.index.read_now(lambda tx: tx.execute("SELECT command FROM farewell"))]


def test_second_erase_all_that_waited_for_a_word_is_refused_when_it_gets_it(office: Office) -> None:
    # Its release ended the agent, and every start after it until the command's end.
    tablet = party("client", "tablet", *envelope.VERBS)
    ask_for(office, 2, office.client, tablet, verbs=("erase-all",))

    async def scenario() -> None:
        await office.keep()
        first = office.claims(office.client, "erase-all")
        second = office.claims(tablet, "erase-all")
        for who, claims in ((office.client, first), (tablet, second)):
            await office.commands.receive(office.seal(who.sign(claims)), moment=office.moment)
        of_phone, of_tablet = newest(office, office.client, first["jti"]), newest(office, tablet, second["jti"])
        assert of_phone["reason"] == of_tablet["reason"] == "approvals_missing"
        # Both words are there before either command is carried out.
        for who, told in ((tablet, of_phone), (office.client, of_tablet)):
            await office.commands.receive(office.command(who, "approve", **approval(told)), moment=office.moment)
        assert leavings(office) == [(first["jti"],)]
        refused = newest(office, tablet, of_tablet["cmd"])
        assert (refused["status"], refused["reason"]) == ("refused", "busy")

    run(scenario())


def test_second_erase_all_behind_the_same_command_is_refused_and_the_start_goes_on(office: Office) -> None:
    tablet = party("client", "tablet", *envelope.VERBS)
    ask_for(office, 2, office.client, tablet)

    async def scenario() -> None:
        one = await office.keep()
        told = await office.submit(office.client, "delete", select={"ids": [one.id]})
        for who in (office.client, tablet):
            answer = await office.submit(who, "erase-all", after=told["cmd"])
            assert answer["reason"] == "after_pending"
        await office.commands.receive(office.command(tablet, "approve", **approval(told)), moment=office.moment)
        office.restart()
        await office.commands.resume(office.moment)
        assert len(leavings(office)) == 1

    run(scenario())


def test_erase_all_above_a_clients_quota_leaves_its_owner_once_another_client_approved_it(office: Office) -> None:
    # Everything went, and the device stayed with its owner: the word was noted, and nothing began with it.
    tablet = party("client", "tablet", *envelope.VERBS, quota=Quota(objects=1, bytes=10**9, window_s=3600))
    ask_for(office, 2, office.client, tablet)

    async def scenario() -> None:
        await office.keep()
        await office.keep()
        told = await office.submit(tablet, "erase-all")
        assert told["reason"] == "quota_exceeded"
        assert leavings(office) == []
        assert (await office.submit(office.client, "approve", **approval(told)))["status"] == "done"
        assert leavings(office) == [(told["cmd"],)]
        assert newest(office, tablet, told["cmd"])["farewell"]["phase"] == 2

    run(scenario())


def test_what_is_held_can_be_released_by_one_client_once_the_device_parted(office: Office) -> None:
    tablet = party("client", "tablet", *envelope.VERBS)
    ask_for(office, 2, office.client, tablet, verbs=("release",))

    async def scenario() -> None:
        one = await office.keep()
        until = rfc3339_ms(office.moment.agent_ms + 86_400_000)
        hold = await office.submit(office.client, "hold", select={"ids": [one.id]}, reason="court", until=until)
        told = await office.submit(office.client, "erase-all")
        assert told["farewell"]["held"] == 1
        assert (await office.submit(office.client, "release", hold=hold["cmd"]))["status"] == "done"
        await office.commands.part(office.moment)
        assert newest(office, office.client, told["cmd"])["farewell"]["held"] == 0

    run(scenario())
