"""Writes `docs/vectors/`: `python -m tests.docs.make_vectors`.

All keys come from `SEED`, so every signature is the same at every run (ES256 with deterministic nonces, RFC 6979).
Sealed bytes cannot be: an age file has fresh randomness. Those that stand there are kept as long as they open to the
message that they should; a run that changes nothing writes nothing new.
"""

import base64
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from agent import age, envelope
from agent.age.format import Stanza
from agent.age.stream import encrypt_bytes
from agent.age.x25519 import X25519Recipient
from agent.envelope import KIND, TYP, Alg, Kind, PrivateKey, b64url, policy_claims, public_jwk, thumbprint
from agent.ids import Ids
from agent.keystore import Keystore
from tests.docs.ble_vectors import conversation

VECTORS: Final = Path(__file__).resolve().parents[2] / "docs" / "vectors"
SEED: Final = "privacy agent test vectors, version 1"
WARNING: Final = "PUBLIC TEST KEYS: everybody has them. Never use one of them for anything but tests."
DEVICE: Final = "cam-01"
NOW_S: Final = 1_800_000_000
"""The agent's trusted clock when it judges these messages."""

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_EPOCH: Final = "store-incarnation-1"

Claims = dict[str, Any]


def seeded(label: str) -> Callable[[int], bytes]:
    """Return a source of bytes that gives the same ones for the same label."""
    position = 0

    def read(count: int) -> bytes:
        nonlocal position
        position += count
        return hashlib.shake_256(f"{SEED}\n{label}".encode()).digest(position)[position - count :]

    return read


def an_id(label: str) -> str:
    """Return a 26-character id made from a label."""
    digest = hashlib.sha256(f"{SEED}\nid {label}".encode()).digest()[:16]
    return base64.b32encode(digest).decode("ascii").rstrip("=").lower()


def a_hash(label: str) -> str:
    """Return 64 hex digits made from a label."""
    return hashlib.sha256(f"{SEED}\nhash {label}".encode()).hexdigest()


def device_keystore(path: Path, *, signing: Alg = "EdDSA") -> Keystore:
    """Make the device's keystore, always with the same keys."""
    return Keystore.create(path, random=seeded(f"device {signing}"), signing=signing)


class Party:
    """Somebody with a signing key and an age identity."""

    def __init__(self, role: str, name: str, private: PrivateKey, identity: age.Identity, *verbs: str) -> None:
        self.role = role
        self.name = name
        self.private = private
        self.identity = identity
        self.verbs = verbs
        self.jwk = public_jwk(private)
        self.kid = thumbprint(self.jwk)
        self.alg: Alg = "EdDSA" if isinstance(private, Ed25519PrivateKey) else "ES256"
        self.recipient = identity.recipient().to_text()

    def raw_signature(self, data: bytes) -> bytes:
        """Sign as JWS wants it, the same bytes every time."""
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(data)
        r, s = decode_dss_signature(self.private.sign(data, ECDSA(SHA256(), deterministic_signing=True)))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def sign(self, claims: Claims, *, typ: str, kid: str = "", alg: str = "") -> bytes:
        """Return a JWS; ``kid`` and ``alg`` can be made to lie."""
        stated = alg or self.alg
        return envelope.sign(claims, typ=typ, kid=kid or self.kid, alg=stated, sign=self.raw_signature)  # type: ignore[arg-type] # a lie on purpose

    def key(self, **more: Any) -> Claims:  # noqa: ANN401 - claims are of any JSON type
        """Return the party as the key set names it."""
        entry = {"jwk": self.jwk, "alg": self.alg, "role": self.role, "name": self.name, "verbs": list(self.verbs)}
        return entry | {"recipient": self.recipient} | more

    def descriptor(self) -> Claims:
        """Return the claims of its descriptor."""
        who = {"v": 1, "role": self.role, "name": self.name, "jwk": self.jwk, "alg": self.alg}
        return who | {"recipient": self.recipient}

    def shown(self) -> Claims:
        """Return what `keys.json` tells of it, private keys included."""
        if isinstance(self.private, Ed25519PrivateKey):
            secret = b64url(self.private.private_bytes_raw())
        else:
            secret = b64url(self.private.private_numbers().private_value.to_bytes(32, "big"))
        return {
            "role": self.role,
            "name": self.name,
            "alg": self.alg,
            "kid": self.kid,
            "jwk": self.jwk,
            "private_jwk": self.jwk | {"d": secret},
            "recipient": self.recipient,
            "identity": self.identity.to_text(),
            "fingerprint": envelope.fingerprint(self.kid, recipient=self.recipient),
        }


