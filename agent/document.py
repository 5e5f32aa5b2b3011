"""A TOML document that a person wrote, read strictly: every problem names its file, line, key and fix.

``Table`` hands out values by name and type, and ``close()`` refuses what nobody asked for, so an unknown key is an
error and never silently ignored (invariant I9); where a key must be there ``only()`` does so first, so that a name
that is written wrongly is told itself, and not what it left missing. TOML 1.0 is parsed by the standard library; the
line of a key, which it does not keep, is found again in the text.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from agent.errors import ConfigError

DOCUMENT_BYTES: Final = 1 << 20
"""A policy or config of a million bytes is a mistake, not a document."""

DOTS_MAX: Final = 256
"""Dots on one line: the time that TOML's reader takes for ``a.b.c`` grows with the square of its parts."""

NUMBER_MAX: Final = 2**63 - 1
"""Of whole numbers and of sizes in bytes: what the index holds."""

DURATION_MAX_MS: Final = 36_525 * 86_400_000
"""A hundred years: a time that far ahead can still be written as a date."""

_DEPTH: Final = 16
"""Parts of a key by which a line is found: no document has keys of more."""

_TOLD_MAX: Final = 200
"""Characters of a key, and of what is wrong with it, that an error tells: they are anybody's words."""

_TOML_HINT: Final = 'correct the TOML on that line; a text stands in quotes: age = "14d"'

_Value = TypeVar("_Value", bool, int, str, list[Any], dict[str, Any])

_NAMES: Final = {bool: "true or false", int: "a whole number", str: "a text", list: "a list", dict: "a table"}
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w)")
_DURATION_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SIZE: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))? ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")
_SIZE_BYTES: Final = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_PERCENT: Final = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,2})?)%")


