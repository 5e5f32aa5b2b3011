"""An owner's root for tests: signs the key sets of docs/protocol.md §3 from descriptors.

The owner's real tool is ``privacy-owner``; this one is a second reading, and can also sign what no owner should.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from device_sim.cloud import jws
from device_sim.cloud.jws import SigningKey
from device_sim.cloud.strictjson import Claims

KEYSET_TYP: Final = "pv1.keyset"
VERBS: Final[dict[str, tuple[str, ...]]] = {
    "client": (
        "delete",
        "export",
        "inventory",
        "approve",
        "consent",
        "withdraw",
        "object",
        "consents",
        "time",
        "erase-all",
        "policy",
        "restrict",
        "unrestrict",
    ),
    "backend": ("delete", "export", "inventory"),
    "store": (),
    "time": ("time",),
}
"""What each role has; ``hold`` and ``release`` are given to a key by name alone."""


@dataclass(slots=True)
class Owner:
    """A root that knows the key sets it signed."""

    root: SigningKey = field(default_factory=SigningKey.generate)
    version: int = 0
    prev: str = ""

    def sign(self, descriptors: Sequence[Claims], *, iat_s: int, **changes: object) -> bytes:
        """Sign the next key set with every verb that the roles may hold; ``changes`` replace claims of it."""
        claims: Claims = {
            "version": self.version + 1,
            "prev": self.prev,
            "iat": iat_s,
            "root": dict(self.root.jwk),
            "keys": [entry(descriptor) for descriptor in descriptors],
            **changes,
        }
        signed = jws.sign(claims, self.root, typ=KEYSET_TYP)
        self.version += 1
        self.prev = jws.parse(signed).signing_input_sha256
        return signed


def entry(descriptor: Claims, **changes: object) -> Claims:
    """Return a key set's entry for a descriptor; ``changes`` add ``quota``, ``nbf``, ``exp`` or narrow ``verbs``."""
    kept = {name: descriptor[name] for name in ("jwk", "alg", "role", "name", "recipient")}
    return {**kept, "verbs": list(VERBS[str(descriptor["role"])]), **changes}