def _party(role: str, name: str, *verbs: str, curve: bool = False, post_quantum: bool = False) -> Party:
    random = seeded(f"party {name}")
    private: PrivateKey = Ed25519PrivateKey.from_private_bytes(random(32))
    if curve:
        private = derive_private_key(int.from_bytes(random(32)) % (_P256_ORDER - 1) + 1, SECP256R1())
    return Party(role, name, private, age.generate_identity(post_quantum=post_quantum, random=random), *verbs)


def _device(folder: Path, alg: Alg) -> Party:
    keystore = device_keystore(folder / f"keystore {alg}", signing=alg)
    key = keystore._key
    assert isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey)
    return Party("device", DEVICE, key, keystore.identities()[0])


class Cast:
    """Everybody in the vectors."""

    def __init__(self, folder: Path) -> None:
        self.owner = _party("owner", "Ada", curve=True, post_quantum=True)
        self.device = _device(folder, "EdDSA")
        self.device_es256 = _device(folder, "ES256")
        self.client = _party("client", "phone", *envelope.VERBS)
        self.backend = _party("backend", "cloud", *envelope.BACKEND_VERBS, "hold", "release", curve=True)
        self.store = _party("store", "bucket", curve=True, post_quantum=True)
        self.clock = _party("time", "clock", "time")
        self.stranger = _party("client", "stranger", *envelope.VERBS)

    def parties(self) -> dict[str, Party]:
        """Return all by the names that the files use."""
        return dict(vars(self))


class Sealed:
    """Seals messages, or finds the bytes of an earlier run that open to the same."""

    def __init__(self, before: Claims) -> None:
        self._before = {entry["name"]: entry.get("payload", "") for entry in before.get("vectors", ())}

    def payload(self, name: str, kind: Kind, jws: bytes, reader: Party | None) -> str:
        """Return the MQTT payload in base64: kind byte, then the JWS, sealed where there is a reader."""
        if reader is None:
            return _b64(envelope.frame(kind, jws))
        kept = base64.b64decode(self._before.get(name, ""))
        try:
            if kept[:1] == bytes((KIND[kind],)) and age.decrypt(kept[1:], [reader.identity]) == jws:
                return _b64(kept)
        except Exception:  # noqa: BLE001, S110 - whatever is wrong with the old bytes, new ones are made
            pass
        return _b64(envelope.frame(kind, age.encrypt(jws, [reader.identity.recipient()])))


def _b64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode("ascii")


# --- what is said


def _command(who: Party, verb: str, *, seq: int, name: str, **own: Any) -> Claims:  # noqa: ANN401 - any JSON
    return {
        "iss": who.kid,
        "aud": DEVICE,
        "iat": NOW_S - 10,
        "exp": NOW_S + 86_400,
        "jti": an_id(name),
        "seq": seq,
        "verb": verb,
    } | own


