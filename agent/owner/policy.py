"""``policy``: put a policy document in force on a device; the owner's signature is the approval that a loosening needs.

The document is signed by itself, counted by its revision, and travels inside the command. What it says is judged on the
device: one that cannot be read, or contradicts itself, is refused with the line, and the old one stays in force.
"""

import argparse
from pathlib import Path
from typing import Final

from agent.document import DOCUMENT_BYTES, read_document
from agent.envelope import TYP_POLICY, policy_claims, sign
from agent.envelope.form import UINT
from agent.envelope.policy import MAX_POLICY_BYTES
from agent.errors import ConfigError
from agent.files import read_whole
from agent.owner import device as devices
from agent.owner import send, show
from agent.owner.context import Context, add
from agent.owner.members import signer
from agent.shell.parser import Subparsers

_SIGNED_MAX: Final = 68 * 1024
"""Of the signed document: in base64 again it still fits into a command."""


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``policy``."""
    policy = add(
        subparsers,
        "policy",
        summary="put a policy document in force on the device",
        example="privacy-owner policy policy.toml --device cam-01",
        detail="What it changes: privacy-agent policy diff, on the device. Objects under a hold stay whatever it says.",
        run=_policy,
    )
    policy.add_argument("file", type=Path, metavar="FILE", help="the document, TOML")
    policy.add_argument("--revision", type=int, default=0, metavar="N", help="its number (default: the time now)")
    policy.add_argument("--yes", action="store_true", help="do not ask")
    send.add_sending(policy)


def _policy(arguments: argparse.Namespace, context: Context) -> int:
    raw = read_whole(arguments.file, max_bytes=DOCUMENT_BYTES, hint="name the policy file")
    read_document(raw, file=str(arguments.file))
    revision = arguments.revision or context.now_s()
    if not 1 <= revision <= UINT:
        raise ConfigError(f"--revision {revision}: a whole number above 0", hint="leave it out: then it is the time")
    device = devices.pick(context.home, arguments.device)
    own = {"policy": _signed(context, raw, arguments.file, revision=revision)}
    order = send.order(arguments, context, device, "policy", own)
    context.confirm(
        f"Put {arguments.file} in force on {device.name}? What it keeps for less time is deleted.",
        yes=arguments.yes,
        hint="look first, on the device: privacy-agent policy diff FILE",
    )
    if arguments.out:
        return send.write(arguments, context, device, order)
    receipt = send.send(arguments, context, device, order)
    context.say(show.end(receipt), receipt)
    shortfall = show.shortfall(receipt)
    context.note(shortfall)
    return 1 if shortfall else 0


def _signed(context: Context, raw: bytes, file: Path, *, revision: int) -> str:
    """Return the document as ``pv1.policy``, signed by this client."""
    me = context.home.me()
    too_large = ConfigError(
        f"{file}: larger than {MAX_POLICY_BYTES} bytes, and does not fit into a command",
        hint="remove comments, or give the file to the device itself",
    )
    if len(raw) > MAX_POLICY_BYTES:
        raise too_large
    claims = policy_claims(raw.decode("utf-8"), kid=me.kid, revision=revision, iat=context.now_s())
    jws = sign(claims, typ=TYP_POLICY, kid=me.kid, alg=me.alg, sign=signer(context.home.client()))
    if len(jws) > _SIGNED_MAX:
        raise too_large
    return jws.decode("ascii")
