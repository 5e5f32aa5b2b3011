"""One device with its owner, clients, backend, store and time source; everything real but the network and the clock."""

import asyncio
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import age, envelope
from agent.app.alarm import Alarm
from agent.app.setup import read_owner_file
from agent.bundle import Bundle
from agent.commands import Commands, Ledger, World, rectifying, sparing
from agent.commands.consent import Purposes
from agent.commands.freezing import Freezing
from agent.envelope import (
    Alg,
    Command,
    Descriptor,
    Key,
    PrivateKey,
    Quota,
    Rectify,
    SetTime,
    public_jwk,
    raw_signature,
    thumbprint,
)
from agent.envelope.keyset import KeyRole, Verb
from agent.erasure import Erasure
from agent.errors import RefusedError
from agent.files import make_folder
from agent.index import Index, Tx
from agent.keystore import Keystore
from agent.keytree import seal_header, wrap_slot
from agent.model import Kind, Moment, Object, Outcome, new_id
from agent.outbox import Outbox
from agent.policy import Hold, Rights, parse_policy
from agent.rights.snapshot import Snapshot
from agent.trust import Trust
from agent.vault import Draft, Vault
from tests.writing import policy_text

DEVICE = "cam-01"
START_S = 1_800_000_000
T = TypeVar("T")


def at(seconds: float = 0, *, trusted: bool = True) -> Moment:
    ms = int((START_S + seconds) * 1000)
    return Moment(agent_ms=ms, wall_ms=ms, trusted=trusted)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@dataclass
class Party:
    """Somebody with a signing key and an age identity."""

    role: KeyRole
    name: str
    private: PrivateKey
    identity: age.Identity
    verbs: tuple[Verb, ...]
    quota: Quota | None = None
    seq: int = 0

    @property
    def jwk(self) -> dict[str, str]:
        return public_jwk(self.private)

    @property
    def kid(self) -> str:
        return thumbprint(self.jwk)

    @property
    def alg(self) -> Alg:
        return "EdDSA" if isinstance(self.private, Ed25519PrivateKey) else "ES256"

    @property
    def recipient(self) -> str:
        return self.identity.recipient().to_text()

    def key(self) -> Key:
        return Key(
            jwk=self.jwk,
            alg=self.alg,
            role=self.role,
            name=self.name,
            verbs=self.verbs,
            recipient=self.recipient,
            quota=self.quota,
        )

    def sign(self, claims: dict[str, Any], *, typ: str = "pv1.command") -> bytes:
        return envelope.sign(
            claims, typ=typ, kid=self.kid, alg=self.alg, sign=lambda data: raw_signature(self.private, data)
        )

    def open(self, payload: bytes) -> dict[str, Any]:
        """Unseal and verify nothing but the form: what a reader of receipts sees."""
        jws = age.decrypt(payload[1:], [self.identity])
        part = envelope.parse(jws, typ="pv1.receipt" if payload[0] == 0x11 else "pv1.alert")
        return envelope.decode_strictly(part.unverified_payload, max_bytes=1 << 20)


def party(role: KeyRole, name: str, *verbs: Verb, curve: bool = False, quota: Quota | None = None) -> Party:
    private: PrivateKey = ec.generate_private_key(ec.SECP256R1()) if curve else Ed25519PrivateKey.generate()
    return Party(role, name, private, age.generate_identity(post_quantum=False), verbs, quota)