def _good_commands(cast: Cast) -> list[tuple[str, Party, Claims]]:
    objects = sorted(an_id(f"object {number}") for number in range(3))
    friend = cast.stranger.recipient
    return [
        ("delete by ids", cast.client, {"verb": "delete", "select": {"ids": objects}}),
        (
            "delete by camera, category and time",
            cast.client,
            {
                "verb": "delete",
                "select": {
                    "camera": "k3x9",
                    "category": "recording",
                    "from": "2026-03-01T10:15:00.000Z",
                    "to": "2026-03-01T10:30:00.000Z",
                },
            },
        ),
        ("delete all", cast.client, {"verb": "delete", "select": {"all": True}}),
        ("delete by a backend, ES256", cast.backend, {"verb": "delete", "select": {"ids": objects[:1]}}),
        (
            "export to another recipient",
            cast.client,
            {"verb": "export", "select": {"category": "photo"}, "form": "zip", "to": [friend]},
        ),
        (
            "export put at a third party's address",
            cast.client,
            {
                "verb": "export",
                "select": {"category": "photo"},
                "form": "zip",
                "to": [friend],
                "put": "https://inbox.example/claims/42/",
                "party": "Insurer",
            },
        ),
        ("export by a backend", cast.backend, {"verb": "export", "select": {"ids": objects}, "form": "objects"}),
        (
            "inventory after another command",
            cast.client,
            {"verb": "inventory", "select": {"all": True}, "limit": 50, "after": an_id("delete by ids")},
        ),
        (
            "approve",
            cast.client,
            {"verb": "approve", "command": an_id("waiting"), "selection": Ids.of(objects).selection_hash()},
        ),
        ("consent", cast.client, {"verb": "consent", "purpose": "analytics", "decision": "given", "category": "photo"}),
        ("consent refused", cast.client, {"verb": "consent", "purpose": "marketing", "decision": "refused"}),
        ("withdraw", cast.client, {"verb": "withdraw", "purpose": "analytics"}),
        ("object", cast.client, {"verb": "object", "purpose": "improvement", "category": "usage-log"}),
        ("do not track", cast.client, {"verb": "object", "do_not_track": True}),
        ("consents", cast.client, {"verb": "consents", "limit": 50}),
        ("time", cast.clock, {"verb": "time", "now": NOW_S}),
        ("end of the service", cast.client, {"verb": "end-service", "ends": NOW_S + 30 * 86_400}),
        ("going on without the service", cast.client, {"verb": "end-service", "resume": True}),
        ("erase all", cast.client, {"verb": "erase-all"}),
        (
            "rectify a camera",
            cast.client,
            {"verb": "rectify", "camera": "k3x9", "set": {"name": "Back door", "location": "Yard"}},
        ),
        ("requests", cast.client, {"verb": "requests"}),
        ("rectify an object", cast.client, {"verb": "rectify", "object": objects[0], "set": {"name": "parcel.mp4"}}),
        ("policy", cast.client, {"verb": "policy", "policy": _signed_policy(cast.client, revision=7)}),
        (
            "restrict a camera",
            cast.client,
            {"verb": "restrict", "select": {"camera": "k3x9", "from": "2026-03-01T10:15:00.000Z"}, "ground": "claims"},
        ),
        ("unrestrict", cast.client, {"verb": "unrestrict", "restriction": an_id("restrict a camera")}),
        (
            "hold by a backend",
            cast.backend,
            {
                "verb": "hold",
                "select": {"ids": objects[:1]},
                "reason": "claim 7/26",
                "until": "2027-03-01T00:00:00.000Z",
            },
        ),
        ("release", cast.backend, {"verb": "release", "hold": an_id("hold by a backend")}),
    ]


def _signed_policy(who: Party, *, revision: int) -> str:
    """Return a document that the device can obey, signed by itself."""
    text = f'version = 1\n[recipients]\nowner = ["{who.recipient}"]\n'
    claims = policy_claims(text, kid=who.kid, revision=revision, iat=NOW_S)
    return who.sign(claims, typ="pv1.policy").decode("ascii")


def _upload(cast: Cast) -> dict[str, Any]:
    plain = hashlib.shake_256(b"a recording").digest(70_000)
    file_key = seeded("file key")(16)
    payload = encrypt_bytes(file_key, plain, nonce=seeded("nonce")(16))
    header = age.wrap_header(file_key, [_FixedX25519(cast.client)])
    return {
        "upload": an_id("upload"),
        "object": an_id("object 0"),
        "payload": {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()},
        "header": {"bytes": len(header), "sha256": hashlib.sha256(header).hexdigest()},
        "header_bytes": header,
        "payload_bytes": payload,
        "plain_sha256": hashlib.sha256(plain).hexdigest(),
    }


class _FixedX25519:
    """A recipient whose stanza is the same every time: its ephemeral key comes from the seed."""

    def __init__(self, reader: Party) -> None:
        recipient = reader.identity.recipient()
        assert isinstance(recipient, X25519Recipient)
        self._recipient = recipient
        self.label = recipient.label

    def wrap(self, file_key: bytes) -> Stanza:
        return self._recipient.wrap(file_key, random=seeded("ephemeral"))


