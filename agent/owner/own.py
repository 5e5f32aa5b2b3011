"""``init``, ``recover``: the owner's keys made, or typed back.

Order of init: keys, then key set, then ``owner.pub``; a home without ``owner.pub`` is unfinished and says so.
"""

import argparse
import shlex
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import age
from agent.clock import MS_PER_S, rfc3339_ms
from agent.envelope import Descriptor, KeySet, encode, parse_descriptor, public_jwk
from agent.errors import ConfigError, CorruptError
from agent.owner import home as place
from agent.owner.context import Context, add
from agent.owner.home import Home, quote, read_descriptor, read_file, recovered_key_set, write_key
from agent.owner.members import entry, issue
from agent.owner.reach import add_broker_arguments, settings_from
from agent.owner.sheet import Recovered, first_client, read_sheet, write_sheet
from agent.shell.layout import clean, counted
from agent.shell.parser import Subparsers

_NAME_MAX: Final = 100
_SHEET_BYTES: Final = 64 << 10


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``init`` and ``recover``."""
    init = add(
        subparsers,
        "init",
        summary="make the owner's keys, the first key set and the recovery sheet",
        example="privacy-owner init --name 'Ada Example' --backend backend.json --store store.json",
        run=_init,
    )
    init.add_argument("--name", default="owner", help="who owns the cameras; written into the descriptor")
    init.add_argument("--backend", action="append", default=[], metavar="FILE", help="descriptor of a backend")
    init.add_argument("--store", action="append", default=[], metavar="FILE", help="descriptor of a store")
    init.add_argument("--classic", action="store_true", help="X25519 identity instead of a post-quantum one")
    init.add_argument("--force", action="store_true", help="move an existing home aside and make a new owner")
    add_broker_arguments(init)

    recover = add(
        subparsers,
        "recover",
        summary="rebuild the home from a typed recovery sheet",
        example="privacy-owner recover typed.txt --keyset keyset-3.jws",
        run=_recover,
    )
    recover.add_argument("sheet", metavar="SHEET", help="text file with the R and I lines")
    recover.add_argument(
        "--keyset", metavar="FILE", help="the newest key set, or owner.pub if it is the only one; also later"
    )
    recover.add_argument("--force", action="store_true", help="move an existing home aside first")


_NAMELESS: Final = "owner"
_COMPARE: Final = (
    "  0. compare each fingerprint with what that backend or store shows its operator: it may delete, or gets the\n"
    "     uploads. One that differs: begin again with --force and the true file\n"
)


def _init(arguments: argparse.Namespace, context: Context) -> int:
    members = [read_descriptor(Path(name)) for name in (*arguments.backend, *arguments.store)]
    _require_roles(arguments, members)
    settings = settings_from(arguments, context.home)
    require_name(arguments.name)
    aside = context.home.move_aside() if arguments.force else None
    root = Ed25519PrivateKey.generate()
    identity = age.generate_identity(post_quantum=not arguments.classic)
    made_ms = context.now_ms()
    client = first_client(root)
    write_keys(context.home, name=arguments.name, root=root, client=client, identity=identity, made_ms=made_ms)
    me = context.home.me()
    keys = issue([entry(me), *(entry(one) for one in members)], current=None, root=root, iat_s=made_ms // MS_PER_S)
    owner = owner_of(arguments.name, root, identity)
    write_new_sheet(context.home, owner, root=root, identity=identity, made_ms=made_ms)
    context.home.write_settings(settings)
    context.home.keep_key_set(keys)
    path = write_owner_file(context.home, owner, keys)
    facts = {
        "home": str(context.home.path),
        "owner_file": str(path),
        "fingerprint": owner.fingerprint,
        "recipient": owner.recipient,
        "client": me.kid,
        "members": [{"role": one.role, "name": one.name, "fingerprint": one.fingerprint} for one in members],
        "sheet": str(context.home.path / place.SHEET),
        "moved_aside": str(aside) if aside else "",
    }
    context.say(
        f"owner        {owner.name}\n"
        f"fingerprint  {owner.fingerprint}\n"
        f"home         {context.home.path}\n"
        + "".join(f"{one.role:<12} {clean(one.name)}  {one.fingerprint}\n" for one in members)
        + f"\nnext:\n{_COMPARE if members else ''}"
        f"  1. print {context.home.path / place.SHEET}, hide the paper, delete the file (shred -u)\n"
        f"  2. on the device: privacy-agent init --owner {quote(path)}\n"
        f"  3. here again:    {context.home.command('device add DEVICE.jws')}\n"
        f"The root key ({place.ROOT}) is needed only to change who may command: keep it offline.",
        facts,
    )
    return 0


def _recover(arguments: argparse.Namespace, context: Context) -> int:
    found = read_typed_sheet(Path(arguments.sheet))
    keys = brought(Path(arguments.keyset), found.root) if arguments.keyset else None
    name = name_of(found, Path(arguments.keyset) if arguments.keyset else None)
    owner = owner_of(name, found.root, found.identity)
    if arguments.force:
        context.home.move_aside()
    elif keys is not None and context.home.is_owners and context.home.owner().jwk == owner.jwk:
        return _bring(keys, context)
    made_ms = context.now_ms()
    write_keys(context.home, name=name, root=found.root, client=found.client, identity=found.identity, made_ms=made_ms)
    if keys is not None:
        context.home.keep_key_set(keys)
    path = write_owner_file(context.home, owner, keys)
    again = context.home.command(f"recover {shlex.quote(arguments.sheet)} --keyset FILE")
    first = _first_step(keys, context.home)
    then = f"\n  to change who may command, bring the newest key set: {again}" if keys is None else ""
    context.say(
        f"owner        {owner.name}\n"
        f"fingerprint  {owner.fingerprint}   (compare it with the sheet)\n"
        f"home         {context.home.path}\n"
        f"\nnext:\n{first}  {context.home.command('device add DEVICE.jws')}, for each device{then}\n"
        "If the lost machine may be in other hands: make a new client elsewhere (privacy-owner client new), add it,\n"
        "and remove this one from the key set, for whoever holds that machine holds this client's key.",
        {
            "home": str(context.home.path),
            "owner_file": str(path),
            "fingerprint": owner.fingerprint,
            "key_set": keys.version if keys is not None else 0,
        },
    )
    return 0


def _bring(keys: KeySet, context: Context) -> int:
    """Give a home that was recovered without a key set its newest one; nothing else in it changes.

    If power fails between the two files the same again writes both.
    """
    home = context.home
    home.require()
    with home.locked():
        owner, held = home.owner(), home.key_set()
        if held is not None and held.sha256 != keys.sha256:
            raise ConfigError(
                f"{home.path}: key set version {held.version} is here already, and this is another one, version "
                f"{keys.version}; nothing was changed",
                hint=f"look first: {home.command('client list')}; then, if this one is newer, --force, which moves the "
                f"home aside: its devices are added again with {home.command('device add')}",
            )
        home.keep_key_set(keys)
        path = home.path / place.OWNER_FILE
        if not read_file(path).partition(b"\n")[2]:
            write_owner_file(home, owner, keys)
    context.say(
        f"owner        {owner.name}\n"
        f"fingerprint  {owner.fingerprint}\n"
        f"home         {home.path}\n"
        f"key set      version {keys.version}, {counted(len(keys.keys), 'key')}\n"
        f"\nnext:\n{_first_step(keys, home)}  {home.command('client list')}",
        {
            "home": str(home.path),
            "owner_file": str(path),
            "fingerprint": owner.fingerprint,
            "key_set": keys.version,
        },
    )
    return 0


def _first_step(keys: KeySet | None, home: Home) -> str:
    """Say what comes before all else where the key set that was brought knows this home's client no more.

    "" where it knows it, and where none was brought: then nobody can tell. It was taken out by somebody, perhaps for
    good reason, so that is said with it.
    """
    if keys is None or keys.key(home.me().kid) is not None:
        return ""
    descriptor = quote((home.path / place.DESCRIPTOR).absolute())
    return (
        "  this client is in no key of that key set, and no device obeys it. If it was not taken out on purpose:\n"
        f"  {home.command(f'client add {descriptor}')}\n"
    )


def read_typed_sheet(path: Path) -> Recovered:
    """Read what a person typed of a sheet; raises ``ConfigError`` that names the file and the line."""
    raw = read_file(path, max_bytes=_SHEET_BYTES)
    try:
        return read_sheet(raw.decode("utf-8", "replace"))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None


def _require_roles(arguments: argparse.Namespace, members: list[Descriptor]) -> None:
    wanted = ["backend"] * len(arguments.backend) + ["store"] * len(arguments.store)
    for name, role, descriptor in zip((*arguments.backend, *arguments.store), wanted, members, strict=True):
        if descriptor.role != role:
            raise ConfigError(
                f"{name}: describes a {descriptor.role}, not a {role}", hint=f"give it as --{descriptor.role}"
            )


def require_name(name: str) -> None:
    """Raise ``ConfigError`` for a name that no descriptor may hold."""
    if not 1 <= len(name) <= _NAME_MAX or not name.isprintable():
        raise ConfigError("the name is empty, too long or holds control characters", hint="give 1 to 100 characters")


def write_keys(
    home: Home,
    *,
    name: str,
    root: Ed25519PrivateKey | None,
    client: Ed25519PrivateKey,
    identity: age.Identity,
    made_ms: int,
) -> None:
    """Make the home and put the keys into it; a client's home has no ``root``."""
    home.create()
    if root is not None:
        write_key(home.path / place.ROOT, root)
    write_key(home.path / place.CLIENT, client)
    home.write(place.IDENTITY, age.write_identity_file(identity, created=rfc3339_ms(made_ms)).encode())
    me = _describe("client", name, client, identity)
    home.write(place.DESCRIPTOR, me)


