"""A device in a folder: owned, with a policy, a spool, and what its owner's phone needs to ask it things.

The owner's side lives in memory only and beside the device's state, so a search of the state for clear bytes or keys
finds what the agent wrote and nothing else.
"""

import asyncio
import hashlib
import io
import os
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from agent import age, envelope
from agent.age.filekey import unwrap_header
from agent.age.stream import decrypt_stream
from agent.app.parts import Parts, opened
from agent.app.setup import OwnerFile, initialise
from agent.clock import Reading
from agent.config import Config, parse_config
from agent.envelope import Descriptor, parse_keyset, public_jwk, raw_signature, thumbprint
from agent.ingest import IngestEvent
from agent.keystore import Keystore
from agent.model import new_id
from agent.rights import force
from tests.commands.office import Party, party
from tests.intake import take_in
from tests.torture.blank import is_blank
from tests.writing import policy_text

DEVICE: Final = "cam-01"
NOW_S: Final = 1_800_000_000

SAMPLE_BYTES: Final = 32
SAMPLE_EVERY_BYTES: Final = 4096

CONFIG: Final = """
device = "cam-01"
state = "state"
[clock]
source = "system"
[[source]]
kind = "spool"
path = "spool"
medium = "disk"
"""

_MAY_GO: Final = 'upload = "allowed"'

RECORDING: Final = "front/recording/2026-11-22T10-15-00.000Z_10s.mp4"
PHOTO: Final = "front/photo/2026-11-22T10-16-00.000Z.jpg"
LOGS: Final = ("front/usage-log/2026-11-22T10-00-00.000Z.jsonl", "front/usage-log/2026-11-22T11-00-00.000Z.jsonl")


def clock_at(seconds: float) -> Reading:
    """Return what the clocks say so long after the home was made."""
    ms = int((NOW_S + seconds) * 1000)
    return Reading(wall_ms=ms, boot_ms=int(seconds * 1000) + 1_000_000, boot_id="boot", synchronised=True)


