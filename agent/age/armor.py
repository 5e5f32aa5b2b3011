"""The optional ASCII armor: strict PEM around a whole age file, for places that only carry text.

Lines of 64 letters, standard base64 with padding, LF or CRLF; white space only before and after. Anything else
raises ``ArmorError``. (C2SP ``age.md``, section "ASCII armor".)
"""

import binascii
from typing import Final

from agent.age.failure import ArmorError
from agent.age.format import PrefixedReader, Reader
from agent.age.stream import Writer

BEGIN: Final = b"-----BEGIN AGE ENCRYPTED FILE-----"
END: Final = b"-----END AGE ENCRYPTED FILE-----"
WHITESPACE_MAX_BYTES: Final = 1024  # before the first and after the last line; age's own limit

_LINE_LETTERS: Final = 64
_LINE_BYTES: Final = 48
_READ_BYTES: Final = 64 * 1024
_LINE_MAX_BYTES: Final = WHITESPACE_MAX_BYTES + len(BEGIN)
_WHITESPACE: Final = b" \t\r\n"
_PEEK_BYTES: Final = WHITESPACE_MAX_BYTES + len(BEGIN)


class ArmorReader:
    """Reads the age file that stands inside an armor; memory is bounded by one read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._piece = memoryview(bytearray(_READ_BYTES))
        self._raw = bytearray()
        self._at = 0
        self._plain = memoryview(b"")
        self._state = "before"
        self._failure: ArmorError | None = None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of ``buffer``; 0 at the end of the armor. Raises ``ArmorError``."""
        while not self._plain:
            if self._failure is not None:
                raise self._failure
            if self._state == "after":
                return 0
            self._plain = memoryview(self._decode_some())
        count = min(len(buffer), len(self._plain))
        buffer[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count

    def _decode_some(self) -> bytes:
        decoded: list[bytes] = []
        # As many lines as one read holds; what decoded before a bad line is handed out before the error is raised.
        try:
            if self._state == "before":
                self._skip_to_begin()
            while self._state == "inside" and len(decoded) * _LINE_BYTES < _READ_BYTES:
                decoded.append(self._decode_line(self._line()))
        except ArmorError as error:
            self._failure = error
        return b"".join(decoded)

    def _decode_line(self, line: bytes) -> bytes:
        if line == END:
            self._finish()
            return b""
        if not line or len(line) > _LINE_LETTERS or len(line) % 4:
            raise ArmorError("a line of the armor has a wrong length")
        try:
            data = binascii.a2b_base64(line, strict_mode=True)
        except binascii.Error:
            raise ArmorError("a line of the armor is no base64") from None
        if binascii.b2a_base64(data, newline=False) != line:
            raise ArmorError("a line of the armor is not canonical base64")
        if len(data) < _LINE_BYTES:
            if self._line() != END:
                raise ArmorError("a short line is not the last of the armor")
            self._finish()
        return data

    def _skip_to_begin(self) -> None:
        skipped = 0
        while not (line := self._line()).strip(_WHITESPACE):
            skipped += len(line) + 1
            if skipped > WHITESPACE_MAX_BYTES:
                raise ArmorError("too much white space before the armor")
        if line != BEGIN:
            raise ArmorError("the armor does not begin as it should")
        self._state = "inside"

    def _finish(self) -> None:
        self._state = "after"
        while len(self._raw) - self._at <= WHITESPACE_MAX_BYTES and self._more():
            pass
        rest = self._raw[self._at :]
        if rest.strip(_WHITESPACE):
            raise ArmorError("something follows the armor")
        if len(rest) > WHITESPACE_MAX_BYTES:
            raise ArmorError("too much white space after the armor")

    def _line(self) -> bytes:
        while (end := self._raw.find(b"\n", self._at)) < 0:
            if len(self._raw) - self._at > _LINE_MAX_BYTES:
                raise ArmorError("a line of the armor is too long")
            if not self._more():
                end = len(self._raw)
                if end == self._at:
                    raise ArmorError("the armor is cut short")
                break
        line = bytes(self._raw[self._at : end])
        self._at = min(end + 1, len(self._raw))
        return line.removesuffix(b"\r")

    def _more(self) -> bool:
        if self._at:
            del self._raw[: self._at]
            self._at = 0
        count = self._reader.readinto(self._piece) or 0
        self._raw += self._piece[:count]
        return count > 0


class ArmorWriter:
    """Writes armor around the age file that is written to it; ``finish`` ends it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._rest = b""
        self._begun = False

    def write(self, data: memoryview, /) -> int:
        """Take all of ``data``."""
        pending = self._rest + data
        whole = len(pending) - len(pending) % _LINE_BYTES
        self._rest = pending[whole:]
        self._put(pending[:whole])
        return len(data)

    def finish(self) -> None:
        """Write the last short line and the end; nothing may be written after it."""
        self._put(self._rest)
        self._send(END + b"\n")

    def _put(self, data: bytes) -> None:
        if not self._begun:
            self._send(BEGIN + b"\n")
            self._begun = True
        lines = (binascii.b2a_base64(data[at : at + _LINE_BYTES]) for at in range(0, len(data), _LINE_BYTES))
        self._send(b"".join(lines))

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._writer.write(view) or 0 :]


def without_armor(reader: Reader) -> Reader:
    """Return a reader of the age file whether or not it stands in an armor, by looking at its start."""
    peeked = bytearray(_PEEK_BYTES)
    start = bytes(peeked[: reader.readinto(memoryview(peeked)) or 0])
    whole = PrefixedReader(start, reader)
    return ArmorReader(whole) if start.lstrip(_WHITESPACE).startswith(BEGIN[:8]) else whole