class Office:
    """The device and the people around it; ``moment`` is its clock."""

    def __init__(
        self, folder: Path, *, quota: Quota | None = None, step: Callable[[int], None] = lambda _step: None
    ) -> None:
        make_folder(folder)
        self.folder = folder
        self.step = step
        self.moment = at()
        self.root: PrivateKey = ec.generate_private_key(ec.SECP256R1())
        self.owner_identity = age.generate_identity(post_quantum=False)
        self.owner_recipient = self.owner_identity.recipient().to_text()
        self.client = party("client", "phone", *envelope.VERBS)
        self.backend = party("backend", "cloud", *envelope.BACKEND_VERBS, "hold", "release", curve=True, quota=quota)
        self.store = party("store", "bucket")
        self.clock = party("time", "clock", "time")
        self.stranger = party("client", "nobody", *envelope.VERBS)
        self.rights: dict[str, Rights] = {}
        self.told_times: list[int] = []
        self.refrozen: list[int] = []
        self.refuse_time = False
        self.keystore = Keystore.create(folder / "keystore")
        self._open()
        owner = self.owner()
        self.index.write_now(lambda tx: self.trust.install_owner(tx, owner, moment=self.moment))
        self.keyset_raw = self.sign_keyset(1, "")
        self.index.write_now(lambda tx: self.trust.accept_key_set(tx, self.keyset_raw, moment=self.moment))

    @classmethod
    def owned_by(cls, folder: Path, owner_file: Path) -> "Office":
        """Return a device of the owner who made this ``owner.pub``."""
        office = cls(folder / "unused")
        office.close()
        office.folder = folder / "device"
        make_folder(office.folder)
        office.keystore = Keystore.create(office.folder / "keystore")
        office._open()
        told = read_owner_file(owner_file)
        office.index.write_now(lambda tx: office.trust.install_owner(tx, told.owner, moment=office.moment))
        office.index.write_now(lambda tx: office.trust.accept_key_set(tx, told.key_set, moment=office.moment))
        return office

    @classmethod
    def device_only(cls, folder: Path, *, owner_recipient: str, step: Callable[[int], None]) -> "Office":
        """Open the device's side of an existing folder, in a process that is about to be killed."""
        office = cls.__new__(cls)
        office.folder = folder
        office.step = step
        office.moment = at()
        office.owner_recipient = owner_recipient
        office.rights = {}
        office.told_times = []
        office.refrozen = []
        office.refuse_time = False
        office.keystore = Keystore.open(folder / "keystore")
        office._open()
        return office

    def _open(self) -> None:
        self.changed = asyncio.Event()
        self.label_takes_ms = 0
        self.room = (0, 0)
        self.index = Index(self.folder / "index.db", key=self.keystore.index_key())
        self.vault = Vault(folder=self.folder, index=self.index, keystore=self.keystore)
        self.trust = Trust()
        self.outbox = Outbox(device=DEVICE, signer=self.keystore, random=secrets.token_bytes)
        self.ledger = Ledger(
            device=DEVICE, keystore=self.keystore, trust=self.trust, outbox=self.outbox, random=secrets.token_bytes
        )
        policy = parse_policy(self.policy_document().encode(), file="policy.toml")
        self.rights_changes = 0
        self.heard: list[int] = []
        purposes = Purposes(policy=lambda: policy, changed=self._note_rights_change)
        self.snapshot = Snapshot()
        alarm = Alarm(index=self.index, trust=self.trust, outbox=self.outbox)
        self.freezing = Freezing(
            vault=self.vault,
            outbox=self.outbox,
            alert=partial(alarm.raise_in, at_once=True),
            changed=lambda tx: tx.then(lambda: self.refrozen.append(self.moment.agent_ms)),
        )
        self.world = World(
            policy=lambda: policy,
            rights=lambda tx, item: self.rights.get(item.id) or self.snapshot.of(tx, item),
            standing=self.snapshot.standing,
            label=self._label,
            acts={
                SetTime: self._set_time,
                Rectify: rectifying.act(self.vault),
                **purposes.acts(),
                **self.freezing.acts(),
            },
            purposes=purposes,
            heard=lambda: self.heard.append(self.moment.agent_ms),
            now=lambda: self.moment,
            changed=self.changed.set,
            alert=alarm.raise_in,
            room=lambda: self.room,
        )
        self.erasure = Erasure(
            vault=self.vault,
            index=self.index,
            keystore=self.keystore,
            finish=self._finish,
            judge=sparing(self.world),
            at=self.step,
        )
        self.bundle = Bundle(device=DEVICE, index=self.index, vault=self.vault, keystore=self.keystore)
        self.commands = Commands(
            device=DEVICE,
            index=self.index,
            keystore=self.keystore,
            vault=self.vault,
            erasure=self.erasure,
            bundle=self.bundle,
            trust=self.trust,
            outbox=self.outbox,
            ledger=self.ledger,
            world=self.world,
        )

    def policy_document(self) -> str:
        """Return the policy; another office may have another."""
        return policy_text(self.owner_recipient, recording='keep = { age = "14d" }', photo="", usage_log="")

    def _note_rights_change(self, _tx: Tx) -> None:
        self.rights_changes += 1

    def _finish(self, tx: Tx, command: str, outcomes: tuple[Outcome, ...], moment: Moment) -> None:
        self.ledger.on_finish(tx, command, self.bundle.remarked(tx, command, outcomes), moment)

    def _label(self, _tx: Tx, camera: str) -> str:
        later_ms = self.moment.agent_ms + self.label_takes_ms
        self.moment = Moment(agent_ms=later_ms, wall_ms=later_ms, trusted=self.moment.trusted)
        return f"Küche {camera}"

    def _set_time(self, _tx: Tx, _key: Key, command: Command, _moment: Moment) -> tuple[Outcome, ...]:
        if self.refuse_time:
            raise RefusedError("behind", reason="not_yet_valid", retry="later")
        self.told_times.append(cast("SetTime", command.request).now)
        return ()

    def restart(self) -> None:
        """Open everything again, as after a power cut; the caller ran nothing meanwhile."""
        self.index.close()
        self.keystore = Keystore.open(self.folder / "keystore")
        self._open()

    def close(self) -> None:
        self.index.close()

    # --- owner

    def owner(self) -> Descriptor:
        jwk = public_jwk(self.root)
        return Descriptor(
            v=1,
            role="owner",
            name="Ada",
            jwk=jwk,
            alg="ES256",
            recipient=self.owner_identity.recipient().to_text(),
        )

    def sign_keyset(self, version: int, prev: str, *parties: Party) -> bytes:
        keys = [one.key() for one in parties or (self.client, self.backend, self.store, self.clock)]
        jwk = public_jwk(self.root)
        claims = envelope.keyset_claims(keys, version=version, prev=prev, iat=START_S, root_jwk=jwk)
        return envelope.sign(
            claims,
            typ="pv1.keyset",
            kid=thumbprint(jwk),
            alg="ES256",
            sign=lambda data: raw_signature(self.root, data),
        )

    # --- commands

    def claims(self, who: Party, verb: str, **own: object) -> dict[str, Any]:
        who.seq += 1
        claims: dict[str, Any] = {
            "iss": who.kid,
            "aud": DEVICE,
            "iat": START_S - 10,
            "exp": START_S + 86_400,
            "jti": new_id(),
            "seq": who.seq,
            "verb": verb,
        }
        return claims | own

    def seal(self, jws: bytes, *, kind: int = 1) -> bytes:
        return bytes((kind,)) + age.encrypt(jws, [age.parse_recipient(self.keystore.recipient())])

    def command(self, who: Party, verb: str, **own: object) -> bytes:
        return self.seal(who.sign(self.claims(who, verb, **own)))

    async def receive(self, who: Party, raw: bytes) -> dict[str, Any] | None:
        """Hand an MQTT payload in and return the first receipt as its reader sees it."""
        answers = await self.commands.receive(raw, moment=self.moment)
        assert len(answers) <= 1
        return who.open(answers[0]) if answers else None

    async def submit(self, who: Party, verb: str, **own: object) -> dict[str, Any]:
        """Send a command and let it run to its terminal receipt, or to what it waits for."""
        submitted = await self.commands.submit(self.command(who, verb, **own), moment=self.moment)
        return who.open(submitted.receipt)

    def waiting(self, who: Party) -> list[dict[str, Any]]:
        """Return what the outbox holds for somebody, as that reader sees it."""
        messages = self.index.read_now(lambda tx: self.outbox.pending(tx, limit=5000))
        return [who.open(message.body) for message in messages if message.reader == who.kid]

    def ack(self, who: Party, *jtis: str) -> bytes:
        claims = {"iss": who.kid, "aud": DEVICE, "iat": START_S, "acks": list(jtis)}
        return b"\x02" + who.sign(claims, typ="pv1.ack")

    def audit_kinds(self) -> list[str]:
        rows = self.index.read_now(lambda tx: tx.execute("SELECT line FROM audit ORDER BY seq"))
        return [envelope.decode_strictly(row[0], max_bytes=5000)["kind"] for row in rows]

    # --- objects

    async def keep(self, content: bytes = b"frames", *, kind: Kind = "file-key", **fields: object) -> Object:
        """Seal real bytes and take them in."""
        object_id = new_id()
        file_key = age.new_file_key()
        fd, part = self.vault.new_part()
        with os.fdopen(fd, "wb") as sink:
            age.encrypt_stream(file_key, io.BytesIO(content), sink)
            sink.flush()
            os.fsync(sink.fileno())
        payload = part.read_bytes()
        digest = hashlib.sha256(payload).digest()
        group = await self.vault.group()
        slot_key = file_key if kind == "file-key" else secrets.token_bytes(16)
        values: dict[str, Any] = {
            "camera": "cam1",
            "category": "recording",
            "media_type": "video/mp4",
            "name": "Haustür 10-15.mp4",
            "captured_from_ms": 1_700_000_000_000,
            "captured_to_ms": 1_700_000_060_000,
            "purposes": ("security",),
            "recipients": (self.owner_recipient,),
        }
        values.update(fields)
        header = age.wrap_header(file_key, [age.parse_recipient(text) for text in values["recipients"]])
        draft = Draft(
            id=object_id,
            source="door",
            plain_bytes=len(content),
            size_bytes=len(payload),
            payload_sha256=digest,
            header_sha256=hashlib.sha256(header).digest(),
            kind=kind,
            source_copy="taken",
            medium="tmpfs",
            slot=wrap_slot(group, slot_key, object_id=object_id, payload_sha256=digest, kind=kind),
            sealed_header=seal_header(slot_key, header, object_id=object_id),
            source_tag=secrets.token_bytes(32),
            content_tag=secrets.token_bytes(32),
            **values,
        )
        return await self.vault.admit(draft, part=part, group=group, moment=self.moment)

    def get(self, object_id: str) -> Object | None:
        return self.index.read_now(lambda tx: self.vault.get(tx, object_id))

    def hold(self, object_id: str) -> None:
        self.rights[object_id] = Rights(hold=Hold(reason="court", author=self.client.kid, until_ms=2**52))

    def upload(self, object_id: str, *, manifest: str = "a" * 64) -> str:
        """Pretend that a store holds the object."""

        def note(tx: Tx) -> str:
            upload, _iat_s = self.vault.begin_upload(tx, object_id, moment=self.moment)
            self.vault.set_manifest(tx, upload, manifest, store=self.store.kid, moment=self.moment)
            self.vault.note_stored(tx, upload, region="eu", stated_by=self.store.kid, epoch="e1", moment=self.moment)
            return upload

        return self.index.write_now(note)

    def confirm_erased(self, upload: str, *, manifest: str = "a" * 64) -> tuple[str, ...]:
        return self.index.write_now(
            lambda tx: self.erasure.note_erased(
                tx,
                upload,
                manifest,
                header="erased",
                payload="erased",
                stated_by=self.store.kid,
                moment=self.moment,
            )
        )