def messages(cast: Cast, before: Claims) -> list[Claims]:
    """Return one good message or more of every kind."""
    sealed = Sealed(before)
    found: list[Claims] = []

    def say(name: str, kind: Kind, signer: Party, claims: Claims, *, channel: str, reader: Party | None) -> str:
        jws = signer.sign(claims, typ=TYP[kind])
        who = {key: party for party, key in ((party, key) for key, party in cast.parties().items())}
        found.append(
            {
                "name": name,
                "kind": kind,
                "channel": channel,
                "signer": next(key for key, party in who.items() if party is signer),
                "reader": next((key for key, party in who.items() if party is reader), None),
                "claims": claims,
                "jws": jws.decode("ascii"),
                "signing_input_sha256": envelope.signing_input_sha256(jws),
                "payload": sealed.payload(name, kind, jws, reader),
            }
        )
        return envelope.signing_input_sha256(jws)

    seqs: dict[str, int] = {}
    for name, who, own in _good_commands(cast):
        seqs[who.name] = seqs.get(who.name, 0) + 1
        claims = _command(who, own.pop("verb"), seq=seqs[who.name], name=name, **own)
        say(name, "command", who, claims, channel="cmd", reader=cast.device)

    _receipts(cast, say)
    _uploads(cast, say, found)
    base = {"iss": DEVICE, "iat": NOW_S}
    limits = {"publish_bytes": 131_072, "window": 1024, "select_ids": 200, "outcomes": 200}
    state = base | {
        "online": True,
        "session": 7,
        "versions": ["pv1"],
        "verbs": list(envelope.VERBS),
        "limits": limits,
        "clock": "trusted",
        "issuers": {cast.client.kid: {"highest": 1500, "floor": 476}},
        "uploads": {"waiting": 2, "bytes": 123_456},
    }
    say("state", "state", cast.device, state, channel="state", reader=None)
    say("state signed with ES256", "state", cast.device_es256, state | {"online": False}, channel="state", reader=None)
    alert = base | {
        "aud": cast.client.kid,
        "jti": an_id("alert"),
        "code": "disk_full",
        "since": "2027-01-15T07:59:00.000Z",
        "count": 3,
        "what": "There is no room for new recordings.",
        "effect": "New recordings are refused and stay with their source.",
        "next": "Free space, or delete.",
    }
    say("alert", "alert", cast.device, alert, channel="alert", reader=cast.client)
    return found


def _receipts(cast: Cast, say: Callable[..., str]) -> None:
    objects = sorted(an_id(f"object {number}") for number in range(3))
    done = {
        "iss": DEVICE,
        "aud": cast.client.kid,
        "iat": NOW_S + 1,
        "jti": an_id("receipt"),
        "cmd": an_id("delete by ids"),
        "verb": "delete",
        "status": "done",
        "seq": 1,
        "selection": {"count": len(objects), "hash": Ids.of(objects).selection_hash()},
        "outcomes": [
            {"id": objects[0], "result": "deleted"},
            {"id": objects[1], "result": "deleted", "remarks": ["cloud_confirmed"], "stated_by": cast.store.kid},
            {"id": objects[2], "result": "already_gone"},
        ],
        "audit_head": {"seq": 42, "hash": a_hash("audit head")},
        "protection": "software",
    }
    say("receipt of a delete", "receipt", cast.device, done, channel=f"rcpt/{cast.client.kid}", reader=cast.client)
    refused = {
        "iss": DEVICE,
        "aud": cast.backend.kid,
        "iat": NOW_S + 2,
        "jti": an_id("refusal"),
        "cmd": an_id("delete by a backend, ES256"),
        "verb": "delete",
        "status": "refused",
        "reason": "stale_seq",
        "retry": "after_fix",
        "seq": 1,
        "next_seq": 2001,
        "audit_head": {"seq": 43, "hash": a_hash("audit head 2")},
        "protection": "software",
    }
    say(
        "receipt of a refusal", "receipt", cast.device, refused, channel=f"rcpt/{cast.backend.kid}", reader=cast.backend
    )
    tightened = done | {
        "iat": NOW_S + 2,
        "jti": an_id("receipt of a policy"),
        "cmd": an_id("policy"),
        "verb": "policy",
        "seq": 14,
        "selection": {"count": 0, "hash": a_hash("policy document")},
        "outcomes": [{"id": objects[0], "result": "held"}, {"id": objects[1], "result": "restricted"}],
    }
    told = "receipt of a policy that tightens, with what a hold and a restriction keep"
    say(told, "receipt", cast.device, tightened, channel=f"rcpt/{cast.client.kid}", reader=cast.client)
    held = {
        "id": objects[0],
        "camera": an_id("camera"),
        "camera_label": "Front door",
        "category": "recording",
        "name": "clip.mp4",
        "captured_from": "2027-01-15T07:58:00.000Z",
        "captured_to": "2027-01-15T07:58:30.000Z",
        "taken_in": "2027-01-15T07:59:00.000Z",
        "bytes": 123_456,
        "state": "uploaded",
        "purposes": ["security"],
        "recipients": [cast.client.recipient],
        "rule": "category.recording.keep.age",
        "until": "2027-01-29T07:59:00.000Z",
        "copies": [
            {"where": "this device", "state": "uploaded"},
            {"where": "store, region eu", "state": "stored", "bytes": 123_456},
            {"where": f"export {an_id('export')}", "state": "sealed", "until": "2027-01-22T08:00:00.000Z"},
        ],
        "camera_location": "At the gate",
    }
    listed = done | {
        "iat": NOW_S + 2,
        "jti": an_id("receipt of an inventory"),
        "cmd": an_id("inventory"),
        "verb": "inventory",
        "seq": 5,
        "outcomes": [{"id": objects[0], "result": "listed", "object": held}],
    }
    del listed["selection"]
    told = "receipt of an inventory, with where the copies are"
    say(told, "receipt", cast.device, listed, channel=f"rcpt/{cast.client.kid}", reader=cast.client)
    acks = {"iss": cast.client.kid, "aud": DEVICE, "iat": NOW_S + 3, "acks": [an_id("receipt"), an_id("alert")]}
    say("ack", "ack", cast.client, acks, channel="cmd", reader=None)


