"""Letters of five by seven dots, enough for a clock and a camera's name, so that no font file is needed.

Each glyph is seven rows, one byte in hex each; the lowest five bits are the dots, leftmost highest. Small letters are
drawn as capitals and an unknown character as a hollow box.
"""

from functools import cache
from typing import Final

GLYPH_ROWS: Final = 7
GLYPH_COLUMNS: Final = 6  # five dots and the gap after them

INK: Final = 235  # video white
PAPER: Final = 16  # video black

_UNKNOWN: Final = "1f11111111111f"
_GLYPHS: Final = {
    " ": "00000000000000",
    "0": "0e11131519110e",
    "1": "040c040404040e",
    "2": "0e11010204081f",
    "3": "1f02040201110e",
    "4": "02060a121f0202",
    "5": "1f101e0101110e",
    "6": "0608101e11110e",
    "7": "1f010204080808",
    "8": "0e11110e11110e",
    "9": "0e11110f01020c",
    "A": "0e11111f111111",
    "B": "1e11111e11111e",
    "C": "0e11101010110e",
    "D": "1c12111111121c",
    "E": "1f10101e10101f",
    "F": "1f10101e101010",
    "G": "0e11101711110f",
    "H": "1111111f111111",
    "I": "0e04040404040e",
    "J": "0702020202120c",
    "K": "11121418141211",
    "L": "1010101010101f",
    "M": "111b1515111111",
    "N": "11191513111111",
    "O": "0e11111111110e",
    "P": "1e11111e101010",
    "Q": "0e11111115120d",
    "R": "1e11111e141211",
    "S": "0f10100e01011e",
    "T": "1f040404040404",
    "U": "1111111111110e",
    "V": "11111111110a04",
    "W": "11111115151b11",
    "X": "11110a040a1111",
    "Y": "1111110a040404",
    "Z": "1f01020408101f",
    "-": "0000001f000000",
    "_": "0000000000001f",
    ":": "000c0c000c0c00",
    ".": "00000000000c0c",
    ",": "000000000c0408",
    "/": "00010204081000",
    "+": "0004041f040400",
    "#": "0a0a1f0a1f0a0a",
    "'": "0c040800000000",
    "(": "02040808080402",
    ")": "08040202020408",
}


def text_rows(text: str, *, scale: int) -> list[bytes]:
    """The text as rows of luma bytes, each dot ``scale`` pixels wide and high, with a margin of one dot around it."""
    margin = bytes([PAPER]) * scale
    blank = bytes([PAPER]) * (scale * (len(text) * GLYPH_COLUMNS + 1))
    rows = [blank] * scale
    for index in range(GLYPH_ROWS):
        row = margin + b"".join(_glyph_row(character, index, scale) for character in text)
        rows.extend([row] * scale)
    rows.extend([blank] * scale)
    return rows


@cache
def _glyph_row(character: str, index: int, scale: int) -> bytes:
    dots = bytes.fromhex(_GLYPHS.get(character.upper(), _UNKNOWN))[index]
    lit = (INK if dots >> (4 - column) & 1 else PAPER for column in range(GLYPH_COLUMNS - 1))
    return b"".join(bytes([luma]) * scale for luma in (*lit, PAPER))
