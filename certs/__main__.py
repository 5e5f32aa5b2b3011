"""The shell command: `python -m certs init|issue|renew|revoke|show`.

Exit 0 done, 1 not possible (what and the next step on stderr), 2 wrong usage. The clock is read here and nowhere else
in the package.
"""

import argparse
import datetime as dt
import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from certs.authority import KINDS, Kind, checked_name, checked_san
from certs.errors import CertsError, UsageError
from certs.folder import DUE_WITHIN, Folder, Issued, move

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

Clock = Callable[[], dt.datetime]
_BROKEN_PIPE: Final = 141  # what a shell shows for SIGPIPE
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_MAX_DAYS: Final = 3652
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"))


def system_clock() -> dt.datetime:
    """Return the time in UTC, whole seconds as certificates have them."""
    return dt.datetime.now(tz=dt.UTC).replace(microsecond=0)  # noqa: TID251 - the one place here that reads it


def main(argv: Sequence[str] | None = None, *, clock: Clock = system_clock) -> int:
    """Run one command; returns the exit code, also where nobody reads what it says or there is no room for it."""
    try:
        try:
            return _run(argv, clock=clock)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _say_no_more()
        return _BROKEN_PIPE
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _say_no_more()
        full = CertsError("no room for what this command writes", hint="make room, or send its output elsewhere")
        return _complain(full, as_json=False)


def _say_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left unsaid goes there when the process ends


def _run(argv: Sequence[str] | None, *, clock: Clock) -> int:
    args, unknown = _parser().parse_known_args(argv)
    if unknown:
        args.meant.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        lines: list[dict[str, object]] = args.run(args, clock())
    except CertsError as error:
        return _complain(error, as_json=args.json)
    except OSError as error:
        wrong = CertsError(str(error), hint="check the path, its permissions and free space")
        return _complain(wrong, as_json=args.json)
    if args.json:
        sys.stdout.buffer.write(msgspec.json.encode(lines) + b"\n")
    else:
        args.tell(args, lines)
    return 0


def _complain(error: CertsError, *, as_json: bool) -> int:
    """Tell what is wrong and the next step; with ``--json`` in the form of all shell commands of this project too."""
    print(f"certs: {error}", file=sys.stderr)
    if as_json:
        told = {"kind": "ConfigError", "message": error.message, "hint": error.hint}
        sys.stdout.buffer.write(msgspec.json.encode({"error": told}) + b"\n")
    return 2 if isinstance(error, UsageError) else 1


# -- commands: each returns what --json prints -------------------------------------------------------------------------

Lines = list[dict[str, object]]


def _init(args: argparse.Namespace, now: dt.datetime) -> Lines:
    path: Path = args.dir.absolute()
    names: list[tuple[str, Kind]] = [("broker", "broker"), ("backend", "backend"), ("owner", "owner")]
    names += [(checked_name(name), "device") for name in args.device or ["device"]]
    if len({name for name, _ in names}) != len(names):
        raise CertsError("two identities with the same name", hint="give each --device its own name")
    for san in args.san:
        checked_san(san)
    _make_room(path, force=args.force, now=now)
    fresh = path.with_name(f".{path.name}.new-{now:%Y%m%d%H%M%S}")
    folder = Folder.create(fresh, now=now)
    for name, kind in names:
        folder.issue(name, kind=kind, sans=args.san if kind == "broker" else (), now=now)
    move(fresh, path)
    with Folder.opened(path) as made:
        return _table(made, now=now, every=False)


