"""``restrict``, ``unrestrict``, ``hold`` and ``release`` from their key to their receipt."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import erasure
from agent.clock import rfc3339_ms
from agent.model import Object, new_id
from agent.rights import freezing
from tests.commands.office import START_S, Office, at, run

DAY_S = 86_400
Claims = dict[str, Any]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state")
    yield opened
    opened.close()


def keep(office: Office, **fields: object) -> Object:
    return run(office.keep(**fields))  # type: ignore[arg-type]  # as the office's


def until(seconds: int) -> str:
    return rfc3339_ms((START_S + seconds) * 1000)


def put_hold(office: Office, who: str = "backend", *, seconds: int = 30 * DAY_S, **select: object) -> Claims:
    own = {"select": select or {"all": True}, "reason": "claim 7", "until": until(seconds)}
    return run(office.submit(getattr(office, who), "hold", **own))


def put_restriction(office: Office, **select: object) -> Claims:
    return run(office.submit(office.client, "restrict", select=select or {"all": True}, ground="accuracy"))


def result(receipt: Claims) -> tuple[str, str, list[tuple[str, str]]]:
    told = [(one["id"], one["result"]) for one in receipt.get("outcomes", ())]
    return receipt["status"], receipt.get("reason", ""), told


def alerts(office: Office) -> list[str]:
    """Return the alerts about holds that stand."""
    standing = office.index.read_now(office.outbox.alerts)
    return [code for code, _since, _count in standing if code in {"held", "hold_ended"}]


@pytest.mark.promise("RESTRICT")
def test_restriction_of_named_objects_tells_each_and_stops_a_backends_delete_alone(office: Office) -> None:
    item, gone = keep(office), new_id()
    receipt = put_restriction(office, ids=[item.id, gone])
    assert result(receipt) == ("done", "", sorted([(item.id, "restricted"), (gone, "already_gone")]))
    refused = run(office.submit(office.backend, "delete", select={"ids": [item.id]}))
    assert result(refused) == ("failed", "", [(item.id, "restricted")])
    done = run(office.submit(office.client, "delete", select={"ids": [item.id]}))
    assert result(done) == ("done", "", [(item.id, "deleted")])


def test_restriction_by_range_tells_how_much_it_covers_and_covers_what_comes(office: Office) -> None:
    first = keep(office)
    receipt = put_restriction(office, camera="cam1")
    assert (receipt["status"], receipt["covers"]) == ("done", {"objects": 1, "bytes": first.size_bytes})
    assert "outcomes" not in receipt
    later = keep(office)
    assert office.index.read_now(lambda tx: office.world.rights(tx, later)).restricted
    refused = run(office.submit(office.backend, "export", select={"ids": [later.id]}, form="objects"))
    assert result(refused) == ("failed", "", [(later.id, "restricted")])


def test_restriction_is_lifted_once_by_its_id(office: Office) -> None:
    item = keep(office)
    jti = put_restriction(office, camera="cam1")["cmd"]
    assert run(office.submit(office.client, "unrestrict", restriction=jti))["status"] == "done"
    assert not office.index.read_now(lambda tx: office.world.rights(tx, item)).restricted
    again = run(office.submit(office.client, "unrestrict", restriction=jti))
    assert result(again) == ("refused", "nothing_stands", [])
    assert len(office.refrozen) == 2


def test_hold_stops_everybodys_delete_names_whose_it_is_and_alerts_the_owner(office: Office) -> None:
    item = keep(office)
    receipt = put_hold(office, ids=[item.id])
    assert result(receipt) == ("done", "", [(item.id, "held")])
    for who in (office.client, office.backend):
        assert result(run(office.submit(who, "delete", select={"all": True}))) == ("failed", "", [(item.id, "held")])
    assert office.get(item.id) is not None
    (told,) = [one for one in office.waiting(office.client) if one.get("code") == "held"]
    assert receipt["cmd"] in told["what"]
    assert office.backend.kid in told["what"]
    (listed,) = run(office.submit(office.client, "inventory", select={"all": True}))["outcomes"]
    assert listed["object"]["holds"] == [
        {"id": receipt["cmd"], "reason": "claim 7", "author": office.backend.kid, "until": until(30 * DAY_S)}
    ]
    assert (listed["object"]["rule"], listed["object"]["until"]) == ("hold", until(30 * DAY_S))
    (told_backend,) = run(office.submit(office.backend, "inventory", select={"all": True}))["outcomes"]
    assert "holds" not in told_backend["object"]


def test_delete_goes_on_with_what_no_hold_covers(office: Office) -> None:
    held, free = keep(office, camera="held"), keep(office, camera="free")
    put_hold(office, camera="held")
    receipt = run(office.submit(office.client, "delete", select={"all": True}))
    assert result(receipt) == ("partial", "", sorted([(held.id, "held"), (free.id, "deleted")]))


@pytest.mark.promise("HOLD")
def test_hold_keeps_what_only_a_store_still_has(office: Office) -> None:
    item = keep(office)
    office.upload(item.id)
    run(office.erasure.begin([item.id], rule="category.recording.keep.age", moment=office.moment))
    run(office.erasure.resume(office.moment))
    assert office.index.read_now(lambda tx: office.vault.at_store(tx, item.id)) is not None
    assert put_hold(office, camera="cam1")["covers"]["objects"] == 1
    assert result(run(office.submit(office.client, "delete", select={"all": True})))[2] == [(item.id, "held")]


def on_its_way_out(office: Office) -> tuple[Object, str]:
    """Have an object at a store, whose copy here a limit has begun to erase; return it and its upload."""
    item = keep(office)
    upload = office.upload(item.id)
    run(office.erasure.begin([item.id], rule="category.recording.keep.age", moment=office.moment))
    found = office.get(item.id)
    assert (found is not None, found and found.state) == (True, "erasing")
    return item, upload


def asked_back(office: Office) -> list[str]:
    """Return the uploads that the store is asked to erase."""
    return [
        one.upload for one in office.index.read_now(lambda tx: office.erasure.pending_remote(tx, office.store.kid, 9))
    ]


@pytest.mark.parametrize("select", ["all", "ids"])
@pytest.mark.parametrize(("word", "who"), [("held", "client"), ("held", "backend"), ("restricted", "backend")])
def test_what_is_frozen_stays_at_its_store_also_while_the_copy_here_is_on_its_way_out(
    office: Office, word: str, who: str, select: str
) -> None:
    # Until the rotation, for ``forget_within``, a delete had the store erase the copy that a hold was told to keep.
    item, upload = on_its_way_out(office)
    put = put_hold if word == "held" else put_restriction
    lasting = put(office, ids=[item.id])
    assert result(lasting) == ("done", "", [(item.id, word)]), "it is told to be kept, and so it is"
    chosen = {"all": True} if select == "all" else {"ids": [item.id]}
    told = run(office.submit(getattr(office, who), "delete", select=chosen))
    assert result(told) == ("failed", "", [(item.id, word)])
    run(office.erasure.resume(office.moment))
    assert office.get(item.id) is None, "its limit ends the copy here all the same"
    assert office.index.read_now(lambda tx: office.vault.at_store(tx, item.id)) is not None
    assert asked_back(office) == []
    lifts = ("release", "hold") if word == "held" else ("unrestrict", "restriction")
    run(office.submit(office.backend if word == "held" else office.client, lifts[0], **{lifts[1]: lasting["cmd"]}))
    run(office.submit(office.client, "delete", select={"ids": [item.id]}))
    assert asked_back(office) == [upload]


def test_what_is_held_stays_at_its_store_also_while_the_file_here_cannot_be_removed(office: Office) -> None:
    item, _upload = on_its_way_out(office)
    path = office.vault.payload_path(item.id)
    path.unlink()
    path.mkdir()
    run(office.erasure.resume(office.moment))
    assert put_off(office) == (item.id,)
    put_hold(office, ids=[item.id])
    assert result(run(office.submit(office.client, "delete", select={"all": True})))[2] == [(item.id, "held")]
    assert asked_back(office) == []
    path.rmdir()
    assert run(office.erasure.retry(office.moment)) == 0
    assert office.index.read_now(lambda tx: office.vault.at_store(tx, item.id)) is not None


def put_off(office: Office) -> tuple[str, ...]:
    return office.index.read_now(lambda tx: erasure.put_off(tx, limit=9))


def test_owner_who_leaves_is_told_of_a_hold_on_what_is_on_its_way_out_here(office: Office) -> None:
    item, _upload = on_its_way_out(office)
    put_hold(office, ids=[item.id])
    told = run(office.submit(office.client, "erase-all"))
    assert result(told)[2] == [(item.id, "held")]
    assert told["farewell"]["held"] == 1
    assert asked_back(office) == []


@pytest.mark.promise("HOLD")
@pytest.mark.parametrize(
    ("seconds", "status", "reason"),
    [
        (90 * DAY_S - 10, "done", ""),
        (90 * DAY_S - 9, "refused", "malformed"),
        (1, "done", ""),
        (0, "refused", "expired"),
        (-11, "refused", "malformed"),
    ],
)
def test_hold_ends_within_90_days_of_its_signature(office: Office, seconds: int, status: str, reason: str) -> None:
    assert result(put_hold(office, seconds=seconds))[:2] == (status, reason)


@pytest.mark.parametrize("own", [{"reason": ""}, {"reason": "a\nb"}, {"reason": "x" * 201}, {"until": "2027-02-01"}])
def test_hold_without_a_reason_or_an_end_is_malformed(office: Office, own: Claims) -> None:
    whole = {"select": {"all": True}, "reason": "claim 7", "until": until(DAY_S)} | own
    assert result(run(office.submit(office.backend, "hold", **whole)))[:2] == ("refused", "malformed")


def test_exports_are_neither_restricted_nor_held(office: Office) -> None:
    assert result(put_restriction(office, category="export"))[:2] == ("refused", "malformed")
    assert result(put_hold(office, category="export"))[:2] == ("refused", "malformed")


@pytest.mark.promise("HOLD")
def test_hold_needs_a_key_that_was_granted_it(office: Office) -> None:
    office.stranger.verbs = ("delete",)
    office.backend.verbs = ("delete", "export", "inventory")
    raw = office.sign_keyset(2, office.index.read_now(lambda tx: office.trust.key_set(tx).sha256))  # type: ignore[union-attr]  # there is one
    office.index.write_now(lambda tx: office.trust.accept_key_set(tx, raw, moment=office.moment))
    assert result(put_hold(office))[:2] == ("refused", "verb_not_allowed")
    assert alerts(office) == []


@pytest.mark.parametrize(("who", "codes"), [("client", []), ("backend", ["key_misused"])])
def test_owners_client_that_was_granted_no_hold_is_refused_and_not_said_to_be_misused(
    office: Office, who: str, codes: list[str]
) -> None:
    """Who tries ``hold`` before its grant is told to grant it: that is no sign of a key in the wrong hands."""
    getattr(office, who).verbs = ("delete",)
    raw = office.sign_keyset(2, office.index.read_now(lambda tx: office.trust.key_set(tx).sha256))  # type: ignore[union-attr]  # there is one
    office.index.write_now(lambda tx: office.trust.accept_key_set(tx, raw, moment=office.moment))
    assert result(put_hold(office, who))[:2] == ("refused", "verb_not_allowed")
    assert result(run(office.submit(getattr(office, who), "release", hold=new_id())))[:2] == (
        "refused",
        "verb_not_allowed",
    )
    assert [code for code, _since, _count in office.index.read_now(office.outbox.alerts)] == codes


def test_backend_releases_its_own_hold_and_an_owners_client_any(office: Office) -> None:
    mine, theirs, third = (
        put_hold(office, who, camera=camera)["cmd"]
        for who, camera in (("client", "cam1"), ("backend", "cam2"), ("backend", "cam3"))
    )
    assert result(run(office.submit(office.backend, "release", hold=mine)))[:2] == ("refused", "not_granted")
    assert run(office.submit(office.backend, "release", hold=theirs))["status"] == "done"
    assert alerts(office) == ["held", "hold_ended"]
    assert run(office.submit(office.client, "release", hold=third))["status"] == "done"
    assert run(office.submit(office.client, "release", hold=mine))["status"] == "done"
    assert alerts(office) == ["hold_ended"]
    assert office.index.read_now(freezing.standing).holds == ()


def test_hold_that_ended_is_told_and_no_longer_listed(office: Office) -> None:
    item = keep(office)
    put_hold(office, seconds=3600)
    office.moment = at(3599)
    assert not office.index.write_now(lambda tx: office.freezing.end_holds(tx, moment=office.moment))
    office.moment = at(3600)
    assert office.index.write_now(lambda tx: office.freezing.end_holds(tx, moment=office.moment))
    assert alerts(office) == ["hold_ended"]
    (listed,) = run(office.submit(office.client, "inventory", select={"ids": [item.id]}))["outcomes"]
    assert "holds" not in listed["object"]


def hold_ahead(office: Office, *, years: int) -> Claims:
    """Have a hold taken up by an unsure clock, signed as if that many years had passed."""
    office.moment = at(trusted=False)
    ahead_s = years * 365 * DAY_S
    own = {"select": {"all": True}, "reason": "claim 7", "until": until(ahead_s + 89 * DAY_S)}
    signed = {"iat": START_S + ahead_s, "exp": START_S + ahead_s + 60}
    return run(office.submit(office.backend, "hold", **own, **signed))


def ends(office: Office) -> list[str]:
    return [rfc3339_ms(one.until_ms or 0) for one in office.index.read_now(freezing.standing).holds]


def look(office: Office) -> bool:
    return office.index.write_now(lambda tx: office.freezing.end_holds(tx, moment=office.moment))


@pytest.mark.promise("HOLD")
def test_hold_that_an_unsure_clock_took_up_from_one_ahead_ends_90_days_after_the_clock_is_trusted(
    office: Office,
) -> None:
    """An unsure clock judges no ``iat``, and ``until`` was bound to that alone: one signature held for decades."""
    jti = hold_ahead(office, years=1)["cmd"]
    (first,) = [one for one in office.waiting(office.client) if one.get("code") == "held"]
    assert not look(office), "an unsure clock shortens nothing"
    assert ends(office) == [until((365 + 89) * DAY_S)]
    changes, state = len(office.refrozen), office.index.read_now(freezing.state)
    office.moment = at(60)
    assert look(office)
    assert ends(office) == [until(90 * DAY_S + 60)]
    (again,) = [one for one in office.waiting(office.client) if one.get("code") == "held"]
    assert (again["about"], again["jti"] != first["jti"]) == (jti, True)
    assert until(90 * DAY_S + 60) in again["what"]
    assert [kind for kind in office.audit_kinds() if kind.startswith("freeze")] == ["freeze_put", "freeze_shortened"]
    assert len(office.refrozen) == changes + 1
    assert office.index.read_now(freezing.state) != state
    assert not look(office), "once is enough"
    office.moment = at(90 * DAY_S + 60)
    assert look(office)
    assert ends(office) == []


@pytest.mark.promise("HOLD")
@pytest.mark.parametrize(("years", "status", "reason"), [(1, "done", ""), (2, "refused", "not_yet_valid")])
def test_hold_that_no_clock_could_allow_is_refused_while_the_clock_is_unsure(
    office: Office, years: int, status: str, reason: str
) -> None:
    receipt = hold_ahead(office, years=years)
    assert result(receipt)[:2] == (status, reason)
    assert len(ends(office)) == (status == "done")


def test_hold_of_a_clock_that_is_a_little_ahead_is_let_be(office: Office) -> None:
    office.moment = at(trusted=False)
    own = {"select": {"all": True}, "reason": "claim 7", "until": until(90 * DAY_S + 3600)}
    run(office.submit(office.backend, "hold", **own, iat=START_S + 3600, exp=START_S + 7200))
    office.moment = at()
    assert not look(office)
    assert ends(office) == [until(90 * DAY_S + 3600)]


def test_power_that_fails_while_a_hold_is_shortened_leaves_it_for_the_next_look(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_ahead(office, years=1)
    office.moment = at()

    def cut(*_about: object, **_more: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(office.outbox, "raise_alert", cut)
        with pytest.raises(ZeroDivisionError):
            look(office)
    office.restart()
    assert ends(office) == [until((365 + 89) * DAY_S)]
    assert look(office)
    assert ends(office) == [until(90 * DAY_S)]


def test_power_that_fails_before_the_receipt_is_written_leaves_nothing_standing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = keep(office)
    raw = office.command(office.client, "restrict", select={"all": True}, ground="claims")

    def cut(*_about: object, **_more: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(office.outbox, "put_receipt", cut)
        with pytest.raises(ZeroDivisionError):
            run(office.receive(office.client, raw))
    office.restart()
    assert office.index.read_now(freezing.standing) == freezing.Freezes()
    assert not office.index.read_now(lambda tx: office.world.rights(tx, item)).restricted
    assert office.refrozen == []
    assert (run(office.receive(office.client, raw)) or {})["status"] == "done"
    assert len(office.index.read_now(freezing.standing).restrictions) == 1


def test_what_was_put_stands_through_a_restart_and_a_repeat_puts_nothing(office: Office) -> None:
    item = keep(office)
    raw = office.command(office.client, "restrict", select={"ids": [item.id]}, ground="claims")
    first = run(office.receive(office.client, raw))
    office.restart()
    assert run(office.receive(office.client, raw)) == first
    standing = office.index.read_now(freezing.standing)
    assert len(standing.restrictions) == 1
    assert office.index.read_now(lambda tx: office.world.rights(tx, item)).restricted