def _uploads(cast: Cast, say: Callable[..., str], found: list[Claims]) -> None:
    upload = _upload(cast)
    parts = {name: upload[name] for name in ("payload", "header")}
    ours = {"iss": DEVICE, "aud": cast.store.kid, "iat": NOW_S}
    theirs = {"iss": cast.store.kid, "aud": DEVICE, "iat": NOW_S + 1}
    begin = ours | {
        "upload": upload["upload"],
        "object": upload["object"],
        "payload": upload["payload"],
        "header": upload["header"] | {"data": b64url(upload["header_bytes"])},
        "regions": ["eu"],
    }
    channel = f"up/{upload['upload']}"
    manifest = say("begin", "begin", cast.device, begin, channel=channel, reader=cast.store)
    of_upload = {"upload": upload["upload"], "manifest": manifest}
    item = of_upload | {"object": upload["object"]}
    place = {"region": "eu", "epoch": _EPOCH}
    offset, data = 1024, upload["payload_bytes"][1024:1088]
    packet = envelope.frame_chunk(offset, len(data))
    packet[envelope.CHUNK_HEAD_BYTES :] = data
    found.append(
        {
            "name": "chunk",
            "kind": "chunk",
            "channel": channel,
            "signer": None,
            "reader": None,
            "offset": offset,
            "data": _b64(data),
            "payload": _b64(packet),
        }
    )
    resync, erase, rectify = an_id("resync"), an_id("erase"), an_id("rectify")
    correction = {
        "about": "camera",
        "number": 2,
        "data": b64url(b"age-encryption.org/v1 and so on: the store opens it not"),
    }
    ends = [
        ("end", "end", ours | of_upload, channel),
        ("abort", "abort", ours | of_upload | {"jti": an_id("abort")}, channel),
        ("erase", "erase", ours | {"jti": erase, "items": [item]}, "up/erase"),
        ("rectify", "rectify", ours | {"jti": rectify, "items": [item]} | correction, "up/rectify"),
        ("resync", "resync", ours | {"jti": resync, "stored": [item]}, "up/resync"),
    ]
    for name, kind, claims, topic in ends:
        say(name, kind, cast.device, claims, channel=topic, reader=cast.store)
    gone = of_upload | {"header": "erased", "payload": "absent"}
    answers = [
        ("go", "go", theirs | of_upload | place | {"offset": 0}),
        ("go that answers a resync", "go", theirs | of_upload | place | {"offset": 0, "re": resync}),
        ("stored", "stored", theirs | item | parts | place),
        ("erased", "erased", theirs | {"re": erase, "items": [gone]}),
        ("rectified", "rectified", theirs | {"re": rectify, "items": [of_upload | {"result": "kept"}]}),
        ("failed", "failed", theirs | of_upload | {"reason": "hash_mismatch"}),
    ]
    for name, kind, claims in answers:
        say(name, kind, cast.store, claims, channel="upack", reader=cast.device)
    ack = theirs | of_upload | {"offset": 2048}
    say("upload-ack", "upload-ack", cast.store, ack, channel="upack", reader=None)


# --- what is refused


