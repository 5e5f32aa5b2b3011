"""The address of a third party to which an export is put: ``https://HOST[:PORT]/FOLDER/[?QUERY]``. Pure.

Each file is put beneath the folder, under a name of ours, with the query behind it: that is how signed addresses of
object stores look. A user or password in the address is refused, it would stand in logs; so is a fragment.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from agent.errors import RefusedError

ADDRESS_MAX: Final = 2048
HOST_MAX: Final = 253
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")  # RFC 1035 §2.3.1, and the _ that names in use have
_HTTPS_PORT: Final = 443


class Deposit(msgspec.Struct, frozen=True, kw_only=True):
    """Where files are put; ``host`` is lower case, a name or an address without brackets."""

    host: str
    port: int
    folder: str
    query: str

    def target(self, name: str) -> str:
        """Return what a request for a file of that name asks for."""
        return f"{self.folder}{quote(name, safe='')}{'?' + self.query if self.query else ''}"


def read_deposit(url: str) -> Deposit:
    """Read an address; raises ``RefusedError`` (``malformed``) for what is none."""
    if len(url) > ADDRESS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise _malformed("an address is printable ASCII without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port or _HTTPS_PORT
    except ValueError as error:
        raise _malformed("the address cannot be read") from error
    if parts.scheme != "https" or not parts.hostname or len(parts.hostname) > HOST_MAX:
        raise _malformed("the address begins with https:// and a host")
    if not _is_address(parts.hostname) and not all(map(_LABEL.match, parts.hostname.lower().split("."))):
        raise _malformed("the host is a name of labels with dots between them, or an address")
    if parts.username is not None or parts.password is not None or "#" in url:
        raise _malformed("the address holds no user, password or fragment")
    if not parts.path.endswith("/"):
        raise _malformed("the address ends in a folder, with a / behind it")
    return Deposit(host=parts.hostname.lower(), port=port, folder=parts.path, query=parts.query)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _malformed(message: str) -> RefusedError:
    return RefusedError(message, reason="malformed", retry="after_fix", hint="write it as https://host.example/folder/")
