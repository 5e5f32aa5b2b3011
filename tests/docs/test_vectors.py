"""The vectors of `docs/vectors/` are read by the agent, by the independent reader of `device_sim`, and by the schemas.

A good one must be taken by everybody that it is meant for; a refused one must be refused for the reason that it names.
"""

import asyncio
import base64
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7, DRAFT202012

from agent import age, envelope
from agent.app.setup import describe
from agent.envelope import KIND, TYP, Descriptor, Key, parse_descriptor
from agent.errors import AgentError, CorruptError, RefusedError
from agent.ids import Ids
from agent.owner import receipt as answers
from agent.uplink.mail import Device, Mail
from device_sim.cloud import jws as second
from device_sim.cloud import wire as second_wire
from tests.commands.office import Office, at
from tests.docs.make_vectors import DEVICE, NOW_S, VECTORS, device_keystore, documents, read_vectors, text

SCHEMAS = VECTORS.parent / "schemas"
KEYS: dict[str, dict[str, Any]] = read_vectors("keys.json")["parties"]
GOOD: list[dict[str, Any]] = read_vectors("messages.json")["vectors"]
REFUSED: list[dict[str, Any]] = read_vectors("refused.json")["vectors"]
KEYSETS = read_vectors("keysets.json")
DESCRIPTORS: list[dict[str, Any]] = read_vectors("descriptors.json")["vectors"]
HASHES = read_vectors("hashes.json")
SIGNED = [vector for vector in GOOD if vector["kind"] != "chunk"]


def name_of(vector: dict[str, Any]) -> str:
    return str(vector["name"]).replace(" ", "-")


def payload_of(vector: dict[str, Any]) -> bytes:
    return base64.b64decode(vector["payload"])


def identity_of(party: str) -> age.Identity:
    return age.parse_identity(KEYS[party]["identity"])


@functools.cache
def judges(schema: str) -> tuple[Validator, Validator]:
    """Return what reads a schema by the draft that it names, and by the one that ``asyncapi.yaml`` says."""
    loaded = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json")}
    stated = {document.pop("$schema") for document in loaded.values()}  # else draft-07 would follow references by it
    assert stated == {jsonschema.Draft202012Validator.META_SCHEMA["$id"]}
    newer: Registry[Any] = Registry().with_resources(
        (name, DRAFT202012.create_resource(document)) for name, document in loaded.items()
    )
    older: Registry[Any] = Registry().with_resources(
        (name, DRAFT7.create_resource(document)) for name, document in loaded.items()
    )
    whole = loaded[f"{schema}.json"]
    return (
        jsonschema.Draft202012Validator(whole, registry=newer),
        jsonschema.Draft7Validator(whole, registry=older),
    )


def faults(schema: str, claims: dict[str, Any]) -> list[str]:
    """Return what a schema has against claims; both drafts must have the same."""
    newer, older = (
        sorted(f"{error.json_path}: {error.message}" for error in judge.iter_errors(claims)) for judge in judges(schema)
    )
    assert newer == older
    return newer


def device_descriptor(party: str = "device") -> Descriptor:
    claims = {name: KEYS[party][name] for name in ("role", "name", "jwk", "alg", "recipient")}
    return Descriptor(v=1, **claims)


def key_of(role: str) -> Key:
    chain = envelope.parse_keyset(KEYSETS["chain"][0]["jws"].encode(), root_jwk=KEYS["owner"]["jwk"], current=None)
    return next(key for key in chain.keys if key.role == role)


# --- the files


def test_vectors_are_made_again_byte_for_byte() -> None:
    made = documents(read_vectors)
    assert {path.name for path in VECTORS.glob("*.json")} == set(made)
    for name, document in made.items():
        assert (VECTORS / name).read_text(encoding="utf-8") == text(document), "python -m tests.docs.make_vectors"


