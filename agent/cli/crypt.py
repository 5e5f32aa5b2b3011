"""``encrypt``, ``decrypt`` and ``keygen``: the age format on the shell, for tests, tools and owners.

They read and write what ``age`` and ``age-keygen`` do. Rules: a file appears under its name only when it is complete,
so a failed ``decrypt`` leaves nothing; keys and opened files are readable by their user alone; an existing key file
is never overwritten. What is decrypted to a pipe has been authenticated chunk by chunk, but only exit code 0 says
that it was all.

Start-up counts as much as the cipher does, so a module is imported by the command that needs it.
"""

import argparse
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, NoReturn

from agent.age.format import PrefixedReader, Reader
from agent.age.stream import Sizes, Writer
from agent.errors import ConfigError, LinkError

_STANDARD: Final = "-"
# Below this a bar would only flicker: a tenth of a second of work.
_PROGRESS_MIN_BYTES: Final = 128 * 1024 * 1024
# A second thread pays from some milliseconds of work on.
_THREADS_MIN_BYTES: Final = 8 * 1024 * 1024
_PROGRESS_WIDTH: Final = 32
_KEY_FILE_MAX_BYTES: Final = 2_000_000
_PEEK_BYTES: Final = 4096
_SHOWN_CONTROLS: Final = frozenset(b"\t\n\r\x1b")
_FIRST_PRINTABLE: Final = 0x20

Subparsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for what add_subparsers returns