def refused(cast: Cast, before: Claims) -> list[Claims]:
    """Return messages that the agent must refuse, each with what comes of it."""
    sealed = Sealed(before)
    found: list[Claims] = []
    select = {"ids": [an_id("object 0")]}

    def say(name: str, reason: str, jws: bytes, *, kind: Kind = "command", reader: Party | None, **more: Any) -> None:  # noqa: ANN401 - any JSON
        channel = "upack" if kind in envelope.CHANNEL_KINDS["upack"] else "cmd"
        entry = {"name": name, "kind": kind, "channel": channel, "reason": reason} | more
        found.append(entry | {"jws": _text(jws), "payload": sealed.payload(name, kind, jws, reader)})

    def command(name: str, reason: str, who: Party = cast.client, verb: str = "delete", **changes: Any) -> None:  # noqa: ANN401 - any JSON
        claims = _command(who, verb, seq=100, name=name, select=select) | changes
        claims = {key: value for key, value in claims.items() if value is not None}
        say(name, reason, who.sign(claims, typ="pv1.command"), reader=cast.device)

    command("claim that nobody named", "malformed", please=True)
    command("no exp", "malformed", exp=None)
    command("exp more than 31 days after iat", "malformed", exp=NOW_S - 10 + 31 * 86_400 + 1)
    command("ids and all at once", "malformed", select=select | {"all": True})
    command("the same id twice", "malformed", select={"ids": select["ids"] * 2})
    command("seq 0", "malformed", seq=0)
    command("issuer that is not the signer", "malformed", iss=cast.backend.kid)
    command("verb of the future", "unknown_verb", verb="dance", select=None)
    command("another device", "wrong_audience", aud="cam-02")
    command("expired", "expired", iat=NOW_S - 7200, exp=NOW_S - 3600)
    command("from the future", "not_yet_valid", iat=NOW_S + 301, exp=NOW_S + 3600)
    approval: Claims = {"select": None, "command": an_id("waiting"), "selection": a_hash("selection")}
    command("approve by a backend", "verb_not_allowed", who=cast.backend, verb="approve", **approval)
    command("approve of nothing", "nothing_waiting", verb="approve", **approval)
    command("signed by a stranger", "unknown_key", who=cast.stranger)

    claims = _command(cast.client, "delete", seq=101, name="raw", select=select)
    good = cast.client.sign(claims, typ="pv1.command")
    for name, text in _odd_json(claims).items():
        say(name, "malformed", _signed_text(cast.client, text), reader=cast.device)
    head, body, signature = good.split(b".")
    flipped = b".".join((head, body, signature[:-4] + (b"AAAA" if signature[-4:] != b"AAAA" else b"BBBB")))
    lied = cast.stranger.sign(claims, typ="pv1.command", kid=cast.client.kid)
    other_alg = cast.backend.sign(claims, typ="pv1.command", kid=cast.client.kid)
    say("signature with other last bytes", "bad_signature", flipped, reader=cast.device)
    say("a stranger under the client's kid", "bad_signature", lied, reader=cast.device)
    say("ES256 under an EdDSA key's kid", "bad_signature", other_alg, reader=cast.device)
    none = b64url(b'{"alg":"none","kid":"%s","typ":"pv1.command"}' % cast.client.kid.encode()).encode()
    say("alg none", "unreadable", none + b"." + body + b".", reader=cast.device)
    more = b64url(msgspec.json.encode({"alg": "EdDSA", "kid": cast.client.kid, "typ": "pv1.command", "b64": False}))
    say("header with a fourth member", "unreadable", _resigned(cast.client, more, body), reader=cast.device)
    say("typ of a receipt", "unreadable", cast.client.sign(claims, typ="pv1.receipt"), reader=cast.device)
    say("base64url with padding", "unreadable", good + b"==", reader=cast.device)
    say("not sealed", "unreadable", good, reader=None)
    say("sealed to somebody else", "unreadable", good, reader=cast.client)
    say("kind of another channel", "unreadable", good, kind="receipt", reader=cast.device)
    _refused_with_history(cast, say, select)
    _refused_answers(cast, say)
    return found


def _refused_with_history(cast: Cast, say: Callable[..., None], select: Claims) -> None:
    first = "delete by ids"
    again = _command(cast.client, "delete", seq=102, name=first, select=select)
    say(
        "jti of another command",
        "jti_reused",
        cast.client.sign(again, typ="pv1.command"),
        reader=cast.device,
        after=[first],
    )
    number = _command(cast.client, "delete", seq=1, name="seq of another command", select=select)
    jws = cast.client.sign(number, typ="pv1.command")
    say("seq of another command", "seq_reused", jws, reader=cast.device, after=[first])
    low = _command(cast.client, "delete", seq=975, name="seq below the window", select=select)
    jws = cast.client.sign(low, typ="pv1.command")
    say("seq below the window", "stale_seq", jws, reader=cast.device, highest_seq=2000, next_seq=2001)