@dataclass(slots=True)
class Home:
    """One device; ``top`` is its folder, or a copy's.

    ``sources`` are what the camera wrote, by path; ``objects`` what the vault held at the start, by id; ``commands``
    sealed commands by name; ``doomed`` what those delete, id and path; ``roots`` keys of the key tree at the start;
    ``told`` what earlier lives promised, and what a store said to them; ``uploading`` whether there is one.

    ``scenario`` is the life that is lived here, ``events`` how often the audit tells of what happens there (``None``
    as often as it likes), ``ends`` how commands may end that are not all done, ``waits`` those that wait for others,
    ``signers`` who signed those that the client did not, ``jtis`` the ids of commands, ``readers`` who opens objects
    beside the owner. What is ``doomed`` leaves so many ``tombstones`` and ``returns`` to the source in the end, where
    it must not be taken in again. ``later_s`` is how much later the life is than its home. ``keys`` are further keys
    that are destroyed, ``papers`` what is given to the device and has no receipt, both by name.
    """

    top: Path
    owner: age.Identity
    client: Party
    store: Party
    root: ec.EllipticCurvePrivateKey
    backend: Party
    sources: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    commands: dict[str, bytes] = field(default_factory=dict)
    doomed: dict[str, str] = field(default_factory=dict)
    roots: tuple[bytes, ...] = ()
    told: list[str] = field(default_factory=list)
    uploading: bool = False
    scenario: str = ""
    events: dict[str, int | None] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    waits: frozenset[str] = frozenset()
    signers: dict[str, Party] = field(default_factory=dict)
    readers: tuple[age.Identity, ...] = ()
    tombstones: int = 0
    returns: bool = True
    later_s: float = 0.0
    keys: dict[str, bytes] = field(default_factory=dict)
    papers: dict[str, bytes] = field(default_factory=dict)
    jtis: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.top / "state"

    @property
    def spool(self) -> Path:
        return self.top / "spool"

    def clock(self, seconds: float) -> Reading:
        """Return what the clocks say so long after the life began."""
        return clock_at(self.later_s + seconds)

    def signer(self, name: str) -> Party:
        """Return who signed a command."""
        return self.signers.get(name, self.client)

    def at(self, top: Path) -> "Home":
        """Return the same device in a copy of its folder."""
        return replace(self, top=top)

    def config(self) -> Config:
        return parse_config(CONFIG.encode(), file=self.top / "agent.toml")

    @classmethod
    def make(cls, top: Path) -> "Home":
        """Set a device up as ``privacy-agent init`` does."""
        home = cls(
            top=top,
            owner=age.generate_identity(post_quantum=False),
            client=party("client", "phone", *envelope.VERBS),
            store=party("store", "bucket"),
            root=ec.generate_private_key(ec.SECP256R1()),
            backend=party("backend", "cloud", "policy", curve=True),
        )
        home.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        jwk = public_jwk(home.root)
        recipient = home.owner.recipient().to_text()
        owner = Descriptor(v=1, role="owner", name="Ada", jwk=jwk, alg="ES256", recipient=recipient)
        key_set = home.key_set(1, "", home.client, home.store, home.backend)
        parse_keyset(key_set, root_jwk=jwk, current=None)
        config = home.config()
        initialise(
            config,
            OwnerFile(owner, key_set),
            documents={
                config.file: CONFIG,
                config.policy: home.policy(recording=_MAY_GO, photo=_MAY_GO, usage_log=""),
            },
            read_clock=lambda: clock_at(0),
        )
        return home

    def policy(self, **categories: str) -> str:
        """Return a policy that seals to the owner."""
        return policy_text(self.owner.recipient().to_text(), **categories)

    def key_set(self, version: int, prev: str, *members: Party) -> bytes:
        """Sign a key set as its owner."""
        jwk = public_jwk(self.root)
        keys = [member.key() for member in members]
        claims = envelope.keyset_claims(keys, version=version, prev=prev, iat=NOW_S - 3600, root_jwk=jwk)
        return envelope.sign(
            claims, typ="pv1.keyset", kid=thumbprint(jwk), alg="ES256", sign=lambda data: raw_signature(self.root, data)
        )

    def fill(self, seed: int, *paths: str) -> None:
        """Have the camera write files; sizes and bytes come from the seed."""
        dice = random.Random(seed)  # noqa: S311 - content for a test, repeated by its seed
        for path in paths:
            if path.endswith(".jsonl"):
                content = b"".join(b'{"n":%d,"mac":"%s"}\n' % (n, dice.randbytes(20).hex().encode()) for n in range(9))
            else:
                content = dice.randbytes(dice.choice((1, 4096, 65536, 65537, 70_000)) + dice.randrange(64))
            self.sources[path] = content
            self.put_back(path)

    def put_back(self, path: str) -> None:
        """Write a source's file as it was, its times too."""
        file = self.spool / path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        part.write_bytes(self.sources[path])
        os.utime(part, (NOW_S - 60, NOW_S - 60))
        part.rename(file)

    def take_in(self) -> None:
        """Ingest what is in the spool, undisturbed; afterwards it belongs to ``objects``."""

        async def work(parts: Parts) -> None:
            await take_in(parts)
            await parts.index.write(force.bind, urgent=True)  # an agent ran under this policy
            self.roots = tuple(root.key for root in parts.keystore.roots())
            self.objects = {item.id: self.open(parts, item.id) for item in parts.index.read_now(parts.vault.page)}

        self.undisturbed(work)

    def undisturbed(self, work: Callable[[Parts], Coroutine[Any, Any, None]]) -> None:
        """Open the device, do something, close it."""

        async def run() -> None:
            async with opened(self.config(), read_clock=lambda: self.clock(1)) as parts:
                await work(parts)

        asyncio.run(run())

    def open(self, parts: Parts, object_id: str) -> bytes:
        """Open an object as its owner does."""
        found = parts.index.read_now(lambda tx: parts.vault.header(tx, object_id))
        payload = io.BytesIO(parts.vault.payload_path(object_id).read_bytes())
        key = (
            parts.index.read_now(lambda tx: parts.vault.slot_key(tx, object_id))
            if found is None
            else unwrap_header(found, [self.owner, *self.readers])
        )
        plain = io.BytesIO()
        decrypt_stream(key, payload, plain)
        return plain.getvalue()

    def command(self, name: str, verb: str, *, by: Party | None = None, **own: Any) -> None:  # noqa: ANN401 - claims of any kind
        """Sign a command now, to be given to the device later, once or often; its id is in ``jtis``."""
        who = by or self.client
        who.seq += 1
        self.signers[name] = who
        self.jtis[name] = new_id()
        claims = {
            "iss": who.kid,
            "aud": DEVICE,
            "iat": int(NOW_S + self.later_s) - 10,
            "exp": int(NOW_S + self.later_s) + 86_400,
            "jti": self.jtis[name],
            "seq": who.seq,
            "verb": verb,
        }
        recipient = age.parse_recipient(Keystore.open(self.config().keystore).recipient())
        self.commands[name] = b"\x01" + age.encrypt(who.sign(claims | own), [recipient])

    def object_of(self, path: str) -> str:
        """Return the id of what was taken in from this file alone."""
        return next(object_id for object_id, content in self.objects.items() if content == self.sources[path])

    def doom(self, *paths: str) -> None:
        """Say which objects are deleted in this life."""
        self.doomed |= {self.object_of(path): path for path in paths}
        self.tombstones = len(self.doomed)

    def key_files(self) -> list[str]:
        """Return files of the device's state that hold a key of the key tree as it was at the start."""
        return self.files_with(self.roots)

    def files_with(self, needles: Sequence[bytes]) -> list[str]:
        """Return files of the device's state that hold any of these bytes."""
        found = []
        for file in sorted(self.state.rglob("*")):
            if not file.is_file() or is_blank(file):
                continue
            content = file.read_bytes()
            if any(needle in content for needle in needles):
                found.append(str(file.relative_to(self.top)))
        return found

    def samples(self) -> tuple[bytes, ...]:
        """Return 32 clear bytes of each 4 KiB of every file that the camera wrote."""
        return tuple(
            content[start : start + SAMPLE_BYTES]
            for content in self.sources.values()
            for start in range(0, len(content) - SAMPLE_BYTES + 1, SAMPLE_EVERY_BYTES)
        )


def digest(content: bytes) -> str:
    """Return a short name for bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def admitted(event: IngestEvent) -> str:
    """Return the id that the event acknowledges, or ``""``."""
    return event.object if event.kind == "admitted" else ""
