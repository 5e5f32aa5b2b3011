"""What must not get in, gets no effect; what gets in, gets in once."""

import asyncio
import json
import random
from typing import Any

import pytest

from agent import age, envelope
from agent.envelope import b64url
from agent.index import Tx
from agent.model import Object, new_id
from agent.trust import LAST_SEQ
from tests.commands.office import DEVICE, START_S, Office, Party, at, party, run


def raw_jws(who: Party, payload: bytes, **header: object) -> bytes:
    """Sign any bytes at all under any header."""
    members = {"alg": who.alg, "kid": who.kid, "typ": "pv1.command"} | header
    signing_input = f"{b64url(json.dumps(members).encode())}.{b64url(payload)}".encode()
    return signing_input + b"." + b64url(envelope.raw_signature(who.private, signing_input)).encode()


async def delete_of_one(office: Office, **own: object) -> tuple[Object, dict[str, Any]]:
    kept = await office.keep()
    return kept, office.claims(office.client, "delete") | {"select": {"ids": [kept.id]}} | own


# --- nobody is known: counted, not answered


def test_messages_of_nobody_are_counted_not_answered_and_have_no_effect(office: Office) -> None:
    async def scenario() -> None:
        kept, claims = await delete_of_one(office)
        good = office.client.sign(claims)
        stranger = office.stranger.sign(claims | {"iss": office.stranger.kid})
        other_device = age.generate_identity(post_quantum=False).recipient()
        half = good.rpartition(b".")[0]
        cases = {
            "unreadable": [
                b"\x01" + good,  # not sealed
                b"\x01" + age.encrypt(good, [other_device]),
                b"\x01",
                b"\x11" + good,
                b"\x01" + bytes(range(256)) * 2,
                office.seal(b"not a jws"),
                office.seal(good + b"."),
                office.seal(half + b"." + b64url(b"\0" * 63).encode()),
                office.seal(b"\xff" + good),
                office.seal(raw_jws(office.client, json.dumps(claims).encode(), crit=["b64"])),
                office.seal(raw_jws(office.client, json.dumps(claims).encode(), typ="pv1.ack")),
                b"\x01" + b"x" * 140_000,
            ],
            "unknown_key": [office.seal(stranger), office.seal(raw_jws(office.client, b"{}", kid="A" * 43))],
            "bad_signature": [
                office.seal(half + b"." + b64url(b"\0" * 64).encode()),
                office.seal(raw_jws(office.client, json.dumps(claims).encode(), alg="none")),
                office.seal(raw_jws(office.client, json.dumps(claims).encode(), alg="ES256")),
                office.seal(
                    envelope.sign(
                        claims,
                        typ="pv1.command",
                        kid=office.client.kid,
                        alg="EdDSA",
                        sign=lambda data: envelope.raw_signature(office.stranger.private, data),
                    )
                ),
            ],
        }
        for why, raws in cases.items():
            for raw in raws:
                assert await office.commands.receive(raw, moment=office.moment) == ()
            assert office.commands.counters[why] == len(raws), why
        assert office.get(kept.id) is not None
        refused = office.audit_kinds().count("command_refused")
        assert refused == 3  # one of each kind within the minute, however many came
        assert [message.get("code") for message in office.waiting(office.client)] == ["unknown_keys", "forged_message"]

    run(scenario())


def test_any_flipped_bit_of_a_signed_command_leaves_no_effect(office: Office) -> None:
    async def scenario() -> None:
        kept, claims = await delete_of_one(office)
        good = office.client.sign(claims)
        for position in range(len(good)):
            bad = bytearray(good)
            bad[position] ^= 1 << (position % 7)
            assert await office.commands.receive(office.seal(bytes(bad)), moment=office.moment) == (), position
        assert office.get(kept.id) is not None
        assert sum(office.commands.counters.values()) == len(good)
        first = await office.receive(office.client, office.seal(good))
        assert first is not None
        assert first["status"] == "accepted"

    run(scenario())


def test_any_flipped_bit_of_the_seal_leaves_no_effect(office: Office) -> None:
    async def scenario() -> None:
        kept, claims = await delete_of_one(office)
        good = office.seal(office.client.sign(claims))
        for position in range(1, len(good), 7):
            bad = bytearray(good)
            bad[position] ^= 0x10
            assert await office.commands.receive(bytes(bad), moment=office.moment) == (), position
        assert office.get(kept.id) is not None

    run(scenario())


def test_empty_payload_is_nothing(office: Office) -> None:
    assert run(office.commands.receive(b"", moment=office.moment)) == ()
    assert sum(office.commands.counters.values()) == 0


