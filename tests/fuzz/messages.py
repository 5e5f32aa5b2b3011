"""Messages and statements: from the bytes that the broker or a file brings to the claims of each verb and kind."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import msgspec

from agent import age, envelope
from agent.age import decrypt
from agent.envelope import KIND, TYP, Kind, claimed_jti, decode_strictly, parse, signing_input_sha256
from agent.envelope.deposit import read_deposit
from agent.envelope.json import encode
from agent.envelope.label import read_fingerprint, read_label
from agent.errors import ConfigError, CorruptError, RefusedError
from agent.owner.show import asked
from agent.uplink.mail import Device, Mail, opened
from tests.fuzz.target import Target, text, words
from tests.fuzz.vectors import (
    DESCRIPTORS,
    FIRST,
    GOOD,
    KEYSETS,
    PARTIES,
    REFUSED,
    claims,
    descriptor,
    payloads,
    signed,
    signed_over,
)

ANSWERS: Final[tuple[Kind, ...]] = ("go", "upload-ack", "stored", "erased", "failed", "rectified")
ROOT: Final = PARTIES["owner"]["jwk"]
LARGE: Final = 8192
"""A message that is sealed to a post-quantum key has 1.7 kB of header."""

_REFUSES: Final = (CorruptError, RefusedError)
_DEVICE: Final = PARTIES["device"]
STORE: Final = next(key for key in FIRST.keys if key.role == "store")
CLIENT: Final = next(key for key in FIRST.keys if key.kid == PARTIES["client"]["kid"])
US: Final = Device(
    name=_DEVICE["name"],
    kid=_DEVICE["kid"],
    alg=_DEVICE["alg"],
    sign=lambda data: data,
    identities=(age.parse_identity(_DEVICE["identity"]),),
)
MAIL: Final = Mail(US, STORE)


def json(raw: bytes) -> object:
    """Read strict JSON; what was read can be written and is the same again."""
    told = decode_strictly(raw, max_bytes=LARGE)
    assert decode_strictly(encode(told), max_bytes=2 * LARGE) == told
    return told


def jws(raw: bytes) -> object:
    """Take a JWS apart and verify it."""
    return envelope.verify(parse(raw, typ=TYP["command"]), jwk=CLIENT.jwk, alg=CLIENT.alg)


def command_payload(raw: bytes) -> object:
    """Read a payload of ``cmd`` up to the signature, as ``agent.commands.door`` does."""
    kind, body = envelope.unframe(raw, channel="cmd")
    found = decrypt(body, US.identities) if kind == "command" else body
    return parse(found, typ=TYP[kind]), signing_input_sha256(found)


def answer_payload(raw: bytes) -> object:
    """Read a payload of ``upack`` with a store's key."""
    return MAIL.verified(opened(raw, device=US))


def verified(raw: bytes, *, typ: str, party: str) -> dict[str, Any]:
    """Return claims that a party of the vectors signed."""
    found = parse(signed(raw, typ=typ, party=party), typ=typ)
    return envelope.verify(found, jwk=PARTIES[party]["jwk"], alg=PARTIES[party]["alg"])


def command(raw: bytes) -> object:
    """Read the claims of a command, and say them in the owner's words."""
    told = verified(raw, typ=TYP["command"], party="client")
    claimed_jti(told)
    found = envelope.parse_command(told)
    asked(found)
    return found


def ack(raw: bytes) -> object:
    """Read the claims of an ack."""
    return envelope.parse_ack(verified(raw, typ=TYP["ack"], party="client"))


def answer_of(kind: Kind) -> Callable[[bytes], object]:
    """Return what reads one kind of a store's answers."""
    return lambda raw: envelope.parse_upack(kind, verified(raw, typ=TYP[kind], party="store"))


def key_set(raw: bytes) -> object:
    """Read the claims of a key set that follows the first."""
    line = signed(raw, typ=envelope.TYP_KEYSET, party="owner")
    envelope.read_keyset(line, root_jwk=ROOT)
    return envelope.parse_keyset(line, root_jwk=ROOT, current=FIRST)


def key_set_line(raw: bytes) -> object:
    """Read a key set as a file or a command holds it."""
    return envelope.parse_keyset(raw, root_jwk=ROOT, current=None)


def described(raw: bytes) -> object:
    """Read a descriptor, and show what two people compare."""
    return envelope.parse_descriptor(raw).fingerprint


def described_device(raw: bytes) -> object:
    """Read the claims of a device's descriptor."""
    return envelope.parse_descriptor(signed(raw, typ=envelope.TYP_DESCRIPTOR, party="device")).fingerprint


def succession(raw: bytes) -> object:
    """Read a hand-over: its claims, and behind the first line end the key set's line as it is."""
    first, _, second = raw.partition(b"\n")
    line = signed(first, typ="pv1.succession", party="owner") + b"\n" + second
    envelope.is_succession(line)
    return envelope.read_succession(line, root_jwk=ROOT, current=FIRST)


def policy(raw: bytes) -> object:
    """Read the claims of a signed policy."""
    line = signed(raw, typ=envelope.TYP_POLICY, party="client").decode("ascii")
    party = PARTIES["client"]
    return envelope.parse_signed_policy(line, kid=party["kid"], jwk=party["jwk"], alg=party["alg"])