def _refused_answers(cast: Cast, say: Callable[..., None]) -> None:
    upload = {"upload": an_id("upload"), "manifest": a_hash("manifest")}
    ack: Claims = {"iss": cast.store.kid, "aud": DEVICE, "iat": NOW_S} | upload | {"offset": 2048}
    answers = [
        ("upload-ack for another device", "wrong_audience", cast.store, ack | {"aud": "cam-02"}),
        ("upload-ack with a negative offset", "malformed", cast.store, ack | {"offset": -1}),
        ("upload-ack with a claim that nobody named", "malformed", cast.store, ack | {"please": True}),
        ("upload-ack by a client", "bad_signature", cast.client, ack | {"iss": cast.client.kid}),
    ]
    for name, reason, who, claims in answers:
        say(name, reason, who.sign(claims, typ="pv1.upload-ack"), kind="upload-ack", reader=None)


def _odd_json(claims: Claims) -> dict[str, str]:
    text = json.dumps(claims, separators=(",", ":"))
    return {
        "a member named twice": text.replace('"seq":101', '"seq":101,"seq":101'),
        "a number with a fraction": text.replace('"seq":101', '"seq":101.0'),
        "NaN": text.replace('"seq":101', '"seq":NaN'),
        "nested too deep": text.replace('"seq":101', '"seq":' + "[" * 9 + "]" * 9),
        "an array instead of an object": f"[{text}]",
        "a byte that is not UTF-8": text.replace('"verb":"delete"', '"verb":"\udcff"'),
    }


def _signed_text(who: Party, text: str) -> bytes:
    head = b64url(envelope.encode({"alg": who.alg, "kid": who.kid, "typ": "pv1.command"}))
    return _resigned(who, head, b64url(text.encode("utf-8", "surrogateescape")).encode())


def _resigned(who: Party, head: str, body: bytes) -> bytes:
    signing_input = head.encode() + b"." + body
    return signing_input + b"." + b64url(who.raw_signature(signing_input)).encode()


def _text(jws: bytes) -> str:
    return jws.decode("ascii")


# --- key sets, descriptors, hashes


def keysets(cast: Cast) -> Claims:
    """Return a chain of versions and what must not follow."""

    def version(number: int, prev: str, *keys: Claims, signer: Party = cast.owner, **more: Any) -> bytes:  # noqa: ANN401 - any JSON
        claims = {"version": number, "prev": prev, "iat": NOW_S, "root": cast.owner.jwk, "keys": list(keys)}
        return signer.sign(claims | more, typ="pv1.keyset")

    quota = {"objects": 100, "bytes": 10**9, "window_s": 86_400}
    bounds = {"nbf": NOW_S - 86_400, "exp": NOW_S + 365 * 86_400}
    parties = [cast.client.key(), cast.backend.key(quota=quota, **bounds), cast.store.key(), cast.clock.key()]
    first = version(1, "", *parties)
    prev = envelope.signing_input_sha256(first)
    second = version(2, prev, *parties[:3])
    sha256 = envelope.signing_input_sha256(second)
    third = version(3, sha256, *parties[:3], approvals={"need": 1, "verbs": ["delete", "export"]})
    wrong = [
        ("version 3 after version 1", "malformed", version(3, prev, *parties)),
        ("version 2 with another prev", "malformed", version(2, a_hash("prev"), *parties)),
        ("version 2 signed by a stranger", "bad_signature", version(2, prev, *parties, signer=cast.stranger)),
        ("version 1 with other keys", "stale_seq", version(1, "", *parties[:1])),
        ("a store with a verb", "malformed", version(2, prev, cast.store.key(verbs=["delete"]))),
        ("the same key twice", "malformed", version(2, prev, parties[0], parties[0])),
        (
            "more approvals than clients",
            "malformed",
            version(2, prev, *parties, approvals={"need": 2, "verbs": ["delete"]}),
        ),
        (
            "an approval of approvals",
            "malformed",
            version(2, prev, *parties, approvals={"need": 1, "verbs": ["approve"]}),
        ),
        ("an unknown member", "malformed", version(2, prev, parties[0] | {"admin": True})),
        (
            "a recipient with one wrong letter",
            "malformed",
            version(2, prev, cast.store.key(recipient=_misspelt(cast.store.recipient))),
        ),
    ]
    return {
        "root": "owner",
        "chain": [
            {"version": number, "jws": _text(raw), "sha256": envelope.signing_input_sha256(raw)}
            for number, raw in ((1, first), (2, second), (3, third))
        ],
        "refused_after_version_1": [{"name": name, "reason": reason, "jws": _text(raw)} for name, reason, raw in wrong],
    }


