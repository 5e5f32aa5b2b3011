"""The messages of ONVIF's discovery: WS-Discovery (April 2005) as the ONVIF Core Specification §7 uses it. Pure.

Rules: at most ``MESSAGE_MAX_BYTES`` of UTF-8; a document type or an entity is refused before anything of it is
expanded; depth, number and length of everything is bounded. Nobody's word is taken for an address: an XAddr counts only
if it is ``http`` or ``https`` to a numeric address that lies on the link it was heard on, without credentials in it.
"""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Final, Literal
from urllib.parse import unquote, urlsplit
from xml.parsers import expat

import msgspec

from agent.errors import CorruptError

PORT: Final = 3702
GROUP_V4: Final = "239.255.255.250"
GROUP_V6: Final = "ff02::c"

MESSAGE_MAX_BYTES: Final = 16 * 1024
DEPTH_MAX: Final = 16
ELEMENTS_MAX: Final = 512
MATCHES_MAX: Final = 16
"""Of one message; a camera answers for itself, a proxy for those it knows."""
WORDS_MAX: Final = 32
"""Types, scopes or XAddrs of one match."""
WORD_MAX_CHARACTERS: Final = 256

Action = Literal["ProbeMatches", "Hello", "Bye"]

_SOAP: Final = "http://www.w3.org/2003/05/soap-envelope"
_ADDRESSING: Final = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_DISCOVERY: Final = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
_NETWORK: Final = "http://www.onvif.org/ver10/network/wsdl"
_DEVICE: Final = "http://www.onvif.org/ver10/device/wsdl"
_SCOPE: Final = "onvif://www.onvif.org/"
_SEPARATOR: Final = " "

CAMERA_TYPES: Final = frozenset(
    {f"{_NETWORK} NetworkVideoTransmitter", f"{_NETWORK} NetworkVideoStorage", f"{_DEVICE} Device"}
)
PROBED_TYPES: Final = (f"{_NETWORK} NetworkVideoTransmitter", f"{_DEVICE} Device")
"""Asked for one at a time, since a Probe that names two asks for what is both."""

_PROBE: Final = """\
<?xml version="1.0" encoding="UTF-8"?>\
<s:Envelope xmlns:s="{soap}" xmlns:a="{addressing}" xmlns:d="{discovery}" xmlns:o="{namespace}"><s:Header>\
<a:Action s:mustUnderstand="1">{discovery}/Probe</a:Action><a:MessageID>{message_id}</a:MessageID>\
<a:ReplyTo><a:Address>{addressing}/role/anonymous</a:Address></a:ReplyTo>\
<a:To s:mustUnderstand="1">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header>\
<s:Body><d:Probe><d:Types>o:{name}</d:Types></d:Probe></s:Body></s:Envelope>"""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a message, in its own words."""

    endpoint: str
    """Its endpoint reference, which should stay the same for the life of the device."""
    types: tuple[str, ...] = ()
    """``namespace name``."""
    scopes: tuple[str, ...] = ()
    unverified_xaddrs: tuple[str, ...] = ()

    @property
    def may_be_a_camera(self) -> bool:
        """Whether it says that it speaks ONVIF: printers and computers use WS-Discovery as well."""
        return not CAMERA_TYPES.isdisjoint(self.types) or any(scope.startswith(_SCOPE) for scope in self.scopes)

    @property
    def name(self) -> str:
        """What it calls itself: the scope ``name``, else ``hardware``."""
        told = {key: value for key, value in map(_scope, self.scopes) if value}
        return told.get("name") or told.get("hardware", "")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What was said, by whom and in answer to what."""

    action: Action
    relates_to: str
    matches: tuple[Match, ...]


def probe(message_id: str, camera_type: str) -> bytes:
    """Write the question who of one type is there."""
    namespace, _, name = camera_type.partition(_SEPARATOR)
    return _PROBE.format(
        soap=_SOAP, addressing=_ADDRESSING, discovery=_DISCOVERY, namespace=namespace, name=name, message_id=message_id
    ).encode("ascii")


def read(raw: bytes) -> Message:
    """Read one datagram; anything that is not one of the three messages raises ``CorruptError``.

    A match without an endpoint reference is left out, and those beyond ``MATCHES_MAX``.
    """
    if len(raw) > MESSAGE_MAX_BYTES:
        raise CorruptError(f"a discovery message has more than {MESSAGE_MAX_BYTES} bytes")
    reader = _Reader()
    try:
        reader.parse(raw.decode("utf-8").lstrip("\ufeff"))
    except (UnicodeDecodeError, ValueError, expat.ExpatError) as error:
        raise CorruptError("a discovery message is not the XML that it should be") from error
    action = next((one for one in _ACTIONS if reader.action == f"{_DISCOVERY}/{one}"), None)
    if action is None:
        raise CorruptError("a discovery message says nothing that is listened for")
    return Message(action=action, relates_to=reader.relates_to, matches=tuple(reader.matches))


_ACTIONS: Final[tuple[Action, ...]] = ("ProbeMatches", "Hello", "Bye")


Written = Callable[[str], str | None]
"""Returns an address as text if it is on-link, with its zone where it needs one."""


