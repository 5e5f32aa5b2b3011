"""``device`` and ``client``: whom we believe, and whom the devices shall believe."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import age
from agent.clock import MS_PER_S
from agent.envelope import Approvals, Descriptor, Key, KeySet, Quota, parse_descriptor
from agent.envelope.keyset import APPROVABLE, VERBS, Verb
from agent.errors import ConfigError, CorruptError
from agent.owner import device as devices
from agent.owner.context import Context, add
from agent.owner.home import DESCRIPTOR, quote, read_descriptor, read_file, write_file
from agent.owner.members import issue, with_member, with_verbs, without_member
from agent.owner.own import require_name, write_keys
from agent.owner.reach import add_broker_arguments, settings_from
from agent.shell.layout import clean, counted, size
from agent.shell.parser import Subparsers, group
from agent.shell.terminal import heading, table
from agent.shell.times import when

_DESCRIPTOR_BYTES = 64 << 10
_DESTROYING: Final[tuple[Verb, ...]] = ("delete", "erase-all", "end-service", "policy")
"""What ends recordings by itself: several clients say yes to all of it where no verb is named, for each does what a
delete does."""

_QUOTA: Final = re.compile(r"([1-9][0-9]{0,14}),([1-9][0-9]{0,14}),([1-9][0-9]{0,14})")


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``device add|list`` and ``client add|list|remove|new``."""
    device = group(
        subparsers,
        "device",
        summary="add the cameras and hubs that we command, and list them",
        example="privacy-owner device list",
    )
    one = add(
        device,
        "add",
        summary="take in a device's descriptor after comparing its fingerprint",
        example="privacy-owner device add device.jws --broker mqtts://mqtt.example:8883 --tenant acme --tls tls/owner",
        run=_device_add,
    )
    one.add_argument("descriptor", metavar="DESCRIPTOR", help="device.jws, which privacy-agent init wrote")
    one.add_argument("--accept", default="", metavar="FINGERPRINT", help="compared already: the fingerprint, not asked")
    add_broker_arguments(one)
    add(device, "list", summary="list the known devices", example="privacy-owner device list", run=_device_list)

    client = group(
        subparsers,
        "client",
        summary="say who may command the devices: the key set",
        example="privacy-owner client list",
    )
    one = add(
        client,
        "add",
        summary="sign a key set with one more member",
        example="privacy-owner client add phone.json",
        detail="The role stands in the descriptor: client, backend, store or time.",
        run=_client_add,
    )
    one.add_argument("descriptor", metavar="DESCRIPTOR", help="JSON descriptor of a client, backend, store or time")
    one.add_argument("--accept", default="", metavar="FINGERPRINT", help="it was compared already: do not ask")
    one.add_argument("--yes", action="store_true", help="do not ask: the fingerprint is compared afterwards")
    one.add_argument("--quota", default="", metavar="OBJECTS,BYTES,SECONDS", help="what a backend may do unasked")
    one.add_argument(
        "--grant", action="append", default=[], choices=VERBS, help="a verb beyond those of its role; repeatable"
    )
    _add_signing(one)
    add(client, "list", summary="list who is in the key set", example="privacy-owner client list", run=_client_list)
    one = add(
        client,
        "remove",
        summary="sign a key set without a member",
        example="privacy-owner client remove phone",
        run=_client_remove,
    )
    one.add_argument("name", metavar="NAME", help="name or key id, as client list shows it")
    one.add_argument("--yes", action="store_true", help="do not ask, even for the last client")
    _add_signing(one)
    one = add(
        client,
        "approvals",
        summary="sign a key set in which several clients have to say yes to what destroys",
        example="privacy-owner client approvals 2 --verb delete --verb erase-all",
        detail="The client that gives the command is one of them, the others approve it. 0 asks for nobody else again. "
        f"Without --verb it is about the verbs that it was about, else about {' '.join(_DESTROYING)}.",
        run=_client_approvals,
    )
    one.add_argument("need", metavar="N", type=int, help="how many of the owner's clients")
    one.add_argument(
        "--verb", action="append", default=[], choices=sorted(APPROVABLE), help="which, and no others; repeatable"
    )
    _add_signing(one)
    one = add(
        client,
        "grant",
        summary="sign a key set in which a member may do more: all that is usual for its role, and what is named",
        example="privacy-owner client grant phone hold release",
        detail="hold and release are nobody's unless they are granted: a hold binds the owner too.",
        run=_client_grant,
    )
    one.add_argument("name", metavar="NAME", help="name or key id, as client list shows it")
    one.add_argument(
        "verbs", nargs="*", metavar="VERB", choices=(*VERBS, []), help="for example hold; none: what this version added"
    )
    _add_signing(one)
    one = add(
        client,
        "new",
        summary="make a client's keys on this machine, for the owner to add",
        example="privacy-owner client new phone --out phone.json",
        detail="On the client's own machine; on the owner's with --home DIR, for a folder of its own.",
        run=_client_new,
    )
    one.add_argument("name", metavar="NAME", help="what the owner will see")
    one.add_argument("--out", default="", metavar="FILE", help="where to write the descriptor (default NAME.json)")
    one.add_argument("--classic", action="store_true", help="X25519 identity instead of a post-quantum one")
    add_broker_arguments(one)


