"""A person pairs this device with a camera that demands a passkey (docs/ble.md §7): typed in here, used there, gone.

What is paired is the radio link alone. Whom this device trusts is decided by the proof that follows, as without one.
"""

from typing import Any

import msgspec

from agent import enrolment
from agent.app import enrolling
from agent.app.parts import Parts
from agent.app.passkey import Passkeys, read_passkey
from agent.control import Progress
from agent.enrolment import Enrolled
from agent.errors import ConfigError, LinkError
from agent.nearby.flow import Nearby
from agent.nearby.view import radio_view


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person said."""

    camera: str
    passkey: str

    def __repr__(self) -> str:
        return f"Told({self.camera})"


async def enrol(
    parts: Parts, nearby: Nearby | None, passkeys: Passkeys, args: dict[str, Any], progress: Progress
) -> Enrolled:
    """Enrol a camera (``enrolling.enrol``); its passkey waits until it is met over Bluetooth."""
    passkey = str(args.get("passkey", ""))
    if passkey:
        read_passkey(passkey)
        _require_ears(parts, nearby)
    made = await enrolling.enrol(
        parts, nearby, {name: value for name, value in args.items() if name != "passkey"}, progress
    )
    if passkey and nearby is not None:
        passkeys.give(made.camera, passkey)
        await nearby.enrolled_changed()
    return made


async def pair(parts: Parts, nearby: Nearby | None, passkeys: Passkeys, args: dict[str, Any]) -> dict[str, Any]:
    """Pair with an enrolled camera that is near, and have it prove itself; return what it then said.

    Raises ``ConfigError`` for what a person has to correct, ``LinkError`` where it is not near, ``RefusedError`` where
    it does not take the passkey.
    """
    try:
        told = msgspec.convert(args, Told)
    except msgspec.ValidationError as error:
        raise ConfigError("the question is not understood", hint="privacy-agent passkey ID") from error
    known = await parts.index.read(lambda tx: enrolment.by_camera(tx, told.camera))
    if known is None or known.level != "proved":
        raise ConfigError(
            f"camera {told.camera} is not enrolled by its key", hint="name one that is: privacy-agent cameras"
        )
    ears = _require_ears(parts, nearby)
    if not known.advert_key:
        raise LinkError(
            "the camera was not paired over its camera link yet, so it is not known among those near",
            hint="open its set-up window on the network of this device first",
        )
    passkeys.give(told.camera, told.passkey)
    await ears.meet_by_radio(told.camera)
    return {"camera": told.camera, **radio_view(ears, told.camera)}


def _require_ears(parts: Parts, nearby: Nearby | None) -> Nearby:
    if nearby is None or not nearby.hears("ble"):
        raise LinkError(
            "no running agent listens for Bluetooth",
            hint=f'let [discovery] in {parts.config.file} have the way "ble", and start it: '
            + parts.config.command("run"),
        )
    return nearby
