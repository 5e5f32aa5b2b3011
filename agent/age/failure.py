"""How bytes can fail to be an age file; all of it is ``CorruptError``, so one type escapes this package.

The names follow the outcomes that the age test vectors tell apart. A caller that only wants to know "good or not"
catches ``CorruptError``; a tool that talks to a person may say which part was wrong.
"""

from agent.errors import CorruptError


class HeaderError(CorruptError):
    """The text header, or a stanza meant for us, is malformed."""


class NoMatchError(CorruptError):
    """The header is well formed, but none of the given identities opens any of its stanzas."""


class HmacError(CorruptError):
    """A file key was unwrapped, but the header was changed since it was written."""


class PayloadError(CorruptError):
    """The payload was truncated, flipped, reordered or extended."""


class ArmorError(CorruptError):
    """The ASCII armor around the file is malformed."""
