"""One device set up by its owner, its parts opened as the agent opens them; the clocks are in the test's hands."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import age, envelope
from agent.app.parts import Parts, opened
from agent.app.setup import OwnerFile, initialise
from agent.clock import Reading
from agent.config import Config, parse_config
from agent.envelope import Approvals, Descriptor, public_jwk, raw_signature, thumbprint
from agent.model import new_id
from tests.commands.office import Party, party
from tests.writing import policy_text

DEVICE = "cam-01"
START_S = 1_800_000_000


class Station:
    """``reading`` is what its clocks show; ``parts`` opens it, and is opened once at a time."""

    def __init__(
        self, folder: Path, *, synchronised: bool = True, sources: str = "", members: tuple[Party, ...] = ()
    ) -> None:
        self.reading = Reading(wall_ms=START_S * 1000, boot_ms=60_000, boot_id="one", synchronised=synchronised)
        self.client = party("client", "phone", *envelope.VERBS)
        self.clock = party("time", "clock", "time")
        self.store = party("store", "bucket")
        self.root = Ed25519PrivateKey.generate()
        self.recipient = age.generate_identity(post_quantum=False).recipient().to_text()
        self.config: Config = parse_config(
            f'device = "{DEVICE}"\nstate = "state"\n{sources}'.encode(), file=folder / "agent.toml"
        )
        self.key_set = self.sign_key_set(1, "", self.client, self.clock, self.store, *members)
        owner = Descriptor(
            v=1, role="owner", name="Ada", jwk=public_jwk(self.root), alg="EdDSA", recipient=self.recipient
        )
        initialise(
            self.config,
            OwnerFile(owner, self.key_set),
            documents={self.config.policy: policy_text(self.recipient, recording='keep = { age = "14d" }')},
            read_clock=self.read_clock,
        )

    def read_clock(self) -> Reading:
        return self.reading

    def let_pass(self, ms: int) -> None:
        self.reading = msgspec.structs.replace(
            self.reading, wall_ms=self.reading.wall_ms + ms, boot_ms=self.reading.boot_ms + ms
        )

    def parts(self) -> AbstractAsyncContextManager[Parts]:
        return opened(self.config, read_clock=self.read_clock)

    def sign_key_set(self, version: int, prev: str, *members: Party, approvals: Approvals | None = None) -> bytes:
        jwk = public_jwk(self.root)
        claims = envelope.keyset_claims(
            [member.key() for member in members],
            version=version,
            prev=prev,
            iat=START_S,
            root_jwk=jwk,
            approvals=approvals,
        )
        return envelope.sign(
            claims,
            typ="pv1.keyset",
            kid=thumbprint(jwk),
            alg="EdDSA",
            sign=lambda data: raw_signature(self.root, data),
        )

    def command(self, who: Party, verb: str, *, iat_s: int = START_S, **own: Any) -> bytes:  # noqa: ANN401 - JSON
        """Return a bare signed command, as a command file holds it."""
        who.seq += 1
        claims = {
            "iss": who.kid,
            "aud": DEVICE,
            "iat": iat_s,
            "exp": iat_s + 86_400,
            "jti": new_id(),
            "seq": who.seq,
            "verb": verb,
        }
        return who.sign(claims | own)
