"""What a shown key means for the cameras that are enrolled; pure, and the only judge of it.

``Shown`` was proved by a handshake: whoever answered holds that key. What it claims besides, in its certificate or in
its advert, is compared with what was enrolled, and never replaces it.
"""

import hmac
from collections.abc import Collection
from typing import Literal

import msgspec

from agent.camera.tls import Shown
from agent.enrolment import Enrolled

Rule = Literal["copied_advert", "changed_key", "second_device", "changed_id", "changed_certificate", "failed_proof"]
"""Why something is refused as an impostor; what the audit log says.

``copied_advert``: it announced a camera's rotating id and holds another key. ``changed_key``: it names a camera's own
id with another key, ``second_device``: while the camera itself answers elsewhere. ``changed_id``: a camera's key under
another id. ``changed_certificate``: a pinned address shows another one. ``failed_proof``: it could not prove itself
over Bluetooth, or to whoever collects from it.
"""


class Same(msgspec.Struct, frozen=True):
    """It is this enrolled camera."""

    camera: str


class Impostor(msgspec.Struct, frozen=True):
    """It answers for this enrolled camera and is not it."""

    camera: str
    rule: Rule


class Stranger(msgspec.Struct, frozen=True):
    """It claims to be none that is enrolled."""


Verdict = Same | Impostor | Stranger


def judge(found: Shown, *, cameras: Collection[Enrolled], claimed: str, answering: Collection[str]) -> Verdict:
    """Say who a device with this key is.

    ``claimed`` is the camera whose rotating id it announced, empty for none; ``answering`` are those that answered
    elsewhere and proved themselves just now.
    """
    named = next((one for one in cameras if one.device and one.device == found.unverified_device), None)
    keyed = next((one for one in cameras if one.kid and hmac.compare_digest(one.kid, found.kid)), None)
    if named is not None and named is not keyed:
        return Impostor(named.camera, "second_device" if named.camera in answering else "changed_key")
    if keyed is not None and keyed is not named:
        return Impostor(keyed.camera, "changed_id")
    if claimed and (keyed is None or keyed.camera != claimed):
        return Impostor(claimed, "copied_advert")
    return Stranger() if keyed is None else Same(keyed.camera)