def _make_room(path: Path, *, force: bool, now: dt.datetime) -> None:
    """See that nothing stands at ``path``; a CA that does is moved aside with ``force``, never removed."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / "ca.crt").is_file():
        raise CertsError(f"{path} is not empty and holds no CA", hint="choose another folder")
    if not force:
        raise CertsError(
            f"{path} holds a CA already; nothing was changed",
            hint=f"python -m certs issue {path} NAME   (or init --force: the present one is moved aside)",
        )
    aside = path.with_name(f"{path.name}.replaced-{now:%Y%m%d%H%M%S}")
    move(path, aside)
    print(f"certs: the former CA is now {aside}", file=sys.stderr)


def _issue(args: argparse.Namespace, now: dt.datetime) -> Lines:
    with Folder.opened(args.dir) as folder:
        lifetime = dt.timedelta(days=args.days) if args.days else None
        issued = folder.issue(args.name, kind=args.kind, sans=args.san, lifetime=lifetime, force=args.force, now=now)
        return [_line(issued, now=now)]


def _renew(args: argparse.Namespace, now: dt.datetime) -> Lines:
    wants_certificates = bool(args.name or args.due or args.rekey)
    if wants_certificates == args.crl or not (args.name or args.due or args.crl):
        raise UsageError(
            "the revocation list alone, or certificates with it?" if args.crl else "which certificates?",
            hint=f"python -m certs renew {args.dir} NAME…   (or --due: those that end soon; or --crl: only the list)",
        )
    with Folder.opened(args.dir) as folder:
        names = list(dict.fromkeys([*args.name, *(folder.due(now=now) if args.due else [])]))
        lines = [_line(folder.renew(name, rekey=args.rekey, now=now), now=now) for name in names]
        if not lines:  # each renewal signs the list anew
            folder.refresh_crl(now=now)
        return [*lines, _crl_line(folder, now=now)]


def _revoke(args: argparse.Namespace, now: dt.datetime) -> Lines:
    with Folder.opened(args.dir) as folder:
        gone = folder.revoke(args.name, key_compromise=args.compromised, now=now)
        return [*(_line(one, now=now) for one in gone), _crl_line(folder, now=now)]


def _show(args: argparse.Namespace, now: dt.datetime) -> Lines:
    with Folder.opened(args.dir) as folder:
        return _table(folder, now=now, every=args.all)


# -- what people and programs read -------------------------------------------------------------------------------------


def _table(folder: Folder, *, now: dt.datetime, every: bool) -> Lines:
    index = folder.index
    rows = index.certificates if every else {c.name: c for c in index.certificates}.values()
    ca = folder.authority.certificate
    own = _entry("ca", "ca", f"{ca.serial_number:x}", ca.not_valid_after_utc, now=now)
    return [own, _crl_line(folder, now=now), *(_line(one, now=now) for one in rows)]


def _line(one: Issued, *, now: dt.datetime) -> dict[str, object]:
    revoked = one.revoked_at.isoformat() if one.revoked_at else None
    return {**_entry(one.name, one.kind, one.serial, one.not_after, now=now), "revoked": revoked}


def _crl_line(folder: Folder, *, now: dt.datetime) -> dict[str, object]:
    crl = folder.crl
    end = crl.next_update_utc
    if end is None:
        raise CertsError("crl.pem has no end", hint=f"python -m certs renew {folder.path} --crl")
    return _entry("crl.pem", "crl", str(folder.index.crl_number), end, now=now)


def _entry(name: str, kind: str, serial: str, end: dt.datetime, *, now: dt.datetime) -> dict[str, object]:
    left_s = round((end - now).total_seconds())
    return {
        "name": name,
        "kind": kind,
        "serial": serial,
        "expires": end.isoformat(),
        "expires_in_s": left_s,
        "revoked": None,
    }


def _span(seconds: int) -> str:
    size = abs(seconds)
    unit_s, unit = next((u for u in _UNITS if size >= u[0]), _UNITS[-1])
    text = f"{size // unit_s} {unit}"
    return text if seconds > 0 else f"ended {text} ago"


def _tell_table(_: argparse.Namespace, lines: Lines) -> None:
    head = ("name", "kind", "expires in", "revoked", "serial")
    rows = [head]
    for line in lines:
        left = line["expires_in_s"]
        mark = " (soon)" if isinstance(left, int) and 0 < left < DUE_WITHIN.total_seconds() else ""
        span = _span(left) + mark if isinstance(left, int) else ""
        rows.append((str(line["name"]), str(line["kind"]), span, str(line["revoked"] or "-")[:10], str(line["serial"])))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _tell_init(args: argparse.Namespace, lines: Lines) -> None:
    _tell_table(args, lines)
    print(f"\nThe broker reads {args.dir}/broker (tls.crt, tls.key, ca.crt) and {args.dir}/crl.pem.")
    print(f'A device gets its own folder: in agent.toml, [broker] identity = "{args.dir}/NAME".')
    print(f"{args.dir}/ca.key can make any identity: keep it off the machines that use them.")


def _tell_signed(args: argparse.Namespace, lines: Lines) -> None:
    _tell_table(args, lines)
    print("\nA running agent takes up a renewed certificate by itself; mosquitto on SIGHUP.")


def _tell_revoked(args: argparse.Namespace, lines: Lines) -> None:
    _tell_table(args, lines)
    print(
        f"\nCopy {args.dir}/crl.pem to the broker. mosquitto reads it on SIGHUP; a restart also ends open connections."
    )


# -- arguments ---------------------------------------------------------------------------------------------------------


def _days(raw: str) -> int:
    days = int(raw)
    if not 1 <= days <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"between 1 and {_MAX_DAYS}")
    return days


class _Parser(argparse.ArgumentParser):
    """Remembers which command was meant; its sub-commands are made of the same class."""

    def __init__(self, **told: Any) -> None:  # noqa: ANN401 - argparse's own arguments
        super().__init__(**told)
        self.set_defaults(meant=self)  # the innermost command's stands in the end

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Print the help; argparse would keep to itself that there is no room for it, or nobody who reads it."""
        (file or sys.stderr).write(message)


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m certs",
        description=(
            "TLS identities for the broker, the backend, owners and devices: a CA in a folder, one sub-folder each."
        ),
        epilog="example:  python -m certs init tls --san mqtt.example.org --device cam-1",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"%(prog)s {version('camera-privacy-agent')}",
        help="tell the version and end",
    )
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", help="one of these; each has a --help of its own"
    )

    init = _command(
        commands,
        "init",
        _init,
        _tell_init,
        "make a CA and the first identities",
        example="init tls --device cam-1 --device cam-2",
    )
    init.add_argument("--san", action="append", default=[], help="another address of the broker; may be repeated")
    init.add_argument("--device", action="append", metavar="NAME", help="a device's name; may be repeated")
    init.add_argument("--force", action="store_true", help="move a CA that is there aside and make a new one")

    issue = _command(
        commands, "issue", _issue, _tell_signed, "make one more identity, with its key", example="issue tls cam-7"
    )
    issue.add_argument("name", metavar="NAME", help="becomes the common name: the {device} of the topics")
    issue.add_argument("--kind", choices=KINDS, default="device", help="what it is for (default: device)")
    issue.add_argument("--san", action="append", default=[], help="an address of a broker; may be repeated")
    issue.add_argument("--days", type=_days, help="lifetime; default 730 for a device, else 397")
    issue.add_argument("--force", action="store_true", help="replace an identity and its key")

    renew = _command(
        commands,
        "renew",
        _renew,
        _tell_signed,
        "make new certificates and a new revocation list",
        example="renew tls --due",
    )
    renew.add_argument("name", metavar="NAME", nargs="*", help="an identity that gets a new certificate")
    renew.add_argument("--due", action="store_true", help=f"all that end within {DUE_WITHIN.days} days; fit for cron")
    renew.add_argument("--crl", action="store_true", help="only the revocation list")
    renew.add_argument("--rekey", action="store_true", help="with a new key")

    revoke = _command(
        commands,
        "revoke",
        _revoke,
        _tell_revoked,
        "let an identity's certificates count no more",
        example="revoke tls cam-7",
    )
    revoke.add_argument("name", metavar="NAME", help="whose certificates, all that still count")
    revoke.add_argument("--compromised", action="store_true", help="say in the list that the key was stolen")

    show = _command(
        commands, "show", _show, _tell_table, "list the identities and how long they last", example="show tls"
    )
    show.add_argument("--all", action="store_true", help="former certificates too")
    return parser


def _command(
    commands: "argparse._SubParsersAction[_Parser]",
    name: str,
    run: Callable[[argparse.Namespace, dt.datetime], Lines],
    tell: Callable[[argparse.Namespace, Lines], None],
    text: str,
    *,
    example: str,
) -> _Parser:
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=f"example:  python -m certs {example}",
        allow_abbrev=False,
    )
    parser.add_argument("dir", metavar="DIR", type=Path, help="the CA's folder")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run, tell=tell)
    return parser


if __name__ == "__main__":
    sys.exit(main())