class Table:
    """One table of the document; its values are taken one by one."""

    def __init__(self, values: dict[str, Any], *, file: str, path: tuple[str, ...], text: str) -> None:
        self._values = dict(values)
        self._known = set(values)
        self._file = file
        self._path = path
        self._text = text

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def keys(self) -> tuple[str, ...]:
        """Return the names that were not taken yet."""
        return tuple(self._values)

    def kind_of(self, key: str) -> type | None:
        """Return of which type a value is that was not taken yet; ``None`` when it is not there."""
        return type(self._values[key]) if key in self._values else None

    def error(self, key: str, problem: str, *, hint: str = "") -> ConfigError:
        """Return the error for ``key``: file, line, full name and problem, bounded and printable."""
        name = ".".join((*self._path, key)) if key else ".".join(self._path) or "the document"
        return ConfigError(f"{self._file}:{self._line(key)}: {_told(name)}: {_told(problem)}", hint=hint)

    def take(self, key: str, kind: type[_Value], default: _Value | None = None) -> _Value:
        """Take a value of exactly that type; without a default it must be there. Raises ``ConfigError``."""
        if key not in self._values:
            if default is None:
                raise self.error(key, "is missing", hint=f"add {key} = … ({_NAMES[kind]})")
            return default
        value = self._values.pop(key)
        if type(value) is not kind:
            raise self.error(key, f"should be {_NAMES[kind]}, not {_written(value)}", hint=_as_kind(key, value, kind))
        if isinstance(value, int) and abs(value) > NUMBER_MAX:
            raise self.error(key, "is too large a number", hint="correct the value")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """Take a text that must be one of ``choices``."""
        value = self.take(key, str, default)
        if value not in choices:
            raise self.error(key, f"{value!r} is not known", hint=f"use one of: {', '.join(choices)}")
        return value

    def says(self, key: str, word: str) -> bool:
        """Tell whether a value is that very word, and take it if it is; any other stays to be taken."""
        is_said: bool = self._values.get(key) == word
        if is_said:
            del self._values[key]
        return is_said

    def texts(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        """Take a list of texts."""
        values = self.take(key, list, default)
        if not all(isinstance(value, str) for value in values):
            raise self.error(key, "should be a list of texts", hint=f'for example {key} = ["one", "two"]')
        return tuple(values)

    def number(self, key: str) -> int | float:
        """Take a number, whole or not; it must be there."""
        if key not in self._values:
            raise self.error(key, "is missing", hint=f"add {key} = … (a number)")
        return self._number(key, self._values.pop(key))

    def numbers(self, key: str) -> tuple[int | float, ...]:
        """Take a list of numbers; it must be there."""
        return tuple(self._number(key, value) for value in self.take(key, list))

    def _number(self, key: str, value: object) -> int | float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= NUMBER_MAX:
            raise self.error(key, f"should be a number, not {_written(value)}", hint="correct the value")
        return value

    def duration_ms(self, key: str) -> int | None:
        """Take a duration such as ``"14d"``, ``"36h"``, ``"90m"`` or ``"30s"``; ``None`` when it is not there."""
        if key not in self._values:
            return None
        value = self._measure(key, "a duration", hint='write for example "14d", "36h", "90m" or "30s"')
        match = _DURATION.fullmatch(value)
        if not match:
            raise self.error(key, f"{value!r} is not a duration", hint='write for example "14d", "36h", "90m" or "30s"')
        duration_ms = int(match[1]) * _DURATION_MS[match[2]]
        if duration_ms > DURATION_MAX_MS:
            raise self.error(
                key, f"{value!r} is more than a hundred years", hint="leave it out where there is no limit"
            )
        return duration_ms

    def size_bytes(self, key: str) -> int | None:
        """Take a size such as ``"200GB"`` or ``"512MiB"``; ``None`` when it is not there."""
        if key not in self._values:
            return None
        value = self._measure(key, "a size", hint='write for example "200GB" or "512MiB"')
        size = parse_size(value)
        if size is None:
            raise self.error(key, f"{value!r} is not a size", hint='write for example "200GB" or "512MiB"')
        return self._bounded(key, size)

    def _measure(self, key: str, what: str, *, hint: str) -> str:
        """Take a text with a unit; a number alone says not of what."""
        value = self._values[key]
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise self.error(key, f"{_written(value)} has no unit, and should be {what}", hint=hint)
        return self.take(key, str)

    def _bounded(self, key: str, size: int) -> int:
        if size > NUMBER_MAX:
            raise self.error(key, "is more than any disk holds", hint="leave it out where there is no limit")
        return size

    def share_or_size(self, key: str) -> tuple[float | None, int | None]:
        """Take ``"10%"`` as (0.1, None) or ``"5GB"`` as (None, bytes); (None, None) when it is not there."""
        if key not in self._values:
            return None, None
        value = self._measure(key, "a share or a size", hint='write for example "10%" or "5GB"')
        percent = _PERCENT.fullmatch(value)
        if percent:
            return float(percent[1]) / 100, None
        size = parse_size(value)
        if size is None:
            raise self.error(key, f"{value!r} is neither a share nor a size", hint='write for example "10%" or "5GB"')
        return None, self._bounded(key, size)

    def table(self, key: str) -> "Table":
        """Take a table; an absent one reads as empty."""
        value = self.take(key, dict, {})
        return Table(value, file=self._file, path=(*self._path, key), text=self._text)

    def tables(self, key: str) -> tuple["Table", ...]:
        """Take an array of tables (``[[key]]``); an absent one reads as none."""
        if self.kind_of(key) is dict:
            raise self.error(key, "should be a list of tables, not one table", hint=f"write [[{key}]], for each one")
        values = self.take(key, list, [])
        if not all(isinstance(value, dict) for value in values):
            raise self.error(key, "should be tables", hint=f"begin each with [[{key}]]")
        return tuple(
            Table(value, file=self._file, path=(*self._path, f"{key}[{at}]"), text=self._text)
            for at, value in enumerate(values)
        )

    def named_tables(self) -> Iterator[tuple[str, "Table"]]:
        """Take every remaining member as a table of its own name."""
        for key in tuple(self._values):
            yield key, self.table(key)

    def only(self, known: tuple[str, ...]) -> None:
        """Refuse what is none of the ``known`` keys, before anything is taken."""
        for key in self._values:
            if key not in known:
                raise self._unknown(key, known)

    def close(self, *, known: tuple[str, ...] = ()) -> None:
        """Refuse what was not taken; ``known`` names all keys that could have stood here."""
        for key in self._values:
            raise self._unknown(key, known)

    def _unknown(self, key: str, known: tuple[str, ...]) -> ConfigError:
        from difflib import get_close_matches  # noqa: PLC0415 - loaded only where somebody wrote a key wrongly

        near = [one for one in get_close_matches(key[:_TOLD_MAX], known, n=1) if one != key]
        hint = f"remove it, or use one of: {', '.join(known)}"
        return self.error(key, "is not a known key", hint=f"is {near[0]} meant? else {hint}" if near else hint)

    def _line(self, key: str) -> int:
        return line_of(self._text, (*self._path, key) if key else self._path)


def read_document(raw: bytes, *, file: str) -> Table:
    """Parse a whole document; raises ``ConfigError`` with the line for bad UTF-8, bad TOML and oversized text."""
    if len(raw) > DOCUMENT_BYTES:
        raise ConfigError(f"{file}: larger than {DOCUMENT_BYTES} bytes", hint="this is not the file you meant")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: not UTF-8 text", hint="save the file as UTF-8") from error
    for number, row in enumerate(text.split("\n"), start=1):
        if row.count(".") > DOTS_MAX and not row.lstrip().startswith("#"):
            hint = "write flat tables, and a long list over several lines"
            raise ConfigError(f"{file}:{number}: more than {DOTS_MAX} dots on one line", hint=hint)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line_text = found[1] if found else str(text.count("\n") + 1)
        problem = re.sub(r" \(at .*\)$", "", str(error))
        raise ConfigError(f"{file}:{line_text}: {problem}", hint=_TOML_HINT) from error
    except ValueError as error:  # Python's own limit on the digits of a number, which tomllib lets through
        digits = re.search(rf"[0-9_]{{{sys.get_int_max_str_digits()},}}", text)
        line = text.count("\n", 0, digits.start()) + 1 if digits else 1
        raise ConfigError(f"{file}:{line}: a number with too many digits", hint="correct the value") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: nested too deeply", hint="write flat tables") from error
    return Table(values, file=file, path=(), text=text)


def parse_size(text: str) -> int | None:
    """Read ``"200GB"`` (10⁹) or ``"2GiB"`` (2³⁰) as whole bytes; ``None`` when it is not a size."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    whole, parts, unit = int(match[1]), match[2] or "", _SIZE_BYTES[match[3]]
    thousandths = int(parts.ljust(3, "0"))
    return whole * unit + thousandths * unit // 1000


def _as_kind(key: str, value: object, kind: type) -> str:
    """Say how a value would be written that is of another type than it should be."""
    if kind is list and isinstance(value, str):
        return _told(f'write a list: {key} = ["{value}"]')
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return f'write it in quotes: {key} = "…"'
    if kind is str and isinstance(value, list):
        return f'write one text, without brackets: {key} = "…"'
    if kind in {int, bool} and isinstance(value, str):
        return f"write {_NAMES[kind]}, without quotes"
    return f"write {key} = {{ … }}, or a table of its own" if kind is dict else f"write {_NAMES[kind]}"


def _told(words: str) -> str:
    """Return somebody's words as one line can hold them."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in words[: _TOLD_MAX + 1])
    return plain if len(plain) <= _TOLD_MAX else f"{plain[:_TOLD_MAX]}…"


def _written(value: object) -> str:
    """Return a value as it was written, as far as an error tells it: some have no end, or no decimal digits."""
    if isinstance(value, dict | list):
        return _NAMES[type(value)]
    if isinstance(value, int) and abs(value) > NUMBER_MAX:
        return "so large a number"
    return repr(value)


class Lines:
    """Where the keys of a document stand; it is read once for as many as are asked for."""

    def __init__(self, text: str) -> None:
        self._whole: dict[tuple[str, ...], int] = {}
        self._begun: dict[tuple[str, ...], int] = {}
        for number, here in _keys(text):
            self._whole.setdefault(here, number)
            for depth in range(1, min(len(here), _DEPTH) + 1):
                self._begun.setdefault(here[:depth], number)

    def of(self, path: tuple[str, ...]) -> int:
        """Return the line (1 is the first) where the value at ``path`` most likely stands.

        Members of an array of tables are written ``name[index]`` in the path.
        """
        if path in self._begun:
            return self._begun[path]
        above = (path[:depth] for depth in range(len(path) - 1, 0, -1))
        return next((self._whole[one] for one in above if one in self._whole), 1)


def line_of(text: str, path: tuple[str, ...]) -> int:
    """Return the line of one key, as ``Lines`` does."""
    return Lines(text).of(path)


def _keys(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield each line's number and the path of the table or key that it begins with."""
    table: tuple[str, ...] = ()
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        header = re.match(r"\s*(\[\[?)([^\]]+)\]", line)
        if header:
            table = tuple(part.strip().strip('"') for part in header[2].split("."))
            if header[1] == "[[":
                seen[table] = seen.get(table, -1) + 1
                table = (*table[:-1], f"{table[-1]}[{seen[table]}]")
            yield number, table
        elif key := re.match(r'\s*([A-Za-z0-9_."-]+)\s*=', line):
            yield number, (*table, *(part.strip('"') for part in key[1].split(".")))
