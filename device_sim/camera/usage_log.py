"""Usage logs as cameras keep them: one JSON object a line, every field of every kind of personal data in it.

Rules: every line has every field, ``null`` where the event has nothing to say; times are RFC 3339 in UTC with
milliseconds and never run backwards.
"""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Final

from device_sim.camera.identity import identity

EVENTS: Final = ("activation", "motion", "photo", "recording", "wifi", "settings", "album")
FIELDS: Final = (
    "time",
    "event",
    "detail",
    "device_name",
    "group_name",
    "location_name",
    "serial",
    "mac",
    "ip",
    "firmware",
    "gps_lat",
    "gps_lon",
    "wifi_ssid",
    "wifi_rssi_dbm",
    "wifi_state",
    "activated_at",
    "motion_score",
    "motion_zone",
    "photo_taken_at",
    "battery_percent",
)

_GAP_S: Final = (1.0, 90.0)
_ZONES: Final = ("door", "path", "street")
_WIFI_STATES: Final = ("connected", "connected", "connected", "roaming", "disconnected")
_DETAILS: Final = {
    "activation": ("first start", "paired with the owner's app"),
    "motion": ("person", "animal", "vehicle", "unknown"),
    "photo": ("by motion", "by timetable", "by hand"),
    "recording": ("by motion", "by hand"),
    "wifi": ("signal changed", "joined", "left"),
    "settings": ("sensitivity changed", "night mode changed", "timetable changed"),
    "album": ("opened in the app", "exported to a phone"),
}


def usage_log_lines(seed: int, start: datetime, count: int, *, name: str = "") -> list[str]:
    """``count`` lines without their line ends, the first an activation at ``start``, which must know its zone."""
    who = identity(seed, name=name)
    dice = random.Random(f"usage-log/{seed}/{start.astimezone(UTC).isoformat()}")
    lines = []
    now = start
    for index in range(count):
        event = "activation" if index == 0 else dice.choice(EVENTS[1:])
        seen = event == "motion"
        fields = {
            "time": stamp(now),
            "event": event,
            "detail": dice.choice(_DETAILS[event]),
            "device_name": who.name,
            "group_name": who.group,
            "location_name": who.location,
            "serial": who.serial,
            "mac": who.mac,
            "ip": who.ip,
            "firmware": who.firmware,
            "gps_lat": who.lat_deg,
            "gps_lon": who.lon_deg,
            "wifi_ssid": who.ssid,
            "wifi_rssi_dbm": dice.randrange(-85, -35),
            "wifi_state": dice.choice(_WIFI_STATES) if event == "wifi" else "connected",
            "activated_at": stamp(start),
            "motion_score": round(dice.uniform(0.2, 1), 3) if seen else None,
            "motion_zone": dice.choice(_ZONES) if seen else None,
            "photo_taken_at": stamp(now) if event == "photo" else None,
            "battery_percent": dice.randrange(20, 101),
        }
        lines.append(json.dumps(fields, ensure_ascii=False))
        now += timedelta(seconds=round(dice.uniform(*_GAP_S), 3))
    return lines


def stamp(moment: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
