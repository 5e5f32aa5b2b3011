"""SOAP over HTTP: one request a connection, answered from what the camera is told to say."""

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from device_sim.camera.listen import listening, stop_listening

HEAD_MAX_BYTES: Final = 8_192
BODY_MAX_BYTES: Final = 65_536
SERVICE_PATH: Final = "/onvif/device_service"

SOAP: Final = "http://www.w3.org/2003/05/soap-envelope"
DEVICE: Final = "http://www.onvif.org/ver10/device/wsdl"
MEDIA: Final = "http://www.onvif.org/ver10/media/wsdl"
EVENTS: Final = "http://www.onvif.org/ver10/events/wsdl"
SCHEMA: Final = "http://www.onvif.org/ver10/schema"
TOPICS: Final = "http://docs.oasis-open.org/wsn/t-1"
_WSSE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_SPACES: Final = (
    f'xmlns:s="{SOAP}" xmlns:tds="{DEVICE}" xmlns:trt="{MEDIA}" xmlns:tev="{EVENTS}" xmlns:tt="{SCHEMA}" '
    'xmlns:ter="http://www.onvif.org/ver10/error" xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2" '
    f'xmlns:wstop="{TOPICS}" xmlns:tns1="http://www.onvif.org/ver10/topics"'
)
_PROFILES: Final = (("low", 320, 180), ("high", 1280, 720))


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """What the camera says; addresses may be anybody's, and ``{host}`` in them is the host that was asked."""

    now: Callable[[], datetime]
    stream: str
    """Empty: it says no such thing, as of what it does not know."""
    snapshot: str = "http://camera/snapshot.jpg"
    at: str = ""
    """Where it says that its services are; left out, where it was asked."""
    user: str = ""
    password: str = ""
    redirect: str = ""
    """Where it sends whoever asks for the stream (307)."""


