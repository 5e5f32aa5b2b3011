"""``encrypt``, ``decrypt`` and ``keygen``: the age format on the shell, for tests, tools and owners.

They read and write what ``age`` and ``age-keygen`` do; ``agent/shell`` keeps the rules about files. Start-up counts as
much as the cipher does, so a module is imported by the command that needs it.
"""

import argparse
import sys

from agent.age.stream import Sizes, Writer
from agent.errors import ConfigError
from agent.shell import crypt, operand
from agent.shell.operand import STANDARD
from agent.shell.parser import Subparsers, add
from agent.shell.terminal import Progress


def add_parsers(subparsers: Subparsers) -> None:
    """Register the three commands; each sets ``run``, which takes the parsed arguments and returns the exit code."""
    encrypt = add(
        subparsers,
        "encrypt",
        summary="seal a file to age recipients",
        example="privacy-agent encrypt -r age1pq1… -o clip.mp4.age clip.mp4",
        run=_encrypt,
    )
    encrypt.add_argument(
        "-r", "--recipient", action="append", default=[], metavar="RECIPIENT", help="age1… or age1pq1…; repeatable"
    )
    encrypt.add_argument(
        "-R",
        "--recipients-file",
        action="append",
        default=[],
        metavar="FILE",
        help="one recipient per line; repeatable",
    )
    encrypt.add_argument("-a", "--armor", action="store_true", help="write text instead of binary")
    _add_files(encrypt)

    decrypt = add(
        subparsers,
        "decrypt",
        summary="open an age file with an identity",
        example="privacy-agent decrypt -i owner.key -o clip.mp4 clip.mp4.age",
        run=_decrypt,
    )
    decrypt.add_argument(
        "-i",
        "--identity",
        action="append",
        required=True,
        metavar="IDENTITY-FILE",
        help="file with AGE-SECRET-KEY-…; repeatable",
    )
    _add_files(decrypt)

    keygen = add(
        subparsers,
        "keygen",
        summary="make an age identity and tell its recipient",
        example="privacy-agent keygen --pq -o owner.key",
        run=_keygen,
    )
    keygen.add_argument("--pq", action="store_true", help="make a post-quantum key (mlkem768x25519)")
    keygen.add_argument("-o", "--output", default=STANDARD, metavar="OUT", help="new file, 0600 (default: stdout)")
    keygen.add_argument("--json", action="store_true", help="tell the result as one JSON line")


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default=STANDARD, metavar="OUT", help="file to write (default: stdout)")
    parser.add_argument("--json", action="store_true", help="tell the result as one JSON line; needs -o")
    parser.add_argument("input", nargs="?", default=STANDARD, metavar="IN", help="file to read (default: stdin)")


def _encrypt(arguments: argparse.Namespace) -> int:
    from agent.age.filekey import new_file_key, wrap_header
    from agent.age.keys import parse_recipient, parse_recipient_file
    from agent.age.stream import encrypt_stream

    crypt.refuse_both_on_stdout(arguments.output, as_json=arguments.json)
    recipients = [parse_recipient(text) for text in arguments.recipient]
    for name in arguments.recipients_file:
        text = operand.read_key_file(name)
        with operand.naming(name):
            recipients += parse_recipient_file(text)
    file_key = new_file_key()
    header = memoryview(wrap_header(file_key, recipients))
    if not arguments.armor and arguments.output == STANDARD and sys.stdout.isatty():
        raise ConfigError("a sealed file is binary and this is a terminal", hint="add -o FILE, or -a for text")
    with (
        operand.opened(arguments.input) as (source, size),
        operand.output(arguments.output, private=False) as target,
    ):
        progress = Progress(size)
        threads = crypt.threads_for(size)
        if arguments.armor:
            from agent.age.armor import ArmorWriter

            armored = ArmorWriter(target)
            armored.write(header)
            sizes = encrypt_stream(file_key, source, armored, on_plaintext=progress.hook, threads=threads)
            armored.finish()
        else:
            _write_all(target, header)
            sizes = encrypt_stream(file_key, source, target, on_plaintext=progress.hook, threads=threads)
        progress.clear()
    return _tell(arguments, sizes)


def _decrypt(arguments: argparse.Namespace) -> int:
    crypt.refuse_both_on_stdout(arguments.output, as_json=arguments.json)
    identities = crypt.read_identities(arguments.identity)
    return _tell(arguments, crypt.decrypt(identities, source=arguments.input, target=arguments.output))


def _keygen(arguments: argparse.Namespace) -> int:
    from agent.clock import system_clock

    made = crypt.make_key(post_quantum=arguments.pq, now_ms=system_clock()().wall_ms)
    if arguments.output != STANDARD:
        operand.write_new(arguments.output, made.file_text.encode())
        if arguments.json:
            _print_json({"output": arguments.output, "recipient": made.recipient})
        else:
            print(f"Public key: {made.recipient}", file=sys.stderr)
    elif arguments.json:
        _print_json({"identity": made.secret, "recipient": made.recipient})
    else:
        print(made.file_text, end="", flush=True)
        if not sys.stdout.isatty():
            print(f"Public key: {made.recipient}", file=sys.stderr)
    return 0


def _tell(arguments: argparse.Namespace, sizes: Sizes) -> int:
    if arguments.json:
        _print_json(
            {"output": arguments.output, "plain_bytes": sizes.plain_bytes, "payload_bytes": sizes.payload_bytes}
        )
    return 0


def _print_json(facts: dict[str, str | int]) -> None:
    import json

    print(json.dumps(facts))


def _write_all(target: Writer, view: memoryview) -> None:
    while view:
        view = view[target.write(view) or 0 :]
