"""A person enrols a camera: it is found, its key is compared with what the person holds in hand, then it is pinned.

1. Where is it: at the address that was given, else among what is heard now.
2. Who answers there: the key that it proves in a TLS handshake. Nothing is sent to it.
3. Is that the one: the label's or the accepted fingerprint, the vendor's chain and the serial number, the accepted
   certificate. For ``configured`` nothing is compared, and the level says so.
4. One transaction: the row, its audit event. *Power fails before: nothing is enrolled.*
"""

import asyncio
import hmac
import shlex
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from agent import enrolment
from agent.app.nearby import discoverers, make_nearby, outside_of
from agent.app.parts import Parts
from agent.camera.identity import LinkIdentity
from agent.camera.tls import ImpostorError, Shown
from agent.clock import monotonic_s
from agent.config import DiscoverySettings
from agent.control import Progress
from agent.discovery.ble.service import SERVICE
from agent.enrolment import Enrolled, host_and_port
from agent.envelope.label import camera_fingerprint, read_fingerprint, read_label
from agent.errors import ConfigError, CorruptError, LinkError, RefusedError
from agent.index import Tx
from agent.nearby.flow import Nearby
from agent.nearby.look import NotIssuedError, look
from agent.nearby.view import troubles_view

FIND_S: Final = 15.0
"""So long a camera without an address is listened for: one that starts now is heard within a few seconds."""

PROBE_S: Final = 10.0
"""So long one that was just enrolled is looked for: whether it answers now is told with it."""

NAMED_MAX: Final = 4
"""So many that answered and were not meant are named."""