class OnvifService:
    """Serves what ``says`` returns at ``host`` (none: every address); port 0 takes a free one, which ``port`` tells.

    ``picture`` is what a GET of a path is answered with, empty for nothing; ``asked`` are the requests so far.
    """

    def __init__(
        self,
        says: Callable[[], Says],
        *,
        host: str = "",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        picture: Callable[[str], bytes] = lambda _path: b"",
    ) -> None:
        self._said = says
        self._picture = picture
        self.port = port
        self.asked: list[str] = []
        self.listening = asyncio.Event()
        self._host, self._tls = host, tls

    async def run(self) -> None:
        """Serve until cancelled; who is being answered then is cut off."""
        talking: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - asyncio runs this as one
            talking.add(task)
            try:
                await self._talk(reader, writer)
                writer.close()
                await writer.wait_closed()
            except (asyncio.CancelledError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                return  # by the end of ``run``, or the other side's
            finally:
                talking.discard(task)
                writer.transport.abort()

        bound = listening(self._host, self.port)
        server = await asyncio.start_server(accept, sock=bound, ssl=self._tls, limit=HEAD_MAX_BYTES)
        self.port = bound.getsockname()[1]
        try:
            self.listening.set()
            await asyncio.Event().wait()
        finally:
            await stop_listening(server)
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        size = int(fields.get("content-length", "0"))
        if head[0].startswith("GET "):
            writer.write(_shown(await asyncio.to_thread(self._picture, head[0].split(" ")[1])))
            await writer.drain()
        elif size <= BODY_MAX_BYTES:
            body = await reader.readexactly(size)
            status, more, answer = self._answered(body, fields.get("host", ""))
            told = f"HTTP/1.1 {status}\r\nContent-Type: application/soap+xml\r\nContent-Length: {len(answer)}\r\n"
            writer.write(f"{told}{more}Connection: close\r\n\r\n".encode() + answer)
            await writer.drain()

    def _answered(self, body: bytes, host: str) -> tuple[str, str, bytes]:
        envelope = ET.fromstring(body)  # noqa: S314 - a simulator, and its own agent asks
        asked = envelope.find(f"{{{SOAP}}}Body/*")
        name = "" if asked is None else asked.tag.rpartition("}")[2]
        self.asked.append(name)
        says = self._said()
        if says.redirect and name == "GetStreamUri":
            return "307 Temporary Redirect", f"Location: {says.redirect}\r\n", b""
        if name != "GetSystemDateAndTime" and not _knows(envelope, says):
            return "400 Bad Request", "", _fault("ter:NotAuthorized", "Sender not authorized")
        scheme = "https" if self._tls is not None else "http"
        content = _content(name, says, here=says.at or f"{scheme}://{host}")
        if not content:
            return "400 Bad Request", "", _fault("ter:ActionNotSupported", "No such action")
        return "200 OK", "", _envelope(content)


def _knows(envelope: ET.Element, says: Says) -> bool:
    """Check the digest of the password, as UsernameToken Profile 1.0, section 3.1, makes it."""
    if not says.user:
        return True
    token = envelope.find(f".//{{{_WSSE}}}UsernameToken")
    if token is None:
        return False
    user, digest, nonce = (token.findtext(f"{{{_WSSE}}}{one}", "") for one in ("Username", "Password", "Nonce"))
    created = token.findtext(f"{{{_WSU}}}Created", "")
    told = base64.b64decode(nonce) + created.encode() + says.password.encode()
    right = base64.b64encode(hashlib.sha1(told, usedforsecurity=False).digest()).decode("ascii")
    return user == says.user and hmac.compare_digest(digest, right)


def _content(name: str, says: Says, *, here: str) -> str:
    """Return the answer to a request by its name, empty to one that it does not know."""
    named = urlsplit(here).hostname or ""
    host = f"[{named}]" if ":" in named else named
    answers: dict[str, Callable[[], str]] = {
        "GetSystemDateAndTime": lambda: _time(says.now()),
        "GetServices": lambda: _listed("tds:GetServices", (_service(space, here + path) for space, path in _SERVICES)),
        "GetProfiles": lambda: _listed("trt:GetProfiles", (_profile(*profile) for profile in _PROFILES)),
        "GetStreamUri": lambda: _media_uri("GetStreamUri", says.stream.replace("{host}", host)),
        "GetSnapshotUri": lambda: _media_uri("GetSnapshotUri", says.snapshot.replace("{host}", host)),
        "GetEventProperties": lambda: _EVENT_PROPERTIES,
    }
    return answers[name]() if name in answers else ""


_SERVICES: Final = ((DEVICE, SERVICE_PATH), (MEDIA, "/onvif/media"), (EVENTS, "/onvif/events"))


def _listed(name: str, items: Iterable[str]) -> str:
    return f"<{name}Response>{''.join(items)}</{name}Response>"


def _service(space: str, address: str) -> str:
    return (
        f"<tds:Service><tds:Namespace>{space}</tds:Namespace><tds:XAddr>{escape(address)}</tds:XAddr>"
        "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>"
    )


def _profile(token: str, width: int, height: int) -> str:
    return f"""<trt:Profiles token="{token}" fixed="true"><tt:Name>{token}</tt:Name>
<tt:VideoEncoderConfiguration token="{token}"><tt:Name>{token}</tt:Name><tt:UseCount>1</tt:UseCount>
<tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution>
<tt:Quality>4</tt:Quality>
<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type><tt:IPv4Address>0.0.0.0</tt:IPv4Address></tt:Address>
<tt:Port>0</tt:Port><tt:TTL>1</tt:TTL><tt:AutoStart>false</tt:AutoStart></tt:Multicast>
<tt:SessionTimeout>PT60S</tt:SessionTimeout></tt:VideoEncoderConfiguration></trt:Profiles>"""


def _media_uri(name: str, uri: str) -> str:
    if not uri:
        return ""
    return (
        f"<trt:{name}Response><trt:MediaUri><tt:Uri>{escape(uri)}</tt:Uri>"
        "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect><tt:InvalidAfterReboot>false</tt:InvalidAfterReboot>"
        f"<tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:{name}Response>"
    )


def _time(now: datetime) -> str:
    return f"""<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType>
<tt:DaylightSavings>false</tt:DaylightSavings><tt:UTCDateTime>
<tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute><tt:Second>{now.second}</tt:Second></tt:Time>
<tt:Date><tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date>
</tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"""


def _shown(picture: bytes) -> bytes:
    """Return the answer to a GET."""
    status = "200 OK" if picture else "404 Not Found"
    head = f"HTTP/1.1 {status}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\nConnection: close"
    return f"{head}\r\n\r\n".encode() + picture


_DIALECT: Final = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"
_EVENT_PROPERTIES: Final = f"""<tev:GetEventPropertiesResponse>
<tev:TopicNamespaceLocation>http://www.onvif.org/onvif/ver10/topics/topicns.xml</tev:TopicNamespaceLocation>
<wsnt:FixedTopicSet>true</wsnt:FixedTopicSet>
<wstop:TopicSet><tns1:VideoSource><MotionAlarm wstop:topic="true"/></tns1:VideoSource>
<tns1:Device><Trigger><DigitalInput wstop:topic="true"/></Trigger></tns1:Device></wstop:TopicSet>
<wsnt:TopicExpressionDialect>{_DIALECT}</wsnt:TopicExpressionDialect>
<tev:MessageContentFilterDialect>http://www.onvif.org/ver10/tev/messageContentFilter/ItemFilter</tev:MessageContentFilterDialect>
<tev:MessageContentSchemaLocation>http://www.onvif.org/onvif/ver10/schema/onvif.xsd</tev:MessageContentSchemaLocation>
</tev:GetEventPropertiesResponse>"""


def _envelope(content: str) -> bytes:
    return f'<?xml version="1.0"?><s:Envelope {_SPACES}><s:Body>{content}</s:Body></s:Envelope>'.encode()


def _fault(subcode: str, reason: str) -> bytes:
    code = f"<s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>{subcode}</s:Value></s:Subcode></s:Code>"
    return _envelope(f'<s:Fault>{code}<s:Reason><s:Text xml:lang="en">{reason}</s:Text></s:Reason></s:Fault>')
