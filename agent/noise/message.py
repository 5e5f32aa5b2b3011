"""What the process that adds noise is asked and what it answers: numbers alone, none of what they count."""

from typing import Final

import msgspec

from agent.datagram import reader

MESSAGE_MAX_BYTES: Final = 64 * 1024
"""Sixteen fields of 64 values, each a number of nine bytes at most."""


class Question(msgspec.Struct, frozen=True, array_like=True):
    """Histograms, one a field, in each of which one line is counted once at most; ``epsilon`` is for each of them."""

    histograms: tuple[tuple[int, ...], ...]
    epsilon: float


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The same with noise, and what it cost by the library's own account."""

    histograms: tuple[tuple[int, ...], ...]
    spent: float


decode_question: Final = reader(msgspec.msgpack.Decoder(Question).decode)
decode_answer: Final = reader(msgspec.msgpack.Decoder(Answer).decode)
encode: Final = msgspec.msgpack.Encoder().encode
