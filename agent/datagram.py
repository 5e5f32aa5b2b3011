"""A message between two processes of the agent: what cannot be read is a ``CorruptError`` and nothing else.

Such a process exists because it reads what strangers send, so what it says is trusted no further than theirs.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from agent.errors import CorruptError

_Message = TypeVar("_Message")


def reader(decode: Callable[[bytes], _Message]) -> Callable[[bytes], _Message]:
    """Return ``decode``, an msgspec decoder's, with that one error."""

    def read(raw: bytes) -> _Message:
        try:
            return decode(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:  # of a text, and of what is nested deep
            raise CorruptError("a message between two processes of the agent is malformed") from error

    return read
