"""``keygen`` and ``decrypt``: the age format for owners; they read and write what ``age`` and ``age-keygen`` do.

A file appears under its name only when it is complete; keys and opened files are 0600; an existing key file is kept.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent import age, files
from agent.age.armor import BEGIN
from agent.age.format import Reader
from agent.age.stream import Writer
from agent.clock import rfc3339_ms
from agent.errors import ConfigError, LinkError
from agent.owner.context import Context, Subparsers, add
from agent.owner.home import IDENTITY, read_file

_STANDARD: Final = "-"
_PEEK_BYTES: Final = 64


def add_parsers(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Register ``keygen`` and ``decrypt``."""
    keygen = add(
        subparsers,
        "keygen",
        summary="make an age identity and tell its recipient",
        example="privacy-owner keygen --pq -o friend.key",
    )
    keygen.add_argument("--pq", action="store_true", help="make a post-quantum key (mlkem768x25519)")
    keygen.add_argument("-o", "--output", default=_STANDARD, metavar="OUT", help="new file, 0600 (default: stdout)")
    keygen.set_defaults(run=_keygen)

    decrypt = add(
        subparsers,
        "decrypt",
        summary="open an age file with an identity",
        example="privacy-owner decrypt -o clip.mp4 clip.mp4.age",
    )
    decrypt.add_argument(
        "-i", "--identity", action="append", default=[], metavar="FILE", help="identity file (default: the home's)"
    )
    decrypt.add_argument("-o", "--output", default=_STANDARD, metavar="OUT", help="file to write (default: stdout)")
    decrypt.add_argument("input", nargs="?", default=_STANDARD, metavar="IN", help="file to read (default: stdin)")
    decrypt.set_defaults(run=_decrypt)


def _keygen(arguments: argparse.Namespace, context: Context) -> int:
    identity = age.generate_identity(post_quantum=arguments.pq)
    public = identity.recipient().to_text()
    text = age.write_identity_file(identity, created=rfc3339_ms(context.now_ms()))
    if arguments.output == _STANDARD:
        context.say(text.rstrip("\n"), {"identity": identity.to_text(), "recipient": public})
        if not sys.stdout.isatty():
            context.note(f"Public key: {public}")
        return 0
    path = Path(arguments.output)
    fd, part = _new_beside(path)
    try:
        with os.fdopen(fd, "wb") as target:
            target.write(text.encode())
            target.flush()
            os.fsync(target.fileno())
        path.hardlink_to(part)  # unlike a rename, this fails if the name is taken
    except FileExistsError:
        raise ConfigError(f"{path}: already exists and is never overwritten", hint="choose another name") from None
    finally:
        files.remove(part)
    context.say("", {"output": str(path), "recipient": public})
    context.note(f"Public key: {public}")
    return 0


def _decrypt(arguments: argparse.Namespace, context: Context) -> int:
    if context.json and arguments.output == _STANDARD:
        raise ConfigError("--json and the file would both go to stdout", hint="add -o FILE")
    identities: list[age.Identity] = []
    for name in arguments.identity or [str(context.home.path / IDENTITY)]:
        try:
            identities += age.parse_identity_file(read_file(Path(name)).decode("utf-8", "replace"))
        except ConfigError as error:
            named = error.message if name in error.message else f"{name}: {error.message}"
            raise ConfigError(named, hint=error.hint) from None
    with _source(arguments.input) as raw:
        peeked = bytearray(_PEEK_BYTES)
        start = bytes(peeked[: raw.readinto(memoryview(peeked)) or 0])
        whole = age.PrefixedReader(start, raw)
        source = age.ArmorReader(whole) if start.lstrip().startswith(BEGIN[:8]) else whole
        header, rest = age.read_header(source)
        file_key = age.unwrap_header(header, identities)
        with _target(arguments.output) as target:
            sizes = age.decrypt_stream(file_key, source, target, prefix=rest)
    context.say("", {"output": arguments.output, "plain_bytes": sizes.plain_bytes})
    return 0


@contextmanager
def _source(name: str) -> Iterator[Reader]:
    try:
        fd = os.dup(0) if name == _STANDARD else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        opened = os.fdopen(fd, "rb", buffering=0)  # refuses a folder
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}", hint="check the name and the permissions") from error
    with opened:
        yield opened


@contextmanager
def _target(name: str) -> Iterator[Writer]:
    if name == _STANDARD:
        if sys.stdout.isatty():
            raise ConfigError("what was sealed may be binary and this is a terminal", hint="add -o FILE")
        try:
            with os.fdopen(os.dup(1), "wb", buffering=0) as target:
                yield target
        except BrokenPipeError:
            raise LinkError("whoever read the output went away", hint="run it again") from None
        return
    path = Path(name)
    fd, part = _new_beside(path)
    try:
        with os.fdopen(fd, "wb", buffering=0) as target, files.translated_space():
            yield target
            os.fsync(target.fileno())
        files.settle(part, path)
    finally:
        files.remove(part, folder_synced=False)


def _new_beside(path: Path) -> tuple[int, Path]:
    if path.is_dir():
        raise ConfigError(f"{path}: this is a folder", hint="give the name of a file in it")
    try:
        return files.new_file(path.parent)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="check the folder and its permissions") from error
