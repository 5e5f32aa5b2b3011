"""Where the broker is, and what its topics are called (docs/protocol.md §1)."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from agent.errors import ConfigError

SECURE_PORT: Final = 8883
PLAIN_PORT: Final = 1883

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOPIC_ROOT: Final = "pv1"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Host and port of a broker; ``secure`` is mutual TLS, and anything else is allowed to this machine only."""

    host: str
    port: int
    secure: bool


def parse_url(url: str) -> Address:
    """Read ``mqtts://host[:port]``, or ``mqtt://`` for a loopback host; anything else raises ``ConfigError``."""
    hint = "write mqtts://host:8883"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"broker url {url!r}: {error}", hint=hint) from error
    host = parts.hostname or ""
    if parts.scheme not in {"mqtt", "mqtts"} or not host or port == 0:
        raise ConfigError(f"broker url {url!r} is not mqtts://host:port", hint=hint)
    if parts.username is not None or parts.password is not None or parts.path.strip("/") or parts.query:
        raise ConfigError("broker url: only host and port are read; a device is known by its certificate", hint=hint)
    secure = parts.scheme == "mqtts"
    if not secure and not _is_loopback(host):
        raise ConfigError(f"broker url {url!r}: mqtt:// would send without TLS", hint=f"write mqtts://{host}:8883")
    return Address(host=host, port=port or (SECURE_PORT if secure else PLAIN_PORT), secure=secure)


def topic_base(tenant: str, device: str) -> str:
    """Return ``pv1/{tenant}/{device}``; names outside the allowed characters raise ``ConfigError``."""
    for what, name in (("tenant", tenant), ("device", device)):
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{what} {name!r} cannot be part of a topic", hint="use 1 to 64 characters of A-Z a-z 0-9 _ -"
            )
    return f"{_TOPIC_ROOT}/{tenant}/{device}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