def test_every_kind_has_a_good_vector_and_every_reason_of_an_opening_a_refused_one() -> None:
    assert {vector["kind"] for vector in GOOD} == set(KIND)
    told = {vector["reason"] for vector in REFUSED}
    assert told >= {"malformed", "unknown_verb", "wrong_audience", "expired", "not_yet_valid", "jti_reused"}
    assert told >= {"seq_reused", "stale_seq", "verb_not_allowed", "nothing_waiting", "unknown_key", "bad_signature"}


def test_keys_are_marked_as_public_test_keys() -> None:
    for path in VECTORS.glob("*.json"):
        assert "PUBLIC TEST KEYS" in path.read_text(encoding="utf-8")[:200]


# --- good ones


@pytest.mark.parametrize("vector", SIGNED, ids=name_of)
def test_good_message_opens_verifies_and_fits_its_schema(vector: dict[str, Any]) -> None:
    payload = payload_of(vector)
    assert payload[0] == KIND[vector["kind"]]
    body = payload[1:] if vector["reader"] is None else age.decrypt(payload[1:], [identity_of(vector["reader"])])
    assert body.decode("ascii") == vector["jws"]
    assert envelope.signing_input_sha256(body) == vector["signing_input_sha256"]
    signer = KEYS[vector["signer"]]
    unverified = envelope.parse(body, typ=TYP[vector["kind"]])
    claims = envelope.verify(unverified, jwk=signer["jwk"], alg=signer["alg"])
    assert claims == vector["claims"]
    assert faults(vector["kind"], claims) == []


@pytest.mark.parametrize("vector", SIGNED, ids=name_of)
def test_good_message_without_a_claim_fits_its_schema_by_both_drafts_or_by_none(vector: dict[str, Any]) -> None:
    for name in vector["claims"]:
        faults(vector["kind"], {other: value for other, value in vector["claims"].items() if other != name})
    assert faults(vector["kind"], vector["claims"] | {"iat": "now"})


def test_export_that_is_put_somewhere_names_address_party_and_recipients() -> None:
    whole = next(vector["claims"] for vector in GOOD if "put" in vector["claims"])
    for name in ("put", "party", "to"):
        claims = {other: value for other, value in whole.items() if other != name}
        assert faults("command", claims)
        with pytest.raises((CorruptError, RefusedError)):
            envelope.parse_command(claims)


@pytest.mark.parametrize("vector", SIGNED, ids=name_of)
def test_good_message_verifies_by_the_independent_reader(vector: dict[str, Any]) -> None:
    parsed = second.parse(vector["jws"].encode("ascii"))
    key = second.PublicKey.from_jwk(KEYS[vector["signer"]]["jwk"])
    assert second.verify(parsed, key, typ=f"pv1.{vector['kind']}") == vector["claims"]
    assert parsed.signing_input_sha256 == vector["signing_input_sha256"]


@pytest.mark.parametrize("vector", [v for v in GOOD if v["kind"] == "command"], ids=name_of)
def test_good_command_is_read_as_a_command(vector: dict[str, Any]) -> None:
    command = envelope.parse_command(vector["claims"])
    assert (command.jti, command.verb) == (vector["claims"]["jti"], vector["claims"]["verb"])


def mail(folder: Path) -> Mail:
    return Mail(Device.of(device_keystore(folder / "keystore"), name=DEVICE), key_of("store"))


@pytest.mark.parametrize("vector", [v for v in GOOD if v["channel"] == "upack"], ids=name_of)
def test_good_answer_of_a_store_is_read_as_its_kind(vector: dict[str, Any], tmp_path: Path) -> None:
    read = mail(tmp_path).read(payload_of(vector))
    assert type(read).__name__.lower() == vector["kind"].replace("-", "")


@pytest.mark.parametrize("vector", [v for v in GOOD if v["kind"] == "receipt"], ids=name_of)
def test_good_receipt_is_read_by_the_owners_tool(vector: dict[str, Any]) -> None:
    jws = answers.jws_of(payload_of(vector), kind="receipt", identities=[identity_of(vector["reader"])])
    receipt = answers.read_receipt(jws, device=device_descriptor(), kid=KEYS[vector["reader"]]["kid"])
    assert receipt.cmd == vector["claims"]["cmd"]


