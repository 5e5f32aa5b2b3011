"""A small age file put into its armor and taken out of it, by the streams that the shell commands use."""

import io

from agent.age.armor import ArmorReader, ArmorWriter


def armor(raw: bytes) -> bytes:
    """Return an age file in its armor."""
    out = io.BytesIO()
    writer = ArmorWriter(out)
    writer.write(memoryview(raw))
    writer.finish()
    return out.getvalue()


def dearmor(text: bytes) -> bytes:
    """Return the age file inside a whole armor; raises ``ArmorError``."""
    reader = ArmorReader(io.BytesIO(text))
    piece = memoryview(bytearray(65536))
    out = bytearray()
    while count := reader.readinto(piece):
        out += piece[:count]
    return bytes(out)