def policy_line(raw: bytes) -> object:
    """Read a signed policy as a command holds it."""
    party = PARTIES["client"]
    return envelope.parse_signed_policy(text(raw), kid=party["kid"], jwk=party["jwk"], alg=party["alg"])


def label(raw: bytes) -> object:
    """Read what is printed on a camera."""
    found = read_label(words(raw))
    assert read_label(str(found)) == found
    return found.means(PARTIES["device"]["kid"])


def third_party(raw: bytes) -> object:
    """Read the address of a third party."""
    return read_deposit(text(raw)).target("part-001.zip.age")


def lines(vectors: Iterable[dict[str, Any]], *kinds: str) -> Iterator[bytes]:
    """Yield the JWS of some kinds."""
    yield from (one["jws"].encode() for one in vectors if one["kind"] in kinds and one.get("jws"))


def key_set_lines() -> Iterator[bytes]:
    """Yield key sets, refused ones too."""
    for one in (*KEYSETS["chain"], *KEYSETS["refused_after_version_1"]):
        yield one["jws"].encode()


def documents(*, of_device: bool) -> Iterator[bytes]:
    """Yield descriptors: plain ones and lines, or what the lines of devices say."""
    for one in DESCRIPTORS:
        raw = one["document"].encode()
        if not of_device:
            yield raw
        elif not raw.startswith(b"{"):
            yield from signed_over(one["document"])


def successions() -> Iterator[bytes]:
    """Yield a hand-over to a stranger, with that one's key set."""
    owner = {**encoded(descriptor("stranger")), "role": "owner"}
    keys = [encoded(key) for key in FIRST.keys]
    second = {
        "version": 2, "prev": FIRST.sha256, "iat": 1_800_000_000, "root": PARTIES["stranger"]["jwk"], "keys": keys,
    }  # fmt: skip
    line = signed(encode(second), typ=envelope.TYP_KEYSET, party="stranger")
    yield encode({"iat": 1_800_000_000, "root": ROOT, "owner": owner}) + b"\n" + line


def encoded(value: object) -> dict[str, Any]:
    """Return a struct as JSON's values."""
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found


def policies() -> Iterator[bytes]:
    """Yield the claims of signed policies."""
    for raw in policy_lines():
        yield from signed_over(raw.decode())


def policy_lines() -> Iterator[bytes]:
    """Yield signed policies, as commands of the verb hold them."""
    for one in GOOD:
        if one["kind"] == "command" and one["claims"]["verb"] == "policy":
            yield one["claims"]["policy"].encode()


def labels() -> Iterator[bytes]:
    """Yield labels as they are printed, and as people write them."""
    yield b"PVCAM:1:ABCDEFGH234567XY:0B203407A47496863B33B6B7D0AD8D63"
    yield b"pvcam:1:abcd-efgh-2345-67xy:0b20-3407-a474-9686-3b33-b6b7-d0ad-8d63"


TARGETS: Final = (
    Target(name="json", read=json, declared=(CorruptError,), seeds=lambda: claims(*KIND)),
    Target(name="jws", read=jws, declared=_REFUSES, seeds=lambda: lines((*GOOD, *REFUSED), "command")),
    Target(
        name="payload-cmd",
        read=command_payload,
        declared=(CorruptError,),
        seeds=lambda: payloads("cmd"),
        largest=LARGE,
    ),
    Target(
        name="payload-upack", read=answer_payload, declared=_REFUSES, seeds=lambda: payloads("upack"), largest=LARGE
    ),
    Target(name="command", read=command, declared=_REFUSES, seeds=lambda: claims("command"), largest=LARGE),
    Target(name="ack", read=ack, declared=_REFUSES, seeds=lambda: claims("ack")),
    *(
        Target(
            name=f"answer-{kind}",
            read=answer_of(kind),
            declared=_REFUSES,
            seeds=partial(claims, kind),
        )
        for kind in ANSWERS
    ),
    Target(
        name="key-set",
        read=key_set,
        declared=_REFUSES,
        seeds=lambda: (raw for line in key_set_lines() for raw in signed_over(line.decode())),
        largest=LARGE,
    ),
    Target(name="key-set-line", read=key_set_line, declared=_REFUSES, seeds=key_set_lines, largest=LARGE),
    Target(
        name="descriptor",
        read=described,
        declared=(CorruptError,),
        seeds=lambda: documents(of_device=False),
        largest=LARGE,
    ),
    Target(
        name="descriptor-device",
        read=described_device,
        declared=(CorruptError,),
        seeds=lambda: documents(of_device=True),
        largest=LARGE,
    ),
    Target(name="succession", read=succession, declared=_REFUSES, seeds=successions, largest=2 * LARGE),
    Target(name="signed-policy", read=policy, declared=(RefusedError,), seeds=policies),
    Target(name="signed-policy-line", read=policy_line, declared=(RefusedError,), seeds=policy_lines),
    Target(name="label", read=label, declared=(ConfigError,), seeds=labels),
    Target(
        name="fingerprint",
        read=lambda raw: read_fingerprint(words(raw)),
        declared=(ConfigError,),
        seeds=lambda: (party["fingerprint"].encode() for party in PARTIES.values()),
    ),
    Target(
        name="deposit",
        read=third_party,
        declared=(RefusedError,),
        seeds=lambda: (b"https://host.example/folder/?sig=abc", b"https://[2001:db8::1]:8443/a/b/"),
    ),
)