LOOKS: Final = 16
"""So many that claim one serial number are looked at side by side."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person said; exactly one of ``label``, ``accept``, ``vendor_ca``, ``pinned`` and ``configured``."""

    label: str = ""
    accept: str = ""
    vendor_ca: str = ""
    """PEM of the vendor's authority."""
    serial: str = ""
    pinned: str = ""
    """SHA-256 of the certificate that a person compared; ``ask`` for "tell me which one it shows"."""
    configured: bool = False
    address: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a question is answered with."""

    parts: Parts
    nearby: Nearby | None
    wanted: Wanted
    identity: LinkIdentity
    progress: Progress


async def enrol(parts: Parts, nearby: Nearby | None, args: dict[str, Any], progress: Progress) -> Enrolled:
    """Enrol what the arguments say.

    Raises ``ConfigError`` for what a person has to correct, ``LinkError`` where nobody is found, ``ImpostorError``
    where another one is.
    """
    try:
        wanted = msgspec.convert(args, Wanted)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the question is not understood ({error})", hint="privacy-agent enrol --help") from error
    identity = await parts.index.write(lambda tx: enrolment.link_identity(tx, moment=parts.now()))
    told = await _compared(_Asked(parts, nearby, wanted, identity, progress))

    def write(tx: Tx) -> Enrolled:
        return enrolment.enrol(tx, **told, endpoint=wanted.address, name=wanted.name, moment=parts.now())

    made = await parts.index.write(write)
    if nearby is not None:
        await nearby.enrolled_changed()
        with suppress(TimeoutError):  # it is looked for again by itself
            async with asyncio.timeout(PROBE_S):
                await nearby.probe(made)  # its key may have been heard a while ago
    return made


async def _compared(asked: _Asked) -> dict[str, Any]:
    """Return what is enrolled, once it was compared."""
    wanted = asked.wanted
    if wanted.configured or wanted.pinned:
        host_and_port(wanted.address)
    if wanted.configured:
        return {"level": "configured"}
    if wanted.pinned:
        found = await _at(asked, wanted.address)
        _require_accepted(found, asked)
        return {"level": "pinned", "certificate_sha256": found.certificate_sha256}
    found = await (_vouched(asked) if wanted.vendor_ca else _holder(asked))
    if not found.unverified_device:
        raise ConfigError(
            "its certificate names no camera's id: it speaks no camera link",
            hint=f"pin its certificate instead: {asked.parts.config.command('enrol --pinned HOST:PORT')}",
        )
    return {"level": "proved", "device": found.unverified_device, "kid": found.kid}


def _require_accepted(found: Shown, asked: _Asked) -> None:
    wanted = asked.wanted
    digits = found.certificate_sha256.hex()
    if wanted.pinned.lower().replace(":", "").replace("-", "").replace(" ", "") == digits:
        return
    raise RefusedError(
        f"{wanted.address} shows the certificate {digits}",
        reason="not_compared",
        retry="after_fix",
        hint="compare that SHA-256 with what the camera's own settings page shows; if it is the same: "
        + asked.parts.config.command(f"enrol --pinned {shlex.quote(wanted.address)} --accept {digits}"),
    )


async def _holder(asked: _Asked) -> Shown:
    """Return what holds the key of the label, or of the fingerprint that a person accepts."""
    wanted = asked.wanted
    label = read_label(wanted.label) if wanted.label else None
    digits = label.fingerprint if label is not None else read_fingerprint(wanted.accept)
    device = "" if label is None else label.id
    found = await (_at(asked, wanted.address) if wanted.address else _heard_holder(asked, digits, device=device))
    if not _holds(found, digits):
        told = camera_fingerprint(found.kid) if found.kid else "of no camera's key"
        raise ImpostorError(
            f"what answers at {wanted.address} has the fingerprint {told}",
            reason="camera_impostor",
            hint="it is not the camera that was meant; look for the right one: "
            + asked.parts.config.command("discover"),
        )
    if label is not None and found.unverified_device != label.id:
        raise ImpostorError(
            "the key is the label's, and its certificate names another camera",
            reason="camera_impostor",
            hint="do not use this camera before its vendor explains that",
        )
    return found


def _holds(shown: Shown, digits: str) -> bool:
    return bool(shown.kid) and hmac.compare_digest(camera_fingerprint(shown.kid).replace(" ", ""), digits)


async def _vouched(asked: _Asked) -> Shown:
    """Return what holds a key that the vendor issued a certificate for, with the serial number that was named."""
    from agent.camera.vendor import serial_of, vendor_context  # noqa: PLC0415 - loaded only where it is asked for

    wanted, identity = asked.wanted, asked.identity
    if not wanted.serial:
        raise ConfigError("the serial number is missing", hint="add --serial NUMBER, as it is printed on the camera")
    context = vendor_context(wanted.vendor_ca, key_pem=identity.key_pem, certificate_pem=identity.certificate_pem)

    def meant(shown: Shown) -> bool:
        try:
            return bool(shown.kid) and hmac.compare_digest(
                serial_of(shown.certificate).encode(), wanted.serial.encode()
            )
        except CorruptError:
            return False

    try:
        if not wanted.address:
            return await _heard_vouched(asked, meant, context)
        found = await look(*host_and_port(wanted.address), context=context, numeric=False)
    except NotIssuedError as error:
        raise ImpostorError(
            "its certificate was not issued by that vendor",
            reason="camera_impostor",
            hint="see that it is the file of that camera's vendor; else enrol it by its label",
        ) from error
    if not meant(found):
        raise ImpostorError(
            "the vendor's certificate there is for another serial number",
            reason="camera_impostor",
            hint="compare the serial number that is printed on the camera",
        )
    return found


async def _heard_vouched(asked: _Asked, meant: Callable[[Shown], bool], context: ssl.SSLContext) -> Shown:
    """Look again, in the vendor's context, at each that claims the serial number, once, until one passes.

    Anybody may claim it. Raises ``NotIssuedError`` where nothing passed and something was not the vendor's.
    """
    tried: set[tuple[str, int]] = set()
    others: list[NotIssuedError] = []

    async def vouched(host: str, port: int) -> Shown | None:
        try:
            found = await look(host, port, context=context)
        except NotIssuedError as error:
            others.append(error)
        except (LinkError, CorruptError):
            tried.discard((host, port))  # it may be back in a second
        else:
            return found if meant(found) else None
        return None

    async def one_of(ears: Nearby) -> Shown | None:
        claiming = [row for row in ears.inventory.rows() if row.shown is not None and meant(row.shown)]
        places = list(dict.fromkeys((row.proved_at, row.sighting.port) for row in claiming))
        now = [place for place in places if place not in tried][:LOOKS]
        tried.update(now)
        passed = await asyncio.gather(*(vouched(*place) for place in now))
        return next((found for found in passed if found is not None), None)

    try:
        return await _heard(asked, one_of)
    except LinkError:
        if others:
            raise others[0] from None
        raise


async def _at(asked: _Asked, address: str) -> Shown:
    return await outside_of(asked.identity).look_at_name(*host_and_port(address))


async def _heard_holder(asked: _Asked, digits: str, *, device: str) -> Shown:
    async def holder(ears: Nearby) -> Shown | None:
        shown = (row.shown for row in ears.inventory.rows())
        return next((one for one in shown if one is not None and _holds(one, digits)), None)

    return await _heard(asked, holder, others=partial(_other_holders, device=device))


def _other_holders(ears: Nearby, *, device: str) -> None:
    """Say which cameras answered that are not the one that was meant.

    Raises ``ImpostorError`` for those that name the label's id, else ``LinkError`` for what nobody enrolled.
    """
    enrolled = {one.kid for one in ears.cameras}
    there = [
        (row.shown, f"{row.proved_at} port {row.sighting.port}")
        for row in ears.inventory.rows()
        if row.shown is not None and row.shown.kid and row.gone_ms is None
    ]
    meant = [one for one in there if one[0].unverified_device == device] if device else []
    others = meant or [one for one in there if one[0].kid not in enrolled]
    if not others:
        return
    told = "; ".join(f"{camera_fingerprint(shown.kid)} at {where}" for shown, where in others[:NAMED_MAX])
    more = f"; and {len(others) - NAMED_MAX} more" if len(others) > NAMED_MAX else ""
    if meant:
        raise ImpostorError(
            f"a camera with the id {device} answers with another key than the label's: {told}{more}",
            reason="camera_impostor",
            hint="compare the label letter by letter; if it is right, that is not the camera that was meant",
        )
    raise LinkError(
        f"no such camera was heard in {FIND_S:.0f} s, but others that are not enrolled: {told}{more}",
        hint="compare what was given letter by letter; if it is right, see that the camera is on and on this network",
    )


async def _heard(
    asked: _Asked,
    one_of: Callable[[Nearby], Awaitable[Shown | None]],
    *,
    others: Callable[[Nearby], None] = lambda _ears: None,
) -> Shown:
    """Listen until one of those near is the one that is meant; raises ``LinkError`` when none was in ``FIND_S``.

    ``others`` may raise something better then: it sees what was heard.
    """
    begin_s = monotonic_s()
    async with _listening(asked.parts, asked.nearby) as ears:
        while (left_s := begin_s + FIND_S - monotonic_s()) > 0:
            if (found := await one_of(ears)) is not None:
                return found
            asked.progress({"done": round(FIND_S - left_s), "total": round(FIND_S)})
            await ears.next_change(within_s=min(1.0, left_s))
        others(ears)
        _by_bluetooth_alone(ears)
        troubles = troubles_view(ears)
    unheard = f"{asked.parts.config.file} has no [discovery], so this command listened itself and no agent would"
    raise LinkError(
        f"no such camera was heard in {FIND_S:.0f} s"
        + (f"; {unheard}: add that line" if asked.parts.config.discovery is None else ""),
        hint=_unheard_steps(asked, troubles),
    )


def _unheard_steps(asked: _Asked, troubles: list[dict[str, str]]) -> str:
    """Say what to do where nobody was heard: what helps at once is first, Bluetooth last, which enrols nobody alone."""
    config = asked.parts.config
    address = config.command("enrol LABEL HOST:PORT") if asked.wanted.label else "HOST:PORT behind what was given"
    network = dict.fromkeys(one["next"] for one in troubles if one["way"] != "ble")
    radio = dict.fromkeys(f"for Bluetooth, {one['next']}" for one in troubles if one["way"] == "ble")
    here = network or [f"see that this machine is on its network: {config.command('discover')} shows what is heard"]
    return "; ".join((f"give its address: {address}", *here, *radio))


def _by_bluetooth_alone(ears: Nearby) -> None:
    """Raise ``LinkError`` where a camera that nobody enrolled is heard over Bluetooth: there is no key to compare.

    Over Bluetooth a camera answers only the agent that it knows from its camera link (docs/ble.md §1).
    """
    if any(
        row.sighting.service == SERVICE and row.met is None and row.gone_ms is None and not row.expected
        for row in ears.inventory.rows()
    ):
        raise LinkError(
            f"no such camera was heard on the network in {FIND_S:.0f} s; what is heard over Bluetooth alone shows its"
            " key to no stranger",
            hint="enrol it where its camera link is reached: connect it to this network, or give its address as well:"
            " HOST:PORT",
        )


@asynccontextmanager
async def _listening(parts: Parts, nearby: Nearby | None) -> AsyncIterator[Nearby]:
    """Use the agent's ears where it has some, else listen for the time of this question."""
    if nearby is not None:
        yield nearby
        return
    settings = parts.config.discovery or DiscoverySettings()
    ears = await make_nearby(parts, discoverers(settings, read_clock=parts.read_clock))
    async with ears.running():
        yield ears