def endpoint(match: Match, *, written: Written) -> tuple[tuple[str, ...], int] | None:
    """Return the addresses and the port of a match's device service, or ``None`` if it names none that may be used."""
    found: dict[int, list[str]] = {}
    for raw in match.unverified_xaddrs:
        where = _xaddr(raw)
        if where is None:
            continue
        address = written(where[0])
        if address is not None:
            found.setdefault(where[1], []).append(address)
    if not found:
        return None
    port, addresses = next(iter(found.items()))  # the first that it names
    return tuple(dict.fromkeys(addresses)), port


def _xaddr(raw: str) -> tuple[str, int] | None:
    """Return host and port of an XAddr that may be asked at all; a name would have to be looked up first."""
    try:
        parts = urlsplit(raw)
        host, port = parts.hostname or "", parts.port
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or parts.username is not None or parts.password is not None or port == 0:
        return None
    return host, port or (443 if parts.scheme == "https" else 80)


def _scope(scope: str) -> tuple[str, str]:
    """Return what an ONVIF scope tells, (key, value)."""
    if not scope.startswith(_SCOPE):
        return "", ""
    key, _, value = scope.removeprefix(_SCOPE).partition("/")
    return key.lower(), unquote(value)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split()[:WORDS_MAX] if len(word) <= WORD_MAX_CHARACTERS)


class _Reader:
    """One pass over a message with expat, which expands nothing because a document type ends it."""

    def __init__(self) -> None:
        self.action = ""
        self.relates_to = ""
        self.matches: list[Match] = []
        self._path: list[str] = []
        self._elements = 0
        self._text: list[str] = []
        self._prefixes: dict[str, list[str]] = {}
        self._endpoint = ""
        self._types: tuple[str, ...] = ()
        self._scopes: tuple[str, ...] = ()
        self._xaddrs: tuple[str, ...] = ()

    def parse(self, text: str) -> None:
        parser = expat.ParserCreate(encoding="utf-8", namespace_separator=_SEPARATOR)  # whatever the message declares
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.ProcessingInstructionHandler = self._refuse
        parser.StartNamespaceDeclHandler = lambda prefix, uri: self._prefixes.setdefault(prefix or "", []).append(uri)
        parser.EndNamespaceDeclHandler = lambda prefix: self._prefixes[prefix or ""].pop()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.Parse(text, True)  # noqa: FBT003 - its only form: this is all of it

    @staticmethod
    def _refuse(*_: object) -> None:
        raise ValueError("a document type, an entity or an instruction")

    def _start(self, name: str, _attributes: object) -> None:
        self._path.append(name)
        self._elements += 1
        if len(self._path) > DEPTH_MAX or self._elements > ELEMENTS_MAX:
            raise ValueError("too deep or too many")
        self._text.clear()
        if self._is_match():
            self._endpoint, self._types, self._scopes, self._xaddrs = "", (), (), ()

    def _end(self, name: str) -> None:
        text = "".join(self._text).strip()
        self._text.clear()
        path = tuple(self._path)
        if path == (f"{_SOAP} Envelope", f"{_SOAP} Header", name):
            self._header(name, text)
        elif len(path) > 1 and self._is_match(path[:-1]):
            self._words_of_match(name, text)
        elif name == f"{_ADDRESSING} Address" and path[-2:-1] == (f"{_ADDRESSING} EndpointReference",):
            if self._is_match(path[:-2]) and len(text) <= WORD_MAX_CHARACTERS:
                self._endpoint = text
        elif self._is_match() and self._endpoint and len(self.matches) < MATCHES_MAX:
            self.matches.append(
                Match(endpoint=self._endpoint, types=self._types, scopes=self._scopes, unverified_xaddrs=self._xaddrs)
            )
        self._path.pop()

    def _header(self, name: str, text: str) -> None:
        if name == f"{_ADDRESSING} Action":
            self.action = text
        elif name == f"{_ADDRESSING} RelatesTo":
            self.relates_to = text

    def _words_of_match(self, name: str, text: str) -> None:
        if name == f"{_DISCOVERY} Types":
            self._types = tuple(filter(None, map(self._resolved, _words(text))))
        elif name == f"{_DISCOVERY} Scopes":
            self._scopes = _words(text)
        elif name == f"{_DISCOVERY} XAddrs":
            self._xaddrs = _words(text)

    def _resolved(self, qname: str) -> str:
        """Return ``prefix:name`` as ``namespace name``."""
        prefix, colon, name = qname.rpartition(":")
        namespaces = self._prefixes.get(prefix if colon else "", [])
        return f"{namespaces[-1]}{_SEPARATOR}{name}" if namespaces else ""

    def _is_match(self, path: Sequence[str] | None = None) -> bool:
        """Whether a place in the message is a target's: in ``ProbeMatches``, or a ``Hello`` or ``Bye`` itself."""
        return tuple(self._path if path is None else path) in _MATCH_PATHS


_BODY: Final = (f"{_SOAP} Envelope", f"{_SOAP} Body")
_MATCH_PATHS: Final = {
    (*_BODY, f"{_DISCOVERY} ProbeMatches", f"{_DISCOVERY} ProbeMatch"),
    (*_BODY, f"{_DISCOVERY} Hello"),
    (*_BODY, f"{_DISCOVERY} Bye"),
}
