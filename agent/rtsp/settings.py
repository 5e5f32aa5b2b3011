"""One source of kind ``rtsp`` as a value, its address, and the file that its credentials are in.

An address holds no credentials: it stands in a config that more people read than should know them.
"""

import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from agent.access import denied
from agent.errors import ConfigError

PORTS: Final = {"rtsp": 554, "rtsps": 322}
"""RFC 7826, section 22.12."""

STREAMS_MAX: Final = 16
"""Each is a process; a hub has a dozen cameras."""

SEGMENT_LEAST_S: Final = 1.0
SEGMENT_MOST_S: Final = 300.0
"""Of a segment; it is sealed as it arrives, and what is under way when the power fails is lost."""

ADDRESS_MAX: Final = 1024

SERVICE_PATH: Final = "/onvif/device_service"
"""ONVIF Core, section 5.1.1: it is there on every camera."""

_OTHERS: Final = 0o077


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a camera streams; ``text`` is the whole address as it is asked for."""

    text: str
    host: str
    port: int
    secure: bool


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A camera that is read over RTSP.

    ``onvif`` is where its ONVIF service is, which then says what ``url`` would. ``credentials`` is a file of two lines,
    user and password. ``certificate_sha256`` is what the camera's certificate hashes to, empty where it has no TLS.
    ``camera`` is its label. Its sound is asked for only where ``sound`` says so. A segment ends with the first key
    frame after ``segment_s``; a connection without a picture for ``stall_s`` is given up.
    """

    name: str
    url: str
    camera: str
    onvif: str = ""
    credentials: Path | None = None
    certificate_sha256: bytes = b""
    sound: bool = False
    segment_s: float = 10.0
    stall_s: float = 10.0


def read_address(url: str) -> Address:
    """Read ``rtsp[s]://host[:port]/path``; anything else raises ``ConfigError``, which never repeats the address."""
    hint = "write rtsp://HOST:554/PATH, or rtsps:// where the camera has TLS"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError("the address cannot be read", hint=hint) from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "the address holds a user name or password",
            hint='remove it; put both into a file of mode 0600, and name that: credentials = "/etc/…"',
        )
    good = url.isascii() and url.isprintable() and " " not in url and len(url) <= ADDRESS_MAX
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or parts.fragment or not good:
        raise ConfigError("it is no address of a stream", hint=hint)
    return Address(
        text=url,
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        secure=parts.scheme == "rtsps",
    )


def read_service(url: str) -> SplitResult:
    """Read ``http[s]://host[:port]`` of an ONVIF service; anything else raises ``ConfigError``, as above."""
    hint = "write http://HOST, with the port of its ONVIF service, or https:// where the camera has TLS"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError("the address cannot be read", hint=hint) from error
    bare = parts.username is None and parts.password is None and not parts.query and not parts.fragment
    known = parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0
    if not (bare and known) or parts.path not in {"", "/", SERVICE_PATH} or not url.isascii() or " " in url:
        raise ConfigError("it is no address of an ONVIF service", hint=hint)
    return parts


def open_credentials(path: Path) -> int:
    """Open the file of credentials, which nobody else may read; the caller closes the descriptor.

    Raises ``ConfigError`` when it is not there, is not for this user, or is for others as well.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError as error:
        raise denied(path) from error
    except OSError as error:
        raise ConfigError(
            f"{path}: {os.strerror(error.errno or 0)}",
            hint=f"write two lines into it, user and password: install -m 600 /dev/stdin {path}",
        ) from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) & _OTHERS:
        os.close(fd)
        raise ConfigError(f"{path}: others may read the credentials in it", hint=f"chmod 600 {path}")
    return fd
