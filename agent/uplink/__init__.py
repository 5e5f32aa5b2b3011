"""The sending half of docs/protocol.md §6, for one upload at a time over an injected line.

- ``transfer``: the state machine, told what happened and when (pure)
- ``mail``: begin, end, abort, erase, rectify and resync as signed, sealed bytes; a store's answers as verified values
- ``sending``: reads the payload and does what the state machine says
- ``rate``: bytes per second over all uploads (pure)
"""

from agent.uplink.mail import MAX_ITEMS, UP_ERASE, UP_RECTIFY, UP_RESYNC, UPACK, Copy, Device, Mail, opened
from agent.uplink.rate import Rate
from agent.uplink.sending import Line, Sending, Wait, pause_until
from agent.uplink.transfer import CHUNK_BYTES, CHUNKS_AHEAD, STALLED_AFTER_S, Manifest, MisstatedError, Transfer

__all__ = [
    "CHUNKS_AHEAD",
    "CHUNK_BYTES",
    "MAX_ITEMS",
    "STALLED_AFTER_S",
    "UPACK",
    "UP_ERASE",
    "UP_RECTIFY",
    "UP_RESYNC",
    "Copy",
    "Device",
    "Line",
    "Mail",
    "Manifest",
    "MisstatedError",
    "Rate",
    "Sending",
    "Transfer",
    "Wait",
    "opened",
    "pause_until",
]
