"""A camera's stream, read in a process of its own and cut into segments.

The map::

    settings   one source of kind "rtsp" as a value, and its address
    message    what is asked of the process and what it tells; both fit one datagram of its socket
    client     Watch: starts the process, hands its segments on, ends it
    __main__   the process: hardened first, then one connection, then gone
    worker     that connection from its start to its end: open, read, cut, and why it ended
    sound      the packets of sound, until it is known which segment they are in
    segment    packets become fragmented MP4, cut on key frames (PyAV is known in these and in worker alone)
    relay      between FFmpeg and the camera: TLS with a pinned certificate, credentials, what an answer may say
    tracks     what of the media FFmpeg is given: of what is described (sdp), what is asked for, timed anew (rtp)
    wire       RTSP messages and the frames between them, in and out of bytes
    challenge  what is answered to a demand for credentials
    onvif/     where the camera streams, as its ONVIF service says; a process of its own again

Why a process: the bytes of a stream come from outside and go through a large library in C. What they can hurt there
holds no key, no path and no index, and lives as long as one connection. Why a relay: FFmpeg would answer a demand for
a password in clear, follow an answer to another address and trust any certificate; in its place it talks to this
process alone, knows no credentials, and reaches nothing else.

Rules: clear bytes go into pipes and nowhere else; of a stream only the pictures are asked for, and the sound where its
owner wants it; nothing here decides whether a segment is kept.

A name is loaded when it is first used, so that the process pays for no event loop.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.rtsp.client import Segment, Watch, require_extra
    from agent.rtsp.settings import StreamSettings

_HOME = {"Segment": "client", "StreamSettings": "settings", "Watch": "client", "require_extra": "client"}

__all__ = ["Segment", "StreamSettings", "Watch", "require_extra"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
