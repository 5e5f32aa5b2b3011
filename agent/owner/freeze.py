"""``restrict``, ``unrestrict``, ``hold``, ``release``: what is kept as it is, and what nobody deletes until when.

An owner's client restricts. A hold needs a key that holds the verb ``hold``, which the owner grants by name:
``privacy-owner client grant``.
"""

import argparse
from typing import Any, Final

from agent.clock import MS_PER_S, rfc3339_ms
from agent.envelope import GROUNDS
from agent.envelope.freezing import HOLD_MAX_S
from agent.errors import ConfigError
from agent.owner import command as requests
from agent.owner import device as devices
from agent.owner import send
from agent.owner.ask import add_selection, ask, selection_of
from agent.owner.context import Context, add
from agent.shell.parser import Subparsers
from agent.shell.times import parse_until, when

_GROUND: Final = (
    "why, which is kept with it: accuracy (it is contested), unlawful (kept instead of erased), "
    "claims (needed for a legal claim), objection (yours is not decided)"
)
_WHERE_IT_STANDS: Final = "privacy-owner inventory --json, or privacy-owner receipts"


def add_parsers(subparsers: Subparsers) -> None:
    """Register the verbs."""
    restrict = add(
        subparsers,
        "restrict",
        summary="keep recordings as they are: not uploaded, not expired, exported by the owner alone",
        example="privacy-owner restrict --camera k3x9 --from 2026-03-01 --ground claims",
        detail="What is recorded later and matches is restricted too, until it is lifted.",
        run=_restrict,
    )
    add_selection(restrict)
    restrict.add_argument("--ground", choices=GROUNDS, required=True, help=_GROUND)
    send.add_sending(restrict)

    unrestrict = add(
        subparsers,
        "unrestrict",
        summary="lift a restriction",
        example="privacy-owner unrestrict 4q3…",
        run=_unrestrict,
    )
    unrestrict.add_argument("freeze", metavar="RESTRICTION", help="its id: privacy-owner inventory --json, or receipts")
    send.add_sending(unrestrict)

    hold = add(
        subparsers,
        "hold",
        summary="let nobody delete recordings until a day, for a reason that their owner sees",
        example="privacy-owner hold --camera k3x9 --to 2026-03-02 --reason 'claim 7' --until 2026-05-01",
        detail="At most 90 days a signature. Needs a key that was granted it: privacy-owner client grant NAME hold.",
        run=_hold,
    )
    add_selection(hold)
    hold.add_argument("--reason", required=True, metavar="TEXT", help="shown to the owner of the camera")
    hold.add_argument("--until", required=True, metavar="T", help="when it ends: 2026-05-01, or 30d from now")
    send.add_sending(hold)

    release = add(
        subparsers,
        "release",
        summary="end a hold early",
        example="privacy-owner release 4q3…",
        run=_release,
    )
    release.add_argument("freeze", metavar="HOLD", help="its id: privacy-owner inventory --json, or receipts")
    send.add_sending(release)


def _restrict(arguments: argparse.Namespace, context: Context) -> int:
    select = selection_of(arguments, context)
    return _ask(arguments, context, "restrict", {"select": requests.as_claim(select), "ground": arguments.ground})


def _unrestrict(arguments: argparse.Namespace, context: Context) -> int:
    named = requests.require_command_id(arguments.freeze, what="RESTRICTION", where=_WHERE_IT_STANDS)
    return _ask(arguments, context, "unrestrict", {"restriction": named})


def _hold(arguments: argparse.Namespace, context: Context) -> int:
    select = selection_of(arguments, context)
    if not arguments.reason.strip():
        raise ConfigError("--reason is empty", hint="say for the owner of the camera why nothing may be deleted")
    until_ms = parse_until(arguments.until, now_ms=context.now_ms())
    if not context.now_ms() < until_ms <= context.now_ms() + HOLD_MAX_S * MS_PER_S:
        raise ConfigError(
            f"--until {arguments.until}: a hold ends ahead, and within 90 days; that is {when(until_ms)}",
            hint="for example --until 30d; whoever needs it longer gives it again later",
        )
    own = {"select": requests.as_claim(select), "reason": arguments.reason, "until": rfc3339_ms(until_ms)}
    return _ask(arguments, context, "hold", own)


def _release(arguments: argparse.Namespace, context: Context) -> int:
    named = requests.require_command_id(arguments.freeze, what="HOLD", where=_WHERE_IT_STANDS)
    return _ask(arguments, context, "release", {"hold": named})


def _ask(arguments: argparse.Namespace, context: Context, verb: str, own: dict[str, Any]) -> int:
    device = devices.pick(context.home, arguments.device)
    return ask(arguments, context, device, send.order(arguments, context, device, verb, own))
