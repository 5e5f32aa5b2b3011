"""``keygen`` and ``decrypt``: the age format for owners; they read and write what ``age`` and ``age-keygen`` do.

``agent/shell`` keeps the rules about files: whole or absent, 0600, a key file never overwritten.
"""

import argparse
import sys

from agent.owner.context import Context, add
from agent.owner.home import IDENTITY
from agent.shell import crypt, operand
from agent.shell.operand import STANDARD
from agent.shell.parser import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``keygen`` and ``decrypt``."""
    keygen = add(
        subparsers,
        "keygen",
        summary="make an age identity and tell its recipient",
        example="privacy-owner keygen --pq -o friend.key",
        run=_keygen,
    )
    keygen.add_argument("--pq", action="store_true", help="make a post-quantum key (mlkem768x25519)")
    keygen.add_argument("-o", "--output", default=STANDARD, metavar="OUT", help="new file, 0600 (default: stdout)")

    decrypt = add(
        subparsers,
        "decrypt",
        summary="open an age file with an identity",
        example="privacy-owner decrypt -o clip.mp4 clip.mp4.age",
        run=_decrypt,
    )
    decrypt.add_argument(
        "-i", "--identity", action="append", default=[], metavar="FILE", help="identity file (default: the home's)"
    )
    decrypt.add_argument("-o", "--output", default=STANDARD, metavar="OUT", help="file to write (default: stdout)")
    decrypt.add_argument("input", nargs="?", default=STANDARD, metavar="IN", help="file to read (default: stdin)")


def _keygen(arguments: argparse.Namespace, context: Context) -> int:
    made = crypt.make_key(post_quantum=arguments.pq, now_ms=context.now_ms())
    if arguments.output == STANDARD:
        context.say(made.file_text.rstrip("\n"), {"identity": made.secret, "recipient": made.recipient})
        if not sys.stdout.isatty():
            context.note(f"Public key: {made.recipient}")
        return 0
    operand.write_new(arguments.output, made.file_text.encode())
    context.say("", {"output": arguments.output, "recipient": made.recipient})
    context.note(f"Public key: {made.recipient}")
    return 0


def _decrypt(arguments: argparse.Namespace, context: Context) -> int:
    crypt.refuse_both_on_stdout(arguments.output, as_json=context.json)
    identities = crypt.read_identities(arguments.identity or [str(context.home.path / IDENTITY)])
    sizes = crypt.decrypt(identities, source=arguments.input, target=arguments.output)
    context.say("", {"output": arguments.output, "plain_bytes": sizes.plain_bytes})
    return 0