def add_parsers(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Register the three commands; each sets ``run``, which takes the parsed arguments and returns the exit code."""
    encrypt = _add(
        subparsers,
        "encrypt",
        summary="seal a file to age recipients",
        example="privacy-agent encrypt -r age1pq1… -o clip.mp4.age clip.mp4",
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
    encrypt.set_defaults(run=_encrypt)

    decrypt = _add(
        subparsers,
        "decrypt",
        summary="open an age file with an identity",
        example="privacy-agent decrypt -i owner.key -o clip.mp4 clip.mp4.age",
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
    decrypt.set_defaults(run=_decrypt)

    keygen = _add(
        subparsers,
        "keygen",
        summary="make an age identity and tell its recipient",
        example="privacy-agent keygen --pq -o owner.key",
    )
    keygen.add_argument("--pq", action="store_true", help="make a post-quantum key (mlkem768x25519)")
    keygen.add_argument("-o", "--output", default=_STANDARD, metavar="OUT", help="new file, 0600 (default: stdout)")
    keygen.add_argument("--json", action="store_true", help="tell the result as one JSON line")
    keygen.set_defaults(run=_keygen)


def _add(
    subparsers: "Subparsers[argparse.ArgumentParser]", name: str, *, summary: str, example: str
) -> argparse.ArgumentParser:
    return subparsers.add_parser(
        name,
        help=summary,
        description=summary.capitalize() + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default=_STANDARD, metavar="OUT", help="file to write (default: stdout)")
    parser.add_argument("--json", action="store_true", help="tell the result as one JSON line; needs -o")
    parser.add_argument("input", nargs="?", default=_STANDARD, metavar="IN", help="file to read (default: stdin)")


def _encrypt(arguments: argparse.Namespace) -> int:
    from agent.age.filekey import new_file_key, wrap_header  # noqa: PLC0415 - see the module's docstring
    from agent.age.keys import parse_recipient, parse_recipient_file  # noqa: PLC0415 - the same
    from agent.age.stream import encrypt_stream  # noqa: PLC0415 - the same

    _check_json(arguments)
    recipients = [parse_recipient(text) for text in arguments.recipient]
    for name in arguments.recipients_file:
        with _named(name):
            recipients += parse_recipient_file(_read_key_file(name))
    file_key = new_file_key()
    header = memoryview(wrap_header(file_key, recipients))
    if not arguments.armor and arguments.output == _STANDARD and sys.stdout.isatty():
        raise ConfigError("a sealed file is binary and this is a terminal", hint="add -o FILE, or -a for text")
    with _opened(arguments.input) as (source, size), _output(arguments.output, private=False) as target:
        progress = _Progress(size)
        threads = 2 if (size or 0) >= _THREADS_MIN_BYTES and len(os.sched_getaffinity(0)) > 1 else 1
        if arguments.armor:
            from agent.age.armor import ArmorWriter  # noqa: PLC0415 - see the module's docstring

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
    from agent.age.filekey import unwrap_header  # noqa: PLC0415 - see the module's docstring
    from agent.age.format import read_header  # noqa: PLC0415 - the same
    from agent.age.keys import Identity, parse_identity_file  # noqa: PLC0415 - the same
    from agent.age.stream import decrypt_stream  # noqa: PLC0415 - the same

    _check_json(arguments)
    identities: list[Identity] = []
    for name in arguments.identity:
        with _named(name):
            identities += parse_identity_file(_read_key_file(name))
    with _opened(arguments.input) as (raw, size):
        source = _without_armor(raw)
        header, rest = read_header(source)
        file_key = unwrap_header(header, identities)
        with _output(arguments.output, private=True) as target:
            shown = _TerminalWriter(target) if arguments.output == _STANDARD and sys.stdout.isatty() else target
            progress = _Progress(size)
            sizes = decrypt_stream(file_key, source, shown, prefix=rest, on_plaintext=progress.hook)
            progress.clear()
    return _tell(arguments, sizes)


def _keygen(arguments: argparse.Namespace) -> int:
    from agent.age.keys import generate_identity, write_identity_file  # noqa: PLC0415 - see the module's docstring
    from agent.clock import rfc3339_ms, system_clock  # noqa: PLC0415 - the same

    identity = generate_identity(post_quantum=arguments.pq)
    public = identity.recipient().to_text()
    text = write_identity_file(identity, created=rfc3339_ms(system_clock()().wall_ms))
    if arguments.output != _STANDARD:
        _write_new(arguments.output, text.encode())
        if arguments.json:
            _print_json({"output": arguments.output, "recipient": public})
        else:
            print(f"Public key: {public}", file=sys.stderr)
    elif arguments.json:
        _print_json({"identity": identity.to_text(), "recipient": public})
    else:
        print(text, end="", flush=True)
        if not sys.stdout.isatty():
            print(f"Public key: {public}", file=sys.stderr)
    return 0


def _check_json(arguments: argparse.Namespace) -> None:
    if arguments.json and arguments.output == _STANDARD:
        raise ConfigError("--json and the file would both go to stdout", hint="add -o FILE")


def _tell(arguments: argparse.Namespace, sizes: Sizes) -> int:
    if arguments.json:
        _print_json(
            {"output": arguments.output, "plain_bytes": sizes.plain_bytes, "payload_bytes": sizes.payload_bytes}
        )
    return 0


def _print_json(facts: dict[str, str | int]) -> None:
    import json  # noqa: PLC0415 - see the module's docstring

    print(json.dumps(facts))


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", hint=error.hint) from None


def _read_key_file(name: str) -> str:
    with _opened(name) as (source, _):
        raw = bytearray()
        piece = memoryview(bytearray(_PEEK_BYTES))
        while (count := source.readinto(piece)) and len(raw) <= _KEY_FILE_MAX_BYTES:
            raw += piece[:count]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError("this is no text, so no key file", hint="give the file that holds the keys") from None


@contextmanager
def _opened(name: str) -> Iterator[tuple[Reader, int | None]]:
    """Open for unbuffered reading; yield it and, for a plain file, its size."""
    try:
        fd = os.dup(0) if name == _STANDARD else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        _explain(name, error, hint="check the name and the permissions")
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        os.close(fd)
        raise ConfigError(f"{name}: this is a folder", hint="give a file")
    with os.fdopen(fd, "rb", buffering=0) as source:
        yield source, status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def _output(name: str, *, private: bool) -> Iterator[Writer]:
    """Open for writing: stdout, a device or pipe as it is, else a temporary that gets its name on success."""
    try:
        kind = os.stat(1 if name == _STANDARD else name).st_mode  # noqa: PTH116 - a Path knows no descriptor
    except FileNotFoundError:
        kind = stat.S_IFREG
    except OSError as error:
        _explain(name, error, hint="check the name and the permissions")
    if stat.S_ISDIR(kind):
        raise ConfigError(f"{name}: this is a folder", hint="give the name of a file in it")
    if name == _STANDARD or not stat.S_ISREG(kind):
        with _direct(name) as target:
            yield target
        return
    with _settled(name) as fd:
        if not private:
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(fd, 0o666 & ~mask)
        with os.fdopen(fd, "wb", buffering=0, closefd=False) as target:
            yield target


@contextmanager
def _direct(name: str) -> Iterator[Writer]:
    """Open stdout, a device or a pipe, which can't be renamed into place."""
    try:
        fd = os.dup(1) if name == _STANDARD else os.open(name, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        _explain(name, error, hint="check the name and the permissions")
    with os.fdopen(fd, "wb", buffering=0) as target:
        try:
            yield target
        except BrokenPipeError:
            raise LinkError("whoever read the output went away", hint="run it again") from None
        except OSError:
            from agent import files  # noqa: PLC0415 - see the module's docstring

            with files.translated_space():
                raise


@contextmanager
def _settled(name: str, *, existing: Literal["replaced", "kept"] = "replaced") -> Iterator[int]:
    """Yield the descriptor of a temporary beside ``name``; it gets the name, durably, only if nothing was raised."""
    from pathlib import Path  # noqa: PLC0415 - see the module's docstring

    from agent import files  # noqa: PLC0415 - the same

    final = Path(name)
    try:
        fd, part = files.new_file(final.parent)
    except OSError as error:
        _explain(name, error, hint="check the folder and its permissions")
    try:
        with files.translated_space():
            yield fd
            os.fsync(fd)
        if existing == "kept":
            final.hardlink_to(part)  # unlike a rename, this fails if the name is taken
            files.remove(part)
        else:
            files.settle(part, final)
    except FileExistsError:
        raise ConfigError(f"{name}: already exists and is never overwritten", hint="choose another name") from None
    finally:
        os.close(fd)
        files.remove(part, folder_synced=False)


def _without_armor(raw: Reader) -> Reader:
    """Look at the start of a file and take its armor off if it has one."""
    from agent.age.armor import BEGIN, ArmorReader  # noqa: PLC0415 - see the module's docstring

    peeked = bytearray(_PEEK_BYTES)
    count = raw.readinto(memoryview(peeked)) or 0
    start = bytes(peeked[:count])
    reader = PrefixedReader(start, raw)
    return ArmorReader(reader) if start.lstrip().startswith(BEGIN[:8]) else reader


class _TerminalWriter:
    """Lets text through to a terminal and refuses what would garble it."""

    def __init__(self, target: Writer) -> None:
        self._target = target

    def write(self, data: memoryview, /) -> int | None:
        if any(byte < _FIRST_PRINTABLE and byte not in _SHOWN_CONTROLS for byte in data):
            raise ConfigError("what was sealed is binary and this is a terminal", hint="add -o FILE")
        return self._target.write(data)


class _Progress:
    """A bar on a terminal for long inputs, nothing elsewhere; it counts bytes and asks no clock."""

    def __init__(self, size: int | None) -> None:
        self._size = size or 0
        self._done = 0
        self._shown = -1
        shown = self._size >= _PROGRESS_MIN_BYTES and sys.stderr.isatty()
        self.hook = self._advance if shown else None

    def _advance(self, piece: memoryview) -> None:
        self._done += len(piece)
        percent = min(100, self._done * 100 // self._size)
        if percent != self._shown:
            self._shown = percent
            bar = "#" * (percent * _PROGRESS_WIDTH // 100)
            print(f"\r[{bar:<{_PROGRESS_WIDTH}}] {percent:3d} %", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave the line as it was before."""
        if self._shown >= 0:
            print("\r" + " " * (_PROGRESS_WIDTH + 8) + "\r", end="", file=sys.stderr, flush=True)


def _write_all(target: Writer, view: memoryview) -> None:
    while view:
        view = view[target.write(view) or 0 :]


def _write_new(name: str, data: bytes) -> None:
    with _settled(name, existing="kept") as fd:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


def _explain(name: str, error: OSError, *, hint: str) -> NoReturn:
    raise ConfigError(f"{name}: {os.strerror(error.errno or 0)}", hint=hint) from error
