"""The ways of listening, made as the config says, and what is near put together from them.

What a way needs is imported here when it is on: an agent without ``[discovery]`` loads nothing of it.
"""

import secrets
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from agent import enrolment
from agent.app.alarm import Alarm
from agent.app.parts import Parts
from agent.app.passkey import Passkeys
from agent.camera.identity import LinkIdentity
from agent.clock import ReadClock
from agent.config import DiscoverySettings
from agent.discovery.sighting import Discoverer, Sighting, Way
from agent.enrolment import Enrolled
from agent.envelope import private_key_from_pem, public_jwk, raw_signature
from agent.errors import LinkError, RefusedError
from agent.index import Index
from agent.model import Moment
from agent.nearby.alert import Standing
from agent.nearby.flow import AlertIn, Nearby, Outside, Prove
from agent.nearby.inventory import Met
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


class Radio(msgspec.Struct, frozen=True, kw_only=True):
    """What a running agent has for a camera that it meets over Bluetooth; a process that only looks has none of it."""

    wanted: Callable[[str], bool]
    """Whether a camera is to collect."""
    said: Callable[[str, bool, bool], None]
    """Takes of a camera what it does, and what it did before it was told."""
    passkeys: Passkeys


def proving(scanner: Discoverer | None, identity: LinkIdentity, radio: Radio | None = None) -> Prove | None:
    """Return how a camera near by Bluetooth proves itself, and is switched as is wanted, where that is listened to."""
    if scanner is None:
        return None
    from agent.discovery.ble.peripheral import Peripheral, Slots, connected, nobody_typed  # noqa: PLC0415 - loaded only where it is on
    from agent.discovery.ble.proof import AgentKey  # noqa: PLC0415 - the same
    from agent.discovery.ble.scanner import Scanner  # noqa: PLC0415 - the same

    assert isinstance(scanner, Scanner)  # noqa: S101 - made above
    ears, slots, key = scanner, Slots(), private_key_from_pem(identity.key_pem)
    shown = AgentKey(public_jwk(key), lambda words: raw_signature(key, words))

    async def prove(sighting: Sighting, camera: Enrolled) -> Met:
        passkey_of = nobody_typed if radio is None else partial(radio.passkeys.take, camera.camera)
        async with connected(ears, sighting.key, slots=slots, passkey_of=passkey_of) as near:
            return await meet(near, camera)

    async def meet(near: Peripheral, camera: Enrolled) -> Met:
        """Prove each to the other, then switch what is not as it is wanted, then read what proves nothing."""
        first = last = await near.prove(
            shown, camera_kid=camera.kid, advert_key=camera.advert_key, random=secrets.token_bytes
        )
        if radio is not None:
            wanted = radio.wanted(camera.camera)
            if first.collection is not wanted:
                last = await near.switch(collection=wanted)
            radio.said(camera.camera, last.collection, first.collection)
            if last.collection is not wanted:
                raise LinkError("the camera did not switch", hint="look at it; it is tried again by itself")
        told: dict[str, Any] = msgspec.to_builtins(last)
        about: dict[str, str] = {}
        with suppress(LinkError, RefusedError):  # it proved itself, whatever becomes of this
            about = msgspec.to_builtins(await near.information())
        return Met(state={name: value for name, value in told.items() if name != "taken"}, unverified=about)

    return prove


async def make_nearby(
    parts: Parts,
    ways: dict[Way, Discoverer],
    *,
    tell: Callable[[str, str], None] = lambda _code, _what: None,
    found: Callable[[str], None] = lambda _camera: None,
    radio: Radio | None = None,
    standing: Standing | None = None,
) -> Nearby:
    """Return what is near for an agent with its index; not running yet."""
    identity = await parts.index.write(lambda tx: enrolment.link_identity(tx, moment=parts.now()))
    alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
    return assembled(
        ways,
        identity=identity,
        index=parts.index,
        now=parts.now,
        alert_in=alarm.raise_in,
        tell=tell,
        found=found,
        radio=radio,
        standing=standing,
    )


def assembled(
    ways: dict[Way, Discoverer],
    *,
    identity: LinkIdentity,
    index: Index | None,
    now: Callable[[], Moment],
    alert_in: AlertIn = lambda *_told, **_how: None,
    tell: Callable[[str, str], None] = lambda _code, _what: None,
    found: Callable[[str], None] = lambda _camera: None,
    cameras: tuple[Enrolled, ...] = (),
    radio: Radio | None = None,
    standing: Standing | None = None,
) -> Nearby:
    """Put the flow together; without an index ``cameras`` are those that are enrolled, and nothing is written."""
    return Nearby(
        ways,
        index=index,
        now=now,
        outside=outside_of(identity, prove=proving(ways.get("ble"), identity, radio)),
        alert_in=alert_in,
        tell=tell,
        found=found,
        cameras=cameras,
        standing=standing,
    )
