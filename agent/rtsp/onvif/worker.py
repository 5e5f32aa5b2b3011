"""Ask one ONVIF service where its camera streams, where it shows a picture, and of what it tells events.

The library (onvif-zeep-async) is kept at home: it connects to the configured endpoint alone, where the service's own
answers or a redirection may send it, with the pinned certificate where there is TLS (of itself it checks none).
"""

import asyncio
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import onvif.client
import zeep.exceptions
from onvif import ONVIFCamera, ONVIFError
from yarl import URL

from agent.errors import AgentError, ConfigError, CorruptError, LinkError
from agent.rtsp.challenge import Credentials
from agent.rtsp.message import another_certificate
from agent.rtsp.onvif.message import TEXT_MAX, TOPICS_MAX, Found, Question
from agent.rtsp.settings import PORTS, read_service

REQUEST_S: Final = 10
PROFILES_MAX: Final = 64

_TOPIC: Final = "{http://docs.oasis-open.org/wsn/t-1}topic"
_STREAM: Final = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}


class _AtHome(aiohttp.TCPConnector):
    """Connects to one endpoint and to no other."""

    def __init__(self, home: str, certificate_sha256: bytes, **others: Any) -> None:  # noqa: ANN401 - the library's
        others["ssl"] = aiohttp.Fingerprint(certificate_sha256) if certificate_sha256 else False
        super().__init__(**others)
        self._home = home

    async def connect(self, req: aiohttp.ClientRequest, *rest: Any, **others: Any) -> Any:  # noqa: ANN401 - aiohttp's
        """Refuse what is not at home."""
        if str(req.url.origin()) != self._home:
            raise _ElsewhereError
        return await super().connect(req, *rest, **others)


class _ElsewhereError(aiohttp.ClientError):
    """Somebody is to be asked who is not configured."""


class _Camera(ONVIFCamera):  # type: ignore[misc]  # the library has no types
    """Whatever the service says of addresses, it is the configured endpoint that is asked."""

    def __init__(self, home: str, *rest: Any, **others: Any) -> None:  # noqa: ANN401 - the library's
        super().__init__(*rest, **others)
        self._home = home

    def rewrite_url(self, url: str | None) -> str | None:
        """Return its path and query at home."""
        return None if url is None else _at(self._home, url)


def ask(question: Question, credentials: Credentials | None) -> Found:
    """Ask; raises what ``agent.rtsp.onvif.client.ask`` says."""
    try:
        return asyncio.run(_ask(question, credentials))
    except AgentError:
        raise
    except zeep.exceptions.Fault as fault:
        raise _refused(fault, credentials) from None
    except aiohttp.ServerFingerprintMismatch:
        raise another_certificate() from None
    except _ElsewhereError:
        raise LinkError(
            "the camera sends us to another address, which is not followed", hint="write that address, if it is right"
        ) from None
    except (aiohttp.ClientError, TimeoutError, OSError):
        raise LinkError(
            "the camera's ONVIF service cannot be reached", hint="see that it is on, and that its port is the right one"
        ) from None
    except (zeep.exceptions.Error, ONVIFError, LookupError, TypeError, ValueError, AttributeError):
        raise CorruptError("what the camera says is no answer of an ONVIF service") from None


async def _ask(question: Question, credentials: Credentials | None) -> Found:
    service = read_service(question.url)
    home = urlunsplit((service.scheme, service.netloc, "", "", "")).rstrip("/")
    door = partial(_AtHome, str(URL(home).origin()), question.certificate_sha256)
    onvif.client.TCPConnector = door
    user, password = ("", "") if credentials is None else (credentials.user, credentials.password)
    port = service.port or (443 if service.scheme == "https" else 80)
    camera = _Camera(
        home,
        f"{service.scheme}://{_host(service.hostname or '')}",
        port,
        user,
        password,
        no_cache=True,
        adjust_time=True,
    )
    try:
        await camera.update_xaddrs()
        return await _found(camera, service.hostname or "")
    finally:
        await camera.close()


async def _found(camera: Any, host: str) -> Found:  # noqa: ANN401 - the library has no types
    media = await camera.create_media_service()
    profiles = (await media.GetProfiles())[:PROFILES_MAX]
    token = max(profiles, key=_width).token
    told = await media.GetStreamUri({"StreamSetup": _STREAM, "ProfileToken": token})
    return Found(
        stream=_stream(str(told.Uri), host),
        snapshot=str(await camera.get_snapshot_uri(token) or "")[:TEXT_MAX],
        topics=await _topics(camera),
    )


def _width(profile: Any) -> int:  # noqa: ANN401 - the library has no types
    encoder = profile.VideoEncoderConfiguration
    if encoder is None or str(encoder.Encoding).upper() not in {"H264", "H265", "HEVC"}:
        return 0
    return int(encoder.Resolution.Width)


async def _topics(camera: Any) -> tuple[str, ...]:  # noqa: ANN401 - the library has no types
    """Return the names of what it tells events of, none where it has no such service."""
    try:
        events = await camera.create_events_service()
        told = await events.GetEventProperties()
    except (ONVIFError, zeep.exceptions.Fault):
        return ()
    found: list[str] = []
    waiting = [("", one) for one in told.TopicSet._value_1 or ()]  # noqa: SLF001 - so zeep names what has any form
    while waiting and len(found) < TOPICS_MAX:
        above, element = waiting.pop(0)
        name = f"{above}/{element.tag.rpartition('}')[2]}".lstrip("/")
        if element.get(_TOPIC) in {"true", "1"} and len(name) <= TEXT_MAX and name.isprintable():
            found.append(name)
        waiting += [(name, one) for one in element if isinstance(one.tag, str)]
    return tuple(sorted(found))


def _stream(told: str, host: str) -> str:
    """Return a stream's address at the configured host, without the credentials that some cameras put in."""
    parts = urlsplit(told)
    if parts.scheme not in PORTS:
        raise CorruptError("what the camera says is no answer of an ONVIF service")
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, f"{_host(host)}{port}", parts.path, parts.query, ""))


def _at(home: str, url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((*urlsplit(home)[:2], parts.path, parts.query, ""))


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _refused(fault: zeep.exceptions.Fault, credentials: Credentials | None) -> AgentError:
    codes = " ".join(str(one) for one in (fault.code, *(fault.subcodes or ())))
    if "NotAuthorized" not in codes and "FailedAuthentication" not in codes:
        return LinkError("the camera's ONVIF service refuses to say where it streams", hint="see its settings")
    if credentials is None:
        return ConfigError(
            "the camera demands a user and a password",
            hint='put both into a file of mode 0600, a line each, and name it: credentials = "/etc/…"',
        )
    return ConfigError(
        "the camera refuses the user or the password",
        hint="correct the file that credentials names; many cameras have users of their own for ONVIF",
    )