def descriptors(cast: Cast) -> list[Claims]:
    """Return every form of descriptor, and what is none."""

    def of(who: Party, document: str, *, valid: bool = True, name: str = "") -> Claims:
        shown = envelope.fingerprint(who.kid, recipient=who.recipient)
        return {"name": name or f"{who.role} {who.name}", "document": document, "fingerprint": shown, "valid": valid}

    def signed(who: Party, claims: Claims) -> str:
        return _text(who.sign(claims, typ="pv1.descriptor"))

    plain = (cast.owner, cast.client, cast.backend, cast.store, cast.clock)
    good = [of(who, json.dumps(who.descriptor())) for who in plain]
    devices = (cast.device, cast.device_es256)
    return [
        *good,
        *(of(device, signed(device, device.descriptor()), name=f"device, {device.alg}") for device in devices),
        of(cast.device, json.dumps(cast.device.descriptor()), valid=False, name="device, not signed"),
        of(cast.device, signed(cast.stranger, cast.device.descriptor()), valid=False, name="device, signed by another"),
        of(cast.client, json.dumps(cast.client.descriptor() | {"v": 2}), valid=False, name="another version"),
        of(
            cast.client, json.dumps(cast.client.descriptor() | {"alg": "ES256"}), valid=False, name="alg of another key"
        ),
        *(
            of(
                who,
                json.dumps(who.descriptor() | {"recipient": _misspelt(who.recipient)}),
                valid=False,
                name=f"{who.role}, recipient with one wrong letter",
            )
            for who in (cast.owner, cast.client)
        ),
    ]


def _misspelt(recipient: str) -> str:
    return recipient[:-1] + ("q" if recipient[-1] != "q" else "p")


def hashes(cast: Cast, told: list[Claims]) -> Claims:
    """Return the derived values that peers compute."""
    ids = [an_id(f"object {number}") for number in range(3)]
    begin = next(entry for entry in told if entry["name"] == "begin")
    upload = _upload(cast)
    return {
        "age_file": {
            "reader": "client",
            "header": _b64(upload["header_bytes"]),
            "payload": _b64(upload["payload_bytes"]),
            "plain_sha256": upload["plain_sha256"],
        },
        "selection": {"ids": ids, "hash": Ids.of(ids).selection_hash()},
        "empty_selection": {"ids": [], "hash": Ids.of([]).selection_hash()},
        "manifest": {"begin_jws": begin["jws"], "hash": begin["signing_input_sha256"]},
        "key_ids": [{"jwk": party.jwk, "kid": party.kid} for party in cast.parties().values()],
        "fingerprints": [
            {"kid": party.kid, "recipient": party.recipient, "fingerprint": party.shown()["fingerprint"]}
            for party in cast.parties().values()
        ],
    }


def documents(read: Callable[[str], Claims]) -> dict[str, Claims]:
    """Return every file of the folder; ``read`` gives what stands there now, ``{}`` where there is nothing."""
    with tempfile.TemporaryDirectory() as folder:
        cast = Cast(Path(folder))
    told = messages(cast, read("messages.json"))
    about = {"warning": WARNING, "device": DEVICE, "now_s": NOW_S}
    return {
        "keys.json": {"warning": WARNING, "parties": {name: who.shown() for name, who in cast.parties().items()}},
        "messages.json": about | {"vectors": told},
        "refused.json": about | {"vectors": refused(cast, read("refused.json"))},
        "keysets.json": about | keysets(cast),
        "descriptors.json": about | {"vectors": descriptors(cast)},
        "hashes.json": about | hashes(cast, told),
        "ble.json": {"warning": WARNING} | conversation(cast.backend, _party("camera", "front door"), seeded),
    }


def text(document: Claims) -> str:
    """Return a file's text."""
    return json.dumps(document, indent=1) + "\n"


def read_vectors(name: str) -> Claims:
    """Read a file of the folder, ``{}`` where there is none."""
    path = VECTORS / name
    found: Claims = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def main() -> int:
    """Write what differs."""
    VECTORS.mkdir(exist_ok=True)
    for name, document in documents(read_vectors).items():
        path = VECTORS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text(document):
            path.write_text(text(document), encoding="utf-8")
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