def _describe(role: str, name: str, key: Ed25519PrivateKey, identity: age.Identity) -> bytes:
    claims = {
        "v": 1,
        "role": role,
        "name": name,
        "jwk": public_jwk(key),
        "alg": "EdDSA",
        "recipient": identity.recipient().to_text(),
    }
    return encode(claims) + b"\n"


def owner_of(name: str, root: Ed25519PrivateKey, identity: age.Identity) -> Descriptor:
    """Return the descriptor of the owner whose root this is."""
    return parse_descriptor(_describe("owner", name, root, identity))


def write_owner_file(home: Home, owner: Descriptor, keys: KeySet | None) -> Path:
    """Write ``owner.pub``: what a device is initialised with."""
    return home.write(place.OWNER_FILE, msgspec.json.encode(owner) + b"\n" + (keys.raw + b"\n" if keys else b""))


def write_new_sheet(
    home: Home, owner: Descriptor, *, root: Ed25519PrivateKey, identity: age.Identity, made_ms: int
) -> None:
    """Write the sheet to be printed; it holds both secrets."""
    text = write_sheet(
        root,
        identity,
        name=owner.name,
        fingerprint=owner.fingerprint,
        made=rfc3339_ms(made_ms),
        file=str(home.path / place.SHEET),
    )
    home.write(place.SHEET, text.encode())


def name_of(found: Recovered, path: Path | None) -> str:
    """Return the owner's name: as it was typed, else as the ``owner.pub`` that was brought has it, else ``owner``."""
    raw = b"" if path is None or found.name else read_file(path).partition(b"\n")[0]
    if not raw.startswith(b"{"):
        return found.name or _NAMELESS
    try:
        descriptor = parse_descriptor(raw)
    except CorruptError:
        return _NAMELESS
    return descriptor.name if descriptor.jwk == public_jwk(found.root) else _NAMELESS


def brought(path: Path, root: Ed25519PrivateKey) -> KeySet:
    """Read a key set of this root from a file, or from an ``owner.pub``; raises ``ConfigError``."""
    raw = read_file(path)
    if raw.startswith(b"{"):
        raw = raw.partition(b"\n")[2]
    return recovered_key_set(raw.strip(), root_jwk=public_jwk(root), path=path)