def _add_signing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", default="", metavar="FILE", help="the root key, where it is kept offline")
    parser.add_argument("--out", default="", metavar="FILE", help="the new key set (default keyset-N.jws)")


# --- devices


def _device_add(arguments: argparse.Namespace, context: Context) -> int:
    path = Path(arguments.descriptor)
    context.home.require()
    raw = read_file(path, max_bytes=_DESCRIPTOR_BYTES)
    try:
        descriptor = parse_descriptor(raw)
    except CorruptError as error:
        raise ConfigError(f"{path}: {error.message}", hint="take device.jws as privacy-agent init wrote it") from error
    if descriptor.role != "device":
        raise ConfigError(
            f"{path}: describes a {descriptor.role}, not a device", hint=f"privacy-owner client add {quote(path)}"
        )
    _compare(arguments.accept, descriptor, context)
    settings = settings_from(arguments, context.home, device=descriptor.name)
    with context.home.locked():
        known = devices.add(context.home, raw, descriptor, first_seq=context.now_s())
        context.home.write_settings(settings)
    named, default = "", ""
    if settings.device != known.name:  # a command without --device would go to the other one
        named = f" --device {known.name}"
        default = f"\ndefault      {settings.device}: name this one with{named}"
    context.say(
        f"device       {known.name}\nfingerprint  {descriptor.fingerprint}{default}\n\n"
        f"next: privacy-owner inventory{named}{'' if settings.url else _WITHOUT_BROKER}",
        {"device": known.name, "fingerprint": descriptor.fingerprint, "kid": descriptor.kid},
    )
    return 0


_WITHOUT_BROKER: Final = (
    " --out ask.cmd, and on the device: privacy-agent submit ask.cmd -o ask.receipt\n"
    "      with a broker: the same again with --broker mqtts://HOST:8883 --tenant NAME --tls FOLDER"
)


def _compare(accepted: str, descriptor: Descriptor, context: Context, *, or_else: str = "") -> None:
    shown = descriptor.fingerprint
    if accepted:
        if "".join(accepted.split()).lower() != shown.replace(" ", ""):
            raise ConfigError(
                f"the descriptor's fingerprint is {shown}, not the accepted one",
                hint=f"do not add it; {_again(descriptor)}",
            )
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"{descriptor.name} has the fingerprint {shown}; nobody is here to compare it",
            hint=f'compare it with what the {descriptor.role} shows, then add --accept "FINGERPRINT"{or_else}',
        )
    print(f"{descriptor.role:<12} {clean(descriptor.name)}\nfingerprint  {shown}", file=sys.stderr)
    context.confirm(f"Does the {descriptor.role} show the same fingerprint?", yes=False, hint=_again(descriptor))


def _again(descriptor: Descriptor) -> str:
    what = "device.jws" if descriptor.role == "device" else "its descriptor"
    return f"fetch {what} again from the {descriptor.role} itself"


def _device_list(_arguments: argparse.Namespace, context: Context) -> int:
    known = devices.devices(context.home)
    default = context.home.settings().device
    rows = []
    facts: list[dict[str, Any]] = []
    for one in known:
        head, pending = one.head(), len(one.pending())
        mark = "*" if one.name == default else ""
        rows.append((f"{one.name}{mark}", one.descriptor.fingerprint, pending, head.seq if head is not None else "-"))
        facts.append(
            {
                "device": one.name,
                "fingerprint": one.descriptor.fingerprint,
                "pending": pending,
                "audit_head": head.seq if head is not None else 0,
                "default": one.name == default,
            }
        )
    empty = f"no device is known yet\n  next: {context.home.command('device add DEVICE.jws')}"
    context.say(table(rows, head=("DEVICE", "FINGERPRINT", "PENDING", "AUDIT"), right=(2, 3)) if rows else empty, facts)
    return 0


# --- members of the key set


