"""The ways of listening, made as the config says, and what is near put together from them.

What a way needs is imported here when it is on: an agent without ``[discovery]`` loads nothing of it.
"""

import ssl
from collections.abc import Callable
from functools import partial

from agent import enrolment
from agent.app.alarm import Alarm
from agent.app.parts import Parts
from agent.clock import ReadClock
from agent.config import DiscoverySettings
from agent.discovery.sighting import Discoverer, Way
from agent.enrolment import LinkIdentity
from agent.index import Index
from agent.model import Moment
from agent.nearby.flow import AlertIn, Nearby, Outside
from agent.nearby.look import look, reached


def discoverers(settings: DiscoverySettings, *, read_clock: ReadClock) -> dict[Way, Discoverer]:
    """Return the ways of listening that are on; none of them has begun."""
    made: dict[Way, Discoverer] = {}
    for way in settings.ways:
        if way == "mdns":
            from agent.discovery.mdns import Mdns  # noqa: PLC0415 - loaded only where it is on

            made[way] = Mdns(read_clock, interfaces=settings.interfaces)
        elif way == "onvif":
            from agent.discovery.onvif import Onvif  # noqa: PLC0415 - the same

            made[way] = Onvif(read_clock, interfaces=settings.interfaces)
    return made


def outside_of(identity: LinkIdentity) -> Outside:
    """Return how addresses are looked at as the holder of this identity."""
    from agent.camera.tls import client_context  # noqa: PLC0415 - loaded only where cameras are looked at

    context_of = partial(client_context, key_pem=identity.key_pem, certificate_pem=identity.certificate_pem)
    link, older = context_of(), context_of(minimum=ssl.TLSVersion.TLSv1_2)
    return Outside(
        look=partial(look, context=link),
        look_at_name=partial(look, context=older, numeric=False),
        reached=reached,
    )


async def make_nearby(
    parts: Parts,
    ways: dict[Way, Discoverer],
    *,
    tell: Callable[[str, str], None] = lambda _code, _what: None,
    found: Callable[[str], None] = lambda _camera: None,
) -> Nearby:
    """Return what is near for an agent with its index; not running yet."""
    identity = await parts.index.write(lambda tx: enrolment.link_identity(tx, moment=parts.now()))
    alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
    return assembled(
        ways, identity=identity, index=parts.index, now=parts.now, alert_in=alarm.raise_in, tell=tell, found=found
    )


def assembled(
    ways: dict[Way, Discoverer],
    *,
    identity: LinkIdentity,
    index: Index | None,
    now: Callable[[], Moment],
    alert_in: AlertIn = lambda *_told: None,
    tell: Callable[[str, str], None] = lambda _code, _what: None,
    found: Callable[[str], None] = lambda _camera: None,
) -> Nearby:
    """Put the flow together; without an index nobody is enrolled and nothing is written."""
    return Nearby(ways, index=index, now=now, outside=outside_of(identity), alert_in=alert_in, tell=tell, found=found)
