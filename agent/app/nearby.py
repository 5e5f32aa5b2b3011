"""The ways of listening, made as the config says, and what is near put together from them.

What a way needs is imported here when it is on: an agent without ``[discovery]`` loads nothing of it.
"""

import secrets
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from agent import enrolment
from agent.app.alarm import Alarm
from agent.app.parts import Parts
from agent.clock import ReadClock
from agent.config import DiscoverySettings
from agent.discovery.sighting import Discoverer, Sighting, Way
from agent.enrolment import Enrolled, LinkIdentity
from agent.envelope import private_key_from_pem, public_jwk, raw_signature
from agent.index import Index
from agent.model import Moment
from agent.nearby.flow import AlertIn, Nearby, Outside, Prove
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
        else:
            from agent.discovery.ble.scanner import Scanner  # noqa: PLC0415 - the same

            made[way] = Scanner(now_ms=lambda: read_clock().wall_ms, adapter=settings.adapter)
    return made


def outside_of(identity: LinkIdentity, *, prove: Prove | None = None) -> Outside:
    """Return how addresses are looked at as the holder of this identity."""
    from agent.camera.tls import client_context  # noqa: PLC0415 - loaded only where cameras are looked at

    context_of = partial(client_context, key_pem=identity.key_pem, certificate_pem=identity.certificate_pem)
    link, older = context_of(), context_of(minimum=ssl.TLSVersion.TLSv1_2)
    return Outside(
        look=partial(look, context=link),
        look_at_name=partial(look, context=older, numeric=False),
        reached=reached,
        prove=prove,
    )


def proving(scanner: Discoverer | None, identity: LinkIdentity) -> Prove | None:
    """Return how a camera near by Bluetooth proves itself, where that is listened to."""
    if scanner is None:
        return None
    from agent.discovery.ble.peripheral import Slots, connected  # noqa: PLC0415 - loaded only where it is on
    from agent.discovery.ble.proof import AgentKey  # noqa: PLC0415 - the same
    from agent.discovery.ble.scanner import Scanner  # noqa: PLC0415 - the same

    assert isinstance(scanner, Scanner)  # noqa: S101 - made above
    ears, slots, key = scanner, Slots(), private_key_from_pem(identity.key_pem)
    shown = AgentKey(public_jwk(key), lambda words: raw_signature(key, words))

    async def prove(sighting: Sighting, camera: Enrolled) -> dict[str, Any]:
        async with connected(ears, sighting.key, slots=slots) as near:
            state = await near.prove(
                shown, camera_kid=camera.kid, advert_key=camera.advert_key, random=secrets.token_bytes
            )
        told: dict[str, Any] = msgspec.to_builtins(state)
        return {name: value for name, value in told.items() if name != "taken"}

    return prove


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
    cameras: tuple[Enrolled, ...] = (),
) -> Nearby:
    """Put the flow together; without an index ``cameras`` are those that are enrolled, and nothing is written."""
    return Nearby(
        ways,
        index=index,
        now=now,
        outside=outside_of(identity, prove=proving(ways.get("ble"), identity)),
        alert_in=alert_in,
        tell=tell,
        found=found,
        cameras=cameras,
    )