def _current(context: Context) -> KeySet:
    current = context.home.key_set()
    if current is None:
        raise ConfigError(
            "this home holds no key set",
            hint=f"bring the newest one: {context.home.command('recover SHEET --keyset FILE')}",
        )
    return current


def _look(context: Context) -> str:
    """Return the command that shows who is in the key set."""
    return context.home.command("client list")


def _client_add(arguments: argparse.Namespace, context: Context) -> int:
    quota = _quota(arguments.quota) if arguments.quota else None
    descriptor = read_descriptor(Path(arguments.descriptor))
    if arguments.accept or not arguments.yes:
        _compare(
            arguments.accept, descriptor, context, or_else=", or --yes to compare it before the key set is submitted"
        )
    with context.home.locked():
        current = _current(context)
        keys = with_member(current, descriptor, quota=quota, grant=arguments.grant, look=_look(context))
        new, path = _sign(arguments, context, keys, current=current)
    first = "" if arguments.accept else f"compare the fingerprint with what the {descriptor.role} shows; then "
    told = f"added    {descriptor.role} {descriptor.name} {descriptor.fingerprint}"
    return _hand_out(context, new, path, told=told, first=first)


def _client_remove(arguments: argparse.Namespace, context: Context) -> int:
    with context.home.locked():
        current = _current(context)
        keys = without_member(current, arguments.name, look=_look(context))
        (gone,) = (key for key in current.keys if key not in keys)
        _confirm_removal(arguments, context, gone, keys)
        approvals = _still_possible(current.approvals, keys)
        new, path = _sign(arguments, context, keys, current=current, approvals=approvals)
    context.note(_lessened(approvals, before=current.approvals))
    return _hand_out(context, new, path, told=f"removed  {gone.role} {gone.name}")


def _client_approvals(arguments: argparse.Namespace, context: Context) -> int:
    need = arguments.need
    if need < 0:
        raise ConfigError(f"{need} clients cannot say yes", hint="give how many have to, or 0 for none but the sender")
    with context.home.locked():
        current = _current(context)
        standing = current.approvals.verbs if current.approvals is not None else _DESTROYING
        verbs = tuple(dict.fromkeys(arguments.verb)) or standing
        approvals = Approvals(need=need, verbs=verbs) if need else None
        if (could := _approvers(current.keys)) < need:
            raise ConfigError(
                f"{_have_to(need)}, and {could} could; nothing was signed",
                hint="add one first: on its machine privacy-owner client new NAME, then here "
                f"{context.home.command('client add NAME.json')}; or ask for fewer: "
                f"{context.home.command('client approvals N')}",
            )
        new, path = _sign(arguments, context, current.keys, current=current, approvals=approvals)
    return _hand_out(context, new, path, told=_rule(approvals))


def _rule(approvals: Approvals | None) -> str:
    if approvals is None:
        return "no command waits for a second client"
    return f"{' '.join(approvals.verbs)}: {_have_to(approvals.need)}"


def _have_to(need: int) -> str:
    return "1 client has to say yes" if need == 1 else f"{need} clients have to say yes"


def _lessened(left: Approvals | None, *, before: Approvals | None) -> str:
    """Say what a removal left of the rule, and what brings it back: its verbs are named, for they may be kept no more.

    "" where it left all of it.
    """
    if before is None or left == before:
        return ""
    words = " ".join(f"--verb {verb}" for verb in before.verbs)
    return (
        "as many clients as had to say yes are not left: "
        + (f"{left.need} have to now" if left is not None else "no command waits for a second client now")
        + "\n  next: add another one with privacy-owner client add, then: "
        f"privacy-owner client approvals {before.need} {words}"
    )


def _still_possible(approvals: Approvals | None, keys: Sequence[Key]) -> Approvals | None:
    """Return what can be asked for of those who are left: a rule must not keep a lost phone in the key set."""
    if approvals is None or approvals.need <= (could := _approvers(keys)):
        return approvals
    return msgspec.structs.replace(approvals, need=could) if could > 1 else None


def _approvers(keys: Sequence[Key]) -> int:
    """Return how many clients can say yes to a command of another."""
    return sum(key.role == "client" and "approve" in key.verbs for key in keys)


def _client_grant(arguments: argparse.Namespace, context: Context) -> int:
    with context.home.locked():
        current = _current(context)
        keys = with_verbs(current, arguments.name, arguments.verbs, look=_look(context))
        (now,) = (key for key in keys if arguments.name in {key.name, key.kid})
        new, path = _sign(arguments, context, keys, current=current)
    return _hand_out(context, new, path, told=f"granted  {now.role} {now.name}: {' '.join(now.verbs) or 'nothing'}")


