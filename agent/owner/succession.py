"""``replace-root``: a root that was lost, or may be in other hands, hands over to a new one; the sheet has its key.

The home is made anew with a new root, a first client that follows from it and a new sheet; the identity stays, so that
what was recorded opens still. The former home is moved aside, never overwritten.
"""

import argparse
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.clock import MS_PER_S
from agent.envelope import Descriptor, KeySet, public_jwk, sign, succession_claims, thumbprint
from agent.envelope.jws import alg_of
from agent.envelope.kinds import TYP_SUCCESSION
from agent.errors import ConfigError
from agent.owner import device as devices
from agent.owner import home as place
from agent.owner.context import Context, add
from agent.owner.home import quote, read_file, write_file
from agent.owner.members import entry, signer, succeed
from agent.owner.own import brought, name_of, owner_of, read_typed_sheet, write_keys, write_new_sheet, write_owner_file
from agent.owner.sheet import Recovered, first_client
from agent.shell.layout import counted
from agent.shell.parser import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``replace-root``."""
    replace = add(
        subparsers,
        "replace-root",
        summary="let a new root take the place of one that was lost, with the recovery sheet's key",
        example="privacy-owner replace-root typed.txt",
        detail="The former root, and this home's client that followed from it, command no device afterwards.",
        run=_replace,
    )
    replace.add_argument("sheet", metavar="SHEET", help="text file with the R and I lines of the sheet")
    replace.add_argument("--keyset", metavar="FILE", help="the newest key set (default: the home's)")
    replace.add_argument("--out", default="", metavar="FILE", help="the hand-over (default succession-N.jws)")
    replace.add_argument("--yes", action="store_true", help="do not ask")


def _replace(arguments: argparse.Namespace, context: Context) -> int:
    found = read_typed_sheet(Path(arguments.sheet))
    current = _current(arguments, context, found)
    own_file = context.home.path / place.OWNER_FILE
    at_hand = Path(arguments.keyset) if arguments.keyset else own_file if own_file.exists() else None
    name = name_of(found, at_hand)
    context.confirm(
        "Make a new root in place of the sheet's? The sheet, and this home's client, are of no use then.",
        yes=arguments.yes,
        hint="to have the same root back in a home: privacy-owner recover",
    )
    known = [] if not context.home.exists else list(devices.devices(context.home))
    raws = [read_file(one.folder / "descriptor.jws") for one in known]
    settings = context.home.settings()
    aside = context.home.move_aside()
    made_ms = context.now_ms()
    root = Ed25519PrivateKey.generate()
    client = first_client(root)
    write_keys(context.home, name=name, root=root, client=client, identity=found.identity, made_ms=made_ms)
    owner = owner_of(name, root, found.identity)
    former = current.key(thumbprint(public_jwk(found.client)))
    me = entry(context.home.me())
    if former is not None:  # what it was granted, its successor has
        me = msgspec.structs.replace(me, verbs=former.verbs, quota=former.quota)
    keys = (me, *(key for key in current.keys if key != former))
    new = succeed(keys, current=current, root=root, iat_s=made_ms // MS_PER_S)
    write_new_sheet(context.home, owner, root=root, identity=found.identity, made_ms=made_ms)
    context.home.keep_key_set(new)
    context.home.write_settings(settings)
    write_owner_file(context.home, owner, new)
    for raw, one in zip(raws, known, strict=True):
        devices.add(context.home, raw, one.descriptor, first_seq=context.now_s())
    path = Path(arguments.out or f"succession-{new.version}.jws")
    write_file(path, _statement(found, owner, iat_s=made_ms // MS_PER_S) + b"\n" + new.raw + b"\n")
    context.say(
        f"owner        {owner.name}\n"
        f"fingerprint  {owner.fingerprint}\n"
        f"version      {new.version}, {counted(len(new.keys), 'key')}\n"
        f"former home  {aside or '-'}\n"
        f"\nnext: on each device: privacy-agent submit {quote(path)}\n"
        f"      print {context.home.path / 'recovery-sheet.txt'}, burn the former sheet, delete the file (shred -u)",
        {
            "fingerprint": owner.fingerprint,
            "version": new.version,
            "file": str(path),
            "moved_aside": str(aside) if aside else "",
        },
    )
    return 0


def _current(arguments: argparse.Namespace, context: Context, found: Recovered) -> KeySet:
    """Return the newest key set that the sheet's root signed; raises ``ConfigError``."""
    if arguments.keyset:
        return brought(Path(arguments.keyset), found.root)
    current = context.home.key_set() if context.home.exists else None
    if current is None:
        raise ConfigError("this home holds no key set", hint="bring the newest one: --keyset FILE")
    if current.root != public_jwk(found.root):
        raise ConfigError("the sheet is not of this home's owner", hint="type the sheet that was printed for it")
    return current


def _statement(found: Recovered, owner: Descriptor, *, iat_s: int) -> bytes:
    jwk = public_jwk(found.root)
    claims: dict[str, Any] = succession_claims(owner, root_jwk=jwk, iat=iat_s)
    return sign(claims, typ=TYP_SUCCESSION, kid=thumbprint(jwk), alg=alg_of(jwk), sign=signer(found.root))
