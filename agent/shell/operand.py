"""The files and pipes that a command line names; ``-`` is standard input or output.

Rules: a file appears under its name only when it is complete, so a failed command leaves nothing and an earlier file
stays; a new file is 0600 unless its content is for others too; a key file is never overwritten.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, NoReturn

from agent.age.format import Reader
from agent.age.stream import Writer
from agent.errors import ConfigError, LinkError

STANDARD: Final = "-"
_KEY_FILE_MAX_BYTES: Final = 2_000_000
_PIECE_BYTES: Final = 4096
_MAKE_ROOM: Final = "make room, or send its output elsewhere"
"""Whoever runs a command on files has no policy whose limits could be lowered."""


@contextmanager
def opened(name: str, *, secret: bool = False) -> Iterator[tuple[Reader, int | None]]:
    """Open for unbuffered reading; yield it and, for a plain file, its size.

    What is ``secret`` nobody is told to give to another user.
    """
    try:
        fd = os.dup(0) if name == STANDARD else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        from pathlib import Path

        from agent.access import denied

        raise denied(Path(name), secret=secret) from error
    except OSError as error:
        _explain(name, error, hint="check the name and the permissions")
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        os.close(fd)
        raise ConfigError(f"{name}: this is a folder", hint="give a file")
    with os.fdopen(fd, "rb", buffering=0) as source:
        yield source, status.st_size if stat.S_ISREG(status.st_mode) else None


def read_key_file(name: str) -> str:
    """Read a file of keys whole, within a bound; raises ``ConfigError``."""
    with opened(name, secret=True) as (source, _):
        raw = bytearray()
        piece = memoryview(bytearray(_PIECE_BYTES))
        while (count := source.readinto(piece)) and len(raw) <= _KEY_FILE_MAX_BYTES:
            raw += piece[:count]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(
            f"{name}: this is no text, so no key file", hint="give the file that holds the keys"
        ) from None


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Let a ``ConfigError`` about a file's content name the file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", hint=error.hint) from None


@contextmanager
def output(name: str, *, private: bool) -> Iterator[Writer]:
    """Open for writing: stdout, a device or pipe as it is, else a temporary that gets its name on success."""
    try:
        kind = os.stat(1 if name == STANDARD else name).st_mode  # noqa: PTH116 - a Path knows no descriptor
    except FileNotFoundError:
        kind = stat.S_IFREG
    except OSError as error:
        _explain(name, error, hint="check the name and the permissions")
    if stat.S_ISDIR(kind):
        raise ConfigError(f"{name}: this is a folder", hint="give the name of a file in it")
    if name == STANDARD or not stat.S_ISREG(kind):
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


def write_new(name: str, data: bytes) -> None:
    """Write a whole private file durably; ``ConfigError`` where the name is taken."""
    with _settled(name, existing="kept") as fd:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


@contextmanager
def _direct(name: str) -> Iterator[Writer]:
    """Open stdout, a device or a pipe, which can't be renamed into place."""
    try:
        fd = os.dup(1) if name == STANDARD else os.open(name, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        _explain(name, error, hint="check the name and the permissions")
    with os.fdopen(fd, "wb", buffering=0) as target:
        try:
            yield target
        except BrokenPipeError:
            if name == STANDARD:
                raise  # as every command ends whose reader went away
            raise LinkError(f"{name}: whoever read it went away", hint="run it again") from None
        except OSError:
            from agent import files

            with files.translated_space(hint=_MAKE_ROOM):
                raise


@contextmanager
def _settled(name: str, *, existing: Literal["replaced", "kept"] = "replaced") -> Iterator[int]:
    """Yield the descriptor of a temporary beside ``name``; it gets the name, durably, only if nothing was raised."""
    from pathlib import Path

    from agent import files

    final = Path(name)
    try:
        fd, part = files.new_file(final.parent, hint=_MAKE_ROOM)
    except OSError as error:
        _explain(name, error, hint="check the folder and its permissions")
    try:
        with files.translated_space(hint=_MAKE_ROOM):
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


def _explain(name: str, error: OSError, *, hint: str) -> NoReturn:
    raise ConfigError(f"{name}: {os.strerror(error.errno or 0)}", hint=hint) from error
