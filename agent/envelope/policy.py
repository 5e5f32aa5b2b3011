"""A signed policy: a document that its signer counts, the same for every device (``docs/protocol.md`` §4)."""

from typing import Annotated, Any, Final

import msgspec

from agent.envelope.form import KID, SECONDS, UINT
from agent.envelope.json import decode_strictly
from agent.envelope.jws import Alg, parse, verify
from agent.envelope.kinds import TYP_POLICY
from agent.errors import CorruptError, RefusedError

MAX_POLICY_BYTES: Final = 40 * 1024
"""Of the TOML: in base64 twice, for its own signature and for the command's, it stays below the 96 KiB of a JWS."""


class SignedPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The claims of ``pv1.policy``: who says so, when, which of its revisions it is, and the document itself."""

    iss: Annotated[str, msgspec.Meta(pattern=KID)]
    iat: Annotated[int, msgspec.Meta(ge=0, le=SECONDS)]
    revision: Annotated[int, msgspec.Meta(ge=1, le=UINT)]
    document: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_POLICY_BYTES)]

    @property
    def raw(self) -> bytes:
        """The document's bytes, as a file would hold them."""
        return self.document.encode("utf-8")


def policy_claims(document: str, *, kid: str, revision: int, iat: int) -> dict[str, Any]:
    """Return the claims to be signed as ``pv1.policy``."""
    return {"iss": kid, "iat": iat, "revision": revision, "document": document}


def parse_signed_policy(jws: str, *, kid: str, jwk: dict[str, str], alg: Alg) -> SignedPolicy:
    """Return a policy that this key signed; raises ``RefusedError`` (``bad_policy``) for anything else."""
    try:
        unverified = parse(jws.encode("ascii", "replace"), typ=TYP_POLICY)
        verify(unverified, jwk=jwk, alg=alg)
        signed = read_unverified_policy(jws)
    except CorruptError as error:
        raise _bad(error.message) from error
    except RefusedError as error:
        raise _bad("the policy is not signed by the key that sends it") from error
    if signed.iss != kid:
        raise _bad("the policy's iss is not the key that sends it")
    if len(signed.raw) > MAX_POLICY_BYTES:
        raise _bad(f"the document is larger than {MAX_POLICY_BYTES} bytes")
    return signed


def read_unverified_policy(jws: str) -> SignedPolicy:
    """Return what a signed policy says, whoever signed it; raises ``CorruptError``."""
    unverified = parse(jws.encode("ascii", "replace"), typ=TYP_POLICY)
    payload = unverified.unverified_payload
    try:
        return msgspec.convert(decode_strictly(payload, max_bytes=len(payload)), SignedPolicy)
    except msgspec.ValidationError as error:
        raise CorruptError(f"not a signed policy: {error}") from error


def _bad(message: str) -> RefusedError:
    return RefusedError(message, reason="bad_policy", retry="after_fix")