@pytest.mark.parametrize("vector", [v for v in GOOD if v["kind"] == "state"], ids=name_of)
def test_good_state_is_read_by_the_owners_tool(vector: dict[str, Any]) -> None:
    state = answers.read_state(payload_of(vector), device=device_descriptor(vector["signer"]))
    assert state.session == vector["claims"]["session"]


def test_good_chunk_is_an_offset_and_bytes() -> None:
    vector = next(vector for vector in GOOD if vector["kind"] == "chunk")
    assert payload_of(vector) == second_wire.chunk(vector["offset"], base64.b64decode(vector["data"]))


# --- refused ones


def test_schemas_refuse_of_the_refused_messages_those_whose_claims_have_another_form() -> None:
    told = set()
    for vector in REFUSED:
        try:
            claims = json.loads(envelope.parse(vector["jws"].encode(), typ=TYP[vector["kind"]]).unverified_payload)
        except (CorruptError, UnicodeDecodeError):
            continue
        if faults(vector["kind"], claims):
            assert vector["reason"] in {"malformed", "unknown_verb"}
            told.add(vector["name"])
    assert told == {
        "claim that nobody named",
        "no exp",
        "ids and all at once",
        "seq 0",
        "verb of the future",
        "NaN",
        "nested too deep",
        "an array instead of an object",
        "upload-ack with a negative offset",
        "upload-ack with a claim that nobody named",
    }


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A device with the vectors' keys, owner and key set, at the vectors' time."""
    tmp_path.joinpath("state").mkdir(mode=0o700)
    folder = tmp_path / "state"
    device_keystore(folder / "keystore")
    made = Office.device_only(folder, owner_recipient=KEYS["owner"]["recipient"], step=lambda _step: None)
    assert at() == made.moment
    assert made.moment.agent_ms == NOW_S * 1000
    owner = parse_descriptor(next(v for v in DESCRIPTORS if v["name"] == "owner Ada")["document"].encode())
    made.index.write_now(lambda tx: made.trust.install_owner(tx, owner, moment=made.moment))
    first = KEYSETS["chain"][0]["jws"].encode()
    made.index.write_now(lambda tx: made.trust.accept_key_set(tx, first, moment=made.moment))
    yield made
    made.close()


@pytest.mark.parametrize("vector", [v for v in REFUSED if v["channel"] == "cmd"], ids=name_of)
def test_refused_command_is_refused_for_its_reason(vector: dict[str, Any], office: Office) -> None:
    highest = vector.get("highest_seq")
    if highest is not None:
        office.index.write_now(lambda tx: office.trust.use_seq(tx, KEYS["client"]["kid"], highest))
    for name in vector.get("after", ()):
        before = next(good for good in GOOD if good["name"] == name)
        (taken,) = asyncio.run(office.commands.receive(payload_of(before), moment=office.moment))
        assert receipt_of(taken)["status"] == "accepted"
    told = asyncio.run(office.commands.receive(payload_of(vector), moment=office.moment))
    if vector["reason"] in {"unreadable", "unknown_key", "bad_signature"}:
        assert told == ()
        counted = {why: count for why, count in office.commands.counters.items() if count}
        assert counted == {vector["reason"]: 1}
        return
    claims = receipt_of(told[0])
    assert (claims["status"], claims["reason"]) == ("refused", vector["reason"])
    assert claims.get("next_seq") == vector.get("next_seq")
    assert faults("receipt", claims) == []


def receipt_of(payload: bytes) -> dict[str, Any]:
    """Open a receipt with whichever identity it is sealed to, and verify it."""
    for party in ("client", "backend"):
        try:
            jws = age.decrypt(payload[1:], [identity_of(party)])
        except CorruptError:
            continue
        unverified = envelope.parse(jws, typ="pv1.receipt")
        return envelope.verify(unverified, jwk=KEYS["device"]["jwk"], alg="EdDSA")
    raise AssertionError("sealed to nobody of the vectors")


@pytest.mark.parametrize("vector", [v for v in REFUSED if v["channel"] == "upack"], ids=name_of)
def test_refused_answer_of_a_store_is_refused_for_its_reason(vector: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        mail(tmp_path).read(payload_of(vector))
    assert caught.value.reason == vector["reason"]


# --- key sets, descriptors, hashes


def test_key_set_chain_is_accepted_in_order() -> None:
    current = None
    for entry in KEYSETS["chain"]:
        current = envelope.parse_keyset(entry["jws"].encode(), root_jwk=KEYS["owner"]["jwk"], current=current)
        assert (current.version, current.sha256) == (entry["version"], entry["sha256"])
        unverified = envelope.parse(entry["jws"].encode(), typ="pv1.keyset")
        assert faults("keyset", envelope.verify(unverified, jwk=KEYS["owner"]["jwk"], alg="ES256")) == []


@pytest.mark.parametrize("vector", KEYSETS["refused_after_version_1"], ids=name_of)
def test_key_set_that_does_not_follow_is_refused_for_its_reason(vector: dict[str, Any]) -> None:
    root = KEYS["owner"]["jwk"]
    first = envelope.parse_keyset(KEYSETS["chain"][0]["jws"].encode(), root_jwk=root, current=None)
    with pytest.raises(RefusedError) as caught:
        envelope.parse_keyset(vector["jws"].encode(), root_jwk=root, current=first)
    assert caught.value.reason == vector["reason"]


@pytest.mark.parametrize("vector", DESCRIPTORS, ids=name_of)
def test_descriptor_is_read_or_refused(vector: dict[str, Any]) -> None:
    raw = vector["document"].encode()
    if not vector["valid"]:
        with pytest.raises(CorruptError):
            parse_descriptor(raw)
        return
    descriptor = parse_descriptor(raw)
    assert descriptor.fingerprint == vector["fingerprint"]
    shown = raw if raw.startswith(b"{") else envelope.parse(raw, typ="pv1.descriptor").unverified_payload
    claims = json.loads(shown)
    assert faults("descriptor", claims) == []


def test_device_descriptor_is_what_init_writes(tmp_path: Path) -> None:
    written = describe(device_keystore(tmp_path / "keystore"), device=DEVICE).decode()
    assert written == next(v for v in DESCRIPTORS if v["name"] == "device, EdDSA")["document"]


def test_hashes_are_the_agents(tmp_path: Path) -> None:
    for name in ("selection", "empty_selection"):
        assert Ids.of(HASHES[name]["ids"]).selection_hash() == HASHES[name]["hash"]
    assert envelope.signing_input_sha256(HASHES["manifest"]["begin_jws"].encode()) == HASHES["manifest"]["hash"]
    for entry in HASHES["key_ids"]:
        assert envelope.thumbprint(entry["jwk"]) == second.thumbprint(entry["jwk"]) == entry["kid"]
    for entry in HASHES["fingerprints"]:
        assert envelope.fingerprint(entry["kid"], recipient=entry["recipient"]) == entry["fingerprint"]
    assert device_keystore(tmp_path / "keystore").kid == KEYS["device"]["kid"]


def test_header_and_payload_together_are_a_whole_age_file() -> None:
    told = HASHES["age_file"]
    whole = base64.b64decode(told["header"]) + base64.b64decode(told["payload"])
    plain = age.decrypt(whole, [identity_of(told["reader"])])
    assert hashlib.sha256(plain).hexdigest() == told["plain_sha256"]
    begin = next(vector for vector in GOOD if vector["kind"] == "begin")["claims"]
    assert begin["payload"]["sha256"] == hashlib.sha256(base64.b64decode(told["payload"])).hexdigest()
    assert begin["header"]["sha256"] == hashlib.sha256(base64.b64decode(told["header"])).hexdigest()


def test_wrong_identity_opens_no_message() -> None:
    vector = next(vector for vector in GOOD if vector["reader"] == "device")
    with pytest.raises(AgentError):
        age.decrypt(payload_of(vector)[1:], [identity_of("stranger")])
