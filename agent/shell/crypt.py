"""Keys made and files opened on the shell, reading and writing what ``age-keygen`` and ``age`` do.

What is decrypted to a pipe has been authenticated chunk by chunk, but only exit code 0 says that it was all.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from agent.age.stream import Sizes, decrypt_stream
from agent.errors import ConfigError, CorruptError
from agent.shell import operand
from agent.shell.terminal import Progress, TextOnly

if TYPE_CHECKING:
    from agent.age.keys import Identity


# A second thread pays from some milliseconds of work on.
_THREADS_MIN_BYTES: Final = 8 * 1024 * 1024


class Made(NamedTuple):
    """A new identity: its secret, its recipient, and the text of its file."""

    secret: str
    recipient: str
    file_text: str


def make_key(*, post_quantum: bool, now_ms: int) -> Made:
    """Make an age identity as ``age-keygen`` does; it is written nowhere yet."""
    from agent.age.keys import generate_identity, write_identity_file
    from agent.clock import rfc3339_ms

    identity = generate_identity(post_quantum=post_quantum)
    text = write_identity_file(identity, created=rfc3339_ms(now_ms))
    return Made(identity.to_text(), identity.recipient().to_text(), text)


def read_identities(names: Iterable[str]) -> list["Identity"]:
    """Read the identities of all files named; ``ConfigError`` names the file that holds none."""
    from agent.age.keys import parse_identity_file

    identities: list[Identity] = []
    for name in names:
        text = operand.read_key_file(name)
        with operand.naming(name):
            identities += parse_identity_file(text)
    return identities


def refuse_both_on_stdout(output: str, *, as_json: bool) -> None:
    """Raise ``ConfigError`` where an answer in JSON and the file would both go to stdout."""
    if as_json and output == operand.STANDARD:
        raise ConfigError("--json and the file would both go to stdout", hint="add -o FILE")


def threads_for(size_bytes: int | None) -> int:
    """Return how many threads seal or open a plain file of that size; of a pipe no size is known."""
    return 2 if (size_bytes or 0) >= _THREADS_MIN_BYTES and len(os.sched_getaffinity(0)) > 1 else 1


def decrypt(identities: Iterable["Identity"], *, source: str, target: str) -> Sizes:
    """Open an age file, armored or not; the clear file is readable by its user alone."""
    from agent.age.armor import without_armor
    from agent.age.filekey import unwrap_header
    from agent.age.format import read_header

    with operand.opened(source) as (raw, size), _explaining(source):
        sealed = without_armor(raw)
        header, rest = read_header(sealed)
        file_key = unwrap_header(header, identities)
        with operand.output(target, private=True) as clear:
            shown = TextOnly(clear) if target == operand.STANDARD and sys.stdout.isatty() else clear
            progress = Progress(size)
            sizes = decrypt_stream(
                file_key, sealed, shown, prefix=rest, on_plaintext=progress.hook, threads=threads_for(size)
            )
            progress.clear()
    return sizes


@contextmanager
def _explaining(source: str) -> Iterator[None]:
    """Let what is wrong with a sealed file name it, and say what a person does about it."""
    from agent.age.failure import NoMatchError

    name = "standard input" if source == operand.STANDARD else source
    try:
        yield
    except NoMatchError as error:
        raise CorruptError(
            f"{name}: {error.message}", hint="give the identity that it was sealed to: -i FILE"
        ) from error
    except CorruptError as error:
        raise CorruptError(
            f"{name}: {error.message}",
            hint="give a file as age or this command sealed it; if it was one, copy it again, whole",
        ) from error