_ENDS: Final = {
    "client": "it commands no device any more, wherever its key is",
    "backend": "it commands no device any more",
    "store": "nothing is uploaded to it, and its word on what it erased counts no more",
    "time": "its time is believed no more",
}


def _confirm_removal(arguments: argparse.Namespace, context: Context, gone: Key, left: Sequence[Key]) -> None:
    """Say what a removal ends and ask; the last client goes only with ``--yes``."""
    if gone.role == "client" and not any(key.role == "client" for key in left) and not arguments.yes:
        raise ConfigError(
            f"{clean(gone.name)} is the last client: without it nobody commands the devices; nothing was done",
            hint="add another one first: privacy-owner client new, then client add; or say it with --yes",
        )
    own = gone.kid == context.home.me().kid
    context.confirm(
        f"Remove {gone.role} {clean(gone.name)}{', which is this home itself' if own else ''}? "
        f"Where the new key set is in force, {_ENDS[gone.role]}.",
        yes=arguments.yes,
        hint=f"look first: {_look(context)}",
    )


def _sign(
    arguments: argparse.Namespace,
    context: Context,
    keys: Sequence[Key],
    *,
    current: KeySet,
    approvals: Approvals | Literal["as before"] | None = "as before",
) -> tuple[KeySet, Path]:
    root = context.home.root(Path(arguments.root).expanduser() if arguments.root else None)
    new = issue(keys, current=current, root=root, iat_s=context.now_ms() // MS_PER_S, approvals=approvals)
    path = Path(arguments.out or f"keyset-{new.version}.jws")
    write_file(path, new.raw + b"\n")
    context.home.keep_key_set(new)
    return new, path


def _hand_out(context: Context, new: KeySet, path: Path, *, told: str, first: str = "") -> int:
    context.say(
        f"{told}\nversion  {new.version}, {counted(len(new.keys), 'key')}\n\n"
        f"next: {first}on each device, and in this order if there are several: privacy-agent submit {quote(path)}",
        {"version": new.version, "keys": len(new.keys), "file": str(path)},
    )
    return 0


def _client_list(_arguments: argparse.Namespace, context: Context) -> int:
    current = _current(context)
    rows, facts = [], []
    for key in current.keys:
        quota = key.quota
        limit = f"{quota.objects} / {size(quota.bytes)} / {quota.window_s // 3600} h" if quota is not None else "-"
        rows.append((key.name, key.role, limit, key.kid, " ".join(key.verbs) or "-"))
        facts.append(
            {
                "name": key.name,
                "role": key.role,
                "verbs": key.verbs,
                "kid": key.kid,
                "recipient": key.recipient,
                "quota": quota,
            }
        )
    head = heading(f"key set version {current.version}, signed {when(current.iat * MS_PER_S)}")
    context.say(
        f"{head}\n{_rule(current.approvals)}\n\n{table(rows, head=('NAME', 'ROLE', 'QUOTA', 'KEY', 'VERBS'))}",
        {"version": current.version, "approvals": current.approvals, "keys": facts},
    )
    return 0


def _client_new(arguments: argparse.Namespace, context: Context) -> int:
    settings = settings_from(arguments, context.home)
    require_name(arguments.name)
    if context.home.exists:
        raise ConfigError(
            f"{context.home.path}: there are keys here already, and a client has a folder of its own",
            hint=f"do it on that client's machine; on this one: privacy-owner --home DIR client new {arguments.name}",
        )
    out = Path(arguments.out or f"{arguments.name}.json")
    write_keys(
        context.home,
        name=arguments.name,
        root=None,
        client=Ed25519PrivateKey.generate(),
        identity=age.generate_identity(post_quantum=not arguments.classic),
        made_ms=context.now_ms(),
    )
    context.home.write_settings(settings)
    me = context.home.me()
    write_file(out, read_file(context.home.path / DESCRIPTOR))
    context.say(
        f"client       {me.name}\nfingerprint  {me.fingerprint}\n\n"
        f"next: give {out} to the owner, who compares the fingerprint and runs: privacy-owner client add {quote(out)}",
        {"client": me.kid, "fingerprint": me.fingerprint, "file": str(out)},
    )
    return 0


def _quota(text: str) -> Quota:
    match = _QUOTA.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is no quota", hint="three whole numbers: objects,bytes,seconds")
    objects, bytes_, window_s = map(int, match.groups())
    return Quota(objects=objects, bytes=bytes_, window_s=window_s)
