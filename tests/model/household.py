"""The owner and the others around one device: keys, the policy, and a folder of a device that is set up, made once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import age, envelope
from agent.app.setup import OwnerFile, initialise
from agent.config import Config, parse_config
from agent.envelope import Descriptor, public_jwk, raw_signature, thumbprint
from agent.index import Index
from agent.keystore import Keystore
from agent.rights import force
from tests.commands.office import DEVICE, Party, party
from tests.model.clocks import START_MS, Clocks

SOURCES: Final = ("door", "nvr")
"""The first is ours to empty, the second keeps its copies."""

_CONFIG: Final = """\
device = "{device}"
state = "{state}"
[clock]
source = "system"
[[source]]
name = "door"
kind = "spool"
path = "door"
medium = "disk"
[[source]]
name = "nvr"
kind = "spool"
path = "nvr"
after = "leave"
medium = "disk"
"""

_POLICY: Final = """\
version = 1
[recipients]
owner = ["{owner}"]
vendor = ["{vendor}"]
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
seal_to = ["vendor"]
[purpose.support]
description = "To find out why it fails."
basis = "contract"
[category.recording]
purposes = ["security", "analytics"]
seal_to = ["owner"]
upload = "allowed"
keep.age = "{recording_days}d"
[category.photo]
purposes = ["analytics"]
upload = "allowed"
keep.count = {photos}
[category.usage-log]
purpose = "support"
seal_to = ["owner"]
keep.age = "{log_days}d"
"""


@dataclass(frozen=True)
class Terms:
    """How long things are kept: what differs from one policy to the next here."""

    recording_days: int = 14
    photos: int = 4
    log_days: int = 3

    def loosens(self, other: "Terms") -> bool:
        """Tell whether it keeps anything longer than the other does."""
        mine = (self.recording_days, self.photos, self.log_days)
        theirs = (other.recording_days, other.photos, other.log_days)
        return any(one > two for one, two in zip(mine, theirs, strict=True))


class Household:
    """Who signs and who reads; ``template`` is the folder of a device on which an agent has run once."""

    def __init__(self, folder: Path) -> None:
        self.template = folder / "template"
        self.root = Ed25519PrivateKey.generate()
        self.owner = age.generate_identity(post_quantum=False)
        self.vendor = age.generate_identity(post_quantum=False)
        self.client = party("client", "phone", *envelope.VERBS)
        self.backend = party("backend", "cloud", *envelope.BACKEND_VERBS, "hold", "release", "policy", curve=True)
        self.store = party("store", "bucket")
        self.clock = party("time", "clock", "time")
        self.stranger = party("client", "nobody", *envelope.VERBS)
        for name in SOURCES:
            (self.template / name).mkdir(mode=0o700, parents=True)
        self._set_up()

    def parties(self) -> tuple[Party, ...]:
        return (self.client, self.backend, self.store, self.clock)

    def config(self, top: Path, *, state: str = "state") -> Config:
        return parse_config(_CONFIG.format(device=DEVICE, state=state).encode(), file=top / "agent.toml")

    def policy(self, terms: Terms) -> str:
        return _POLICY.format(
            owner=self.owner.recipient().to_text(),
            vendor=self.vendor.recipient().to_text(),
            recording_days=terms.recording_days,
            photos=terms.photos,
            log_days=terms.log_days,
        )

    def _set_up(self) -> None:
        jwk = public_jwk(self.root)
        recipient = self.owner.recipient().to_text()
        owner = Descriptor(v=1, role="owner", name="Ada", jwk=jwk, alg="EdDSA", recipient=recipient)
        members = [one.key() for one in self.parties()]
        claims = envelope.keyset_claims(members, version=1, prev="", iat=START_MS // 1000 - 3600, root_jwk=jwk)
        key_set = envelope.sign(
            claims, typ="pv1.keyset", kid=thumbprint(jwk), alg="EdDSA", sign=lambda data: raw_signature(self.root, data)
        )
        config = self.config(self.template)
        documents = {config.policy: self.policy(Terms())}
        initialise(config, OwnerFile(owner, key_set), documents=documents, read_clock=Clocks().read)
        keystore = Keystore.open(config.keystore)
        index = Index(config.index, key=keystore.index_key())
        index.write_now(force.bind)
        index.close()
        keystore.close()
