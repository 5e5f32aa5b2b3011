"""Who a simulated camera is: the personal facts that its clips, photos and logs carry in clear.

Rules: everything comes from the seed; the MAC is locally administered and the address private, so no real device is
named. ``traces`` lists the strings that a search for leaks must look for.
"""

import random
from dataclasses import dataclass
from typing import Final

DEFAULT_NAME: Final = "Front door"

_GROUPS: Final = ("Home", "Cabin", "Workshop", "Holiday house")
_LOCATIONS: Final = ("Garden gate", "Hallway", "Driveway", "Back yard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One camera, its owner's names for it, its network and its place."""

    name: str
    group: str
    location: str
    serial: str
    mac: str
    ip: str
    ssid: str
    firmware: str
    lat_deg: float
    lon_deg: float

    @property
    def gps(self) -> str:
        """The place as ISO 6709 text, the form that cameras put into their files."""
        return f"{self.lat_deg:+010.6f}{self.lon_deg:+011.6f}/"

    def traces(self) -> tuple[str, ...]:
        """Every string of this camera that must not be found in clear where only sealed data belongs."""
        place = (f"{self.lat_deg:.6f}", f"{self.lon_deg:.6f}", self.gps)
        return (self.name, self.group, self.location, self.serial, self.mac, self.ip, self.ssid, *place)


def identity(seed: int, *, name: str = "") -> Identity:
    """The camera of this seed; ``name`` is the owner's name for it."""
    dice = random.Random(f"camera/{seed}")
    return Identity(
        name=name or DEFAULT_NAME,
        group=dice.choice(_GROUPS),
        location=dice.choice(_LOCATIONS),
        serial=f"SIM{dice.randrange(10**9, 10**10)}",
        mac="02:" + ":".join(f"{dice.randrange(256):02x}" for _ in range(5)),
        ip=f"192.168.{dice.randrange(256)}.{dice.randrange(2, 255)}",
        ssid=f"Nest-{dice.randrange(16**6):06X}",
        firmware=f"{dice.randrange(1, 5)}.{dice.randrange(20)}.{dice.randrange(100)}",
        lat_deg=round(dice.uniform(35, 60), 6),
        lon_deg=round(dice.uniform(-10, 30), 6),
    )