# --- the sender is known: answered with the reason


def without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


DEEP = '{"a":' * 9 + "1" + "}" * 9

MALFORMED: dict[str, Any] = {
    "unknown claim": lambda claims: json.dumps(claims | {"force": True}),
    "claim of another verb": lambda claims: json.dumps(claims | {"form": "zip"}),
    "no exp": lambda claims: json.dumps(without(claims, "exp")),
    "no seq": lambda claims: json.dumps(without(claims, "seq")),
    "no select": lambda claims: json.dumps(without(claims, "select")),
    "seq of zero": lambda claims: json.dumps(claims | {"seq": 0}),
    "seq of a string": lambda claims: json.dumps(claims | {"seq": "9"}),
    "seq of a truth": lambda claims: json.dumps(claims | {"seq": True}),
    "seq beyond 2^53": lambda claims: json.dumps(claims | {"seq": 2**53}),
    "seq of a fraction": lambda claims: json.dumps(claims | {"seq": 7.0}),
    "lifetime of 32 days": lambda claims: json.dumps(claims | {"exp": claims["iat"] + 32 * 86_400}),
    "exp before iat": lambda claims: json.dumps(claims | {"exp": claims["iat"] - 1}),
    "jti in capitals": lambda claims: json.dumps(claims | {"jti": claims["jti"].upper()}),
    "jti with a line feed": lambda claims: json.dumps(claims | {"jti": claims["jti"] + "\n"}),
    "issuer of another key": lambda claims: json.dumps(claims | {"iss": "A" * 43}),
    "audience of a number": lambda claims: json.dumps(claims | {"aud": 5}),
    "selection of two kinds": lambda claims: json.dumps(claims | {"select": {"all": True, "camera": "cam1"}}),
    "empty selection": lambda claims: json.dumps(claims | {"select": {}}),
    "all of false": lambda claims: json.dumps(claims | {"select": {"all": False}}),
    "no ids": lambda claims: json.dumps(claims | {"select": {"ids": []}}),
    "too many ids": lambda claims: json.dumps(claims | {"select": {"ids": [new_id() for _ in range(201)]}}),
    "the same id twice": lambda claims: json.dumps(claims | {"select": {"ids": ["a" * 26, "a" * 26]}}),
    "an interval backwards": lambda claims: json.dumps(
        claims | {"select": {"from": "2026-03-02T00:00:00.000Z", "to": "2026-03-01T00:00:00.000Z"}}
    ),
    "a day that is none": lambda claims: json.dumps(claims | {"select": {"from": "2026-02-30T00:00:00.000Z"}}),
    "a time without zone": lambda claims: json.dumps(claims | {"select": {"from": "2026-02-03T00:00:00.000"}}),
    "an unknown category": lambda claims: json.dumps(claims | {"select": {"category": "secrets"}}),
    "an unknown member of select": lambda claims: json.dumps(claims | {"select": {"all": True, "x": 1}}),
    "a member twice": lambda claims: json.dumps(claims)[:-1] + ',"verb":"inventory"}',
    "a member twice inside": lambda claims: json.dumps(claims).replace('"ids":', '"all":true,"all":true,"ids":'),
    "NaN": lambda claims: json.dumps(claims).replace(str(claims["seq"]), "NaN"),
    "too deep": lambda claims: json.dumps(claims)[:-1] + f',"x":{DEEP}}}',
    "a list": lambda claims: json.dumps([claims]),
    "cut": lambda claims: json.dumps(claims)[:-5],
    "two values": lambda claims: json.dumps(claims) + "{}",
    "half a surrogate": lambda claims: json.dumps(claims)[:-1] + ',"x":"\\ud800"}',
    "not UTF-8": lambda claims: json.dumps(claims).encode() + b"\xff",
    "UTF-16": lambda claims: json.dumps(claims).encode("utf-16"),
    "a byte order mark": lambda claims: b"\xef\xbb\xbf" + json.dumps(claims).encode(),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_command_of_a_known_key_is_refused_with_the_reason(office: Office, case: str) -> None:
    async def scenario() -> None:
        kept, claims = await delete_of_one(office)
        text = MALFORMED[case](claims)
        payload = text if isinstance(text, bytes) else text.encode()
        raw = office.seal(raw_jws(office.client, payload))
        receipt = await office.receive(office.client, raw)
        assert receipt is not None
        assert (receipt["status"], receipt["reason"], receipt["retry"]) == ("refused", "malformed", "after_fix")
        assert office.get(kept.id) is not None
        good = await office.submit(office.client, "delete", select={"ids": [kept.id]})
        assert good["status"] == "done"  # its number was not used up

    run(scenario())


@pytest.mark.parametrize(
    ("change", "reason", "retry"),
    [
        ({"verb": "format"}, "unknown_verb", "after_fix"),
        ({"aud": "cam-02"}, "wrong_audience", "never"),
        ({"iat": START_S - 100, "exp": START_S - 1}, "expired", "after_fix"),
        ({"exp": START_S}, "expired", "after_fix"),
        ({"iat": START_S + 301}, "not_yet_valid", "later"),
    ],
)
def test_refusal_names_its_reason(office: Office, change: dict[str, Any], reason: str, retry: str) -> None:
    async def scenario() -> None:
        kept, claims = await delete_of_one(office, **change)
        receipt = await office.receive(office.client, office.seal(office.client.sign(claims)))
        assert receipt is not None
        assert (receipt["status"], receipt["reason"], receipt["retry"]) == ("refused", reason, retry)
        assert receipt["cmd"] == claims["jti"]
        assert receipt["aud"] == office.client.kid
        assert receipt["iss"] == DEVICE
        assert office.get(kept.id) is not None

    run(scenario())


def test_command_from_the_future_acts_when_its_time_has_come(office: Office) -> None:
    async def scenario() -> None:
        kept, claims = await delete_of_one(office, iat=START_S + 301)
        raw = office.seal(office.client.sign(claims))
        assert await office.receive(office.client, raw)
        office.moment = at(1)
        receipt = await office.receive(office.client, raw)
        assert receipt is not None
        assert receipt["status"] == "accepted"
        await office.commands.resume(office.moment)
        assert office.get(kept.id) is None
        assert [message["status"] for message in office.waiting(office.client)] == ["done"]

    run(scenario())


def test_command_refused_for_good_can_never_act_later(office: Office) -> None:
    async def scenario() -> None:
        kept, claims = await delete_of_one(office, exp=START_S - 1)
        raw = office.seal(office.client.sign(claims))
        refused = await office.receive(office.client, raw)
        office.moment = at(-3600, trusted=False)  # a flat battery: the clock no longer contradicts it
        assert await office.receive(office.client, raw) == refused
        assert office.get(kept.id) is not None

    run(scenario())


# --- once


def test_replay_a_thousand_times_acts_once_and_answers_with_the_same_bytes(office: Office) -> None:
    async def scenario() -> None:
        kept, claims = await delete_of_one(office)
        raw = office.seal(office.client.sign(claims))
        await office.commands.submit(raw, moment=office.moment)
        settled = await office.commands.receive(raw, moment=office.moment)
        kinds = office.audit_kinds()
        for _number in range(1000):
            assert await office.commands.receive(raw, moment=office.moment) == settled
        assert office.audit_kinds() == kinds
        assert len(office.waiting(office.client)) == 1
        assert office.get(kept.id) is None

    run(scenario())


def test_replayed_refusals_fill_nothing(office: Office) -> None:
    async def scenario() -> None:
        _kept, claims = await delete_of_one(office, aud="cam-02")
        raw = office.seal(office.client.sign(claims))
        for _number in range(50):
            assert await office.receive(office.client, raw)
        told = [message.get("code") or message["reason"] for message in office.waiting(office.client)]
        assert sorted(told) == ["key_misused", "wrong_audience"], "one of each, however often it came"
        assert office.audit_kinds().count("command_refused") == 1

    run(scenario())


def test_same_jti_with_other_bytes_is_refused(office: Office) -> None:
    async def scenario() -> None:
        jti = new_id()
        await office.submit(office.client, "inventory", select={"all": True}, jti=jti)
        kept = await office.keep()
        for who in (office.client, office.backend):
            receipt = await office.submit(who, "delete", select={"ids": [kept.id]}, jti=jti)
            assert (receipt["status"], receipt["reason"]) == ("refused", "jti_reused")
        assert office.get(kept.id) is not None

    run(scenario())


def test_same_claims_signed_again_are_the_same_command(office: Office) -> None:
    async def scenario() -> None:
        claims = office.claims(office.backend, "inventory", select={"all": True})
        one, two = office.backend.sign(claims), office.backend.sign(claims)
        assert one != two  # ECDSA is randomised; what is signed is not
        first = await office.receive(office.backend, office.seal(one))
        assert await office.receive(office.backend, office.seal(two)) == first

    run(scenario())


def test_key_that_used_the_last_number_is_told_none_and_its_successor_is_heard(office: Office) -> None:
    """It was told 2^53, which no command may bear and no reader of a receipt has to take."""

    async def scenario() -> None:
        for seq, status in ((LAST_SEQ, "done"), (LAST_SEQ - 1, "done"), (7, "refused")):
            told = await office.submit(office.client, "inventory", select={"all": True}, seq=seq)
            assert told["status"] == status
        assert told["reason"] == "stale_seq"
        assert "next_seq" not in told
        beyond = await office.submit(office.client, "inventory", select={"all": True}, seq=LAST_SEQ + 1)
        assert beyond["reason"] == "malformed"
        successor = party("client", "phone", *envelope.VERBS)
        raw = office.sign_keyset(2, envelope.signing_input_sha256(office.keyset_raw), successor)
        await office.commands.submit(raw, moment=office.moment)
        assert (await office.submit(successor, "inventory", select={"all": True}))["status"] == "done"

    run(scenario())


def test_sequence_numbers_count_once_within_the_window(office: Office) -> None:
    async def scenario() -> None:
        async def ask(seq: int) -> tuple[str, str, int]:
            told = await office.submit(office.client, "inventory", select={"all": True}, seq=seq)
            return told["status"], told.get("reason", ""), told.get("next_seq", 0)

        assert await ask(2000) == ("done", "", 0)
        assert await ask(2000) == ("refused", "seq_reused", 0)
        assert await ask(1500) == ("done", "", 0)
        assert await ask(1500) == ("refused", "seq_reused", 0)
        assert await ask(2000 - 1024) == ("done", "", 0)
        assert await ask(2000 - 1025) == ("refused", "stale_seq", 2001)
        assert await ask(1) == ("refused", "stale_seq", 2001)
        assert await ask(2001) == ("done", "", 0)
        assert await ask(2000 - 1024) == ("refused", "stale_seq", 2002)
        assert await ask(9000) == ("done", "", 0)
        assert await ask(8999) == ("done", "", 0)
        assert await ask(2001) == ("refused", "stale_seq", 9001)
        assert await ask(9000 + 1024) == ("done", "", 0)  # as far ahead as the window reaches: what was used stays so
        assert await ask(9000) == ("refused", "seq_reused", 0)
        assert await ask(9001) == ("done", "", 0)
        issuers = office.index.read_now(office.trust.issuers)
        assert issuers == {office.client.kid: {"highest": 9000 + 1024, "floor": 9000}}

    run(scenario())


def test_windows_of_two_keys_are_apart_and_survive_a_restart(office: Office) -> None:
    async def scenario(seq: int, *, who: Party) -> str:
        told = await office.submit(who, "inventory", select={"all": True}, seq=seq)
        return str(told.get("reason", told["status"]))

    assert run(scenario(5, who=office.client)) == "done"
    assert run(scenario(5, who=office.backend)) == "done"
    office.restart()
    assert run(scenario(5, who=office.client)) == "seq_reused"
    assert run(scenario(4, who=office.client)) == "done"


def test_window_agrees_with_a_plain_set_for_any_order(office: Office) -> None:
    chance = random.Random(7)  # noqa: S311 - seeded on purpose, so that a failure comes again
    used: set[int] = set()
    highest = 0
    for _number in range(3000):
        seq = max(1, highest + chance.choice([1, 1, 2, -1, -3, -500, -1024, -1025, -1100, 40]))
        expected = "used" if seq in used else "unseen"
        if highest - seq > 1024:
            expected = "stale"

        def judge(tx: Tx, seq: int = seq) -> str:
            verdict = office.trust.judge_seq(tx, "k", seq)
            if verdict == "unseen":
                office.trust.use_seq(tx, "k", seq)
            return verdict

        assert office.index.write_now(judge) == expected, (seq, highest)
        used.add(seq)
        highest = max(highest, seq)


def test_same_command_arriving_many_times_at_once_acts_once(office: Office) -> None:
    async def scenario() -> None:
        kept, claims = await delete_of_one(office)
        raw = office.seal(office.client.sign(claims))
        answers = await asyncio.gather(*(office.commands.submit(raw, moment=office.moment) for _number in range(20)))
        assert {office.client.open(answer.receipt)["status"] for answer in answers} == {"done"}
        assert {answer.status for answer in answers} == {"done"}
        assert office.get(kept.id) is None
        kinds = office.audit_kinds()
        assert (kinds.count("command_accepted"), kinds.count("erased"), kinds.count("command_done")) == (1, 1, 1)

    run(scenario())
