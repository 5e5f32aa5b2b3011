"""What is near, as plain JSON for the shell; texts of strangers say so in their names, and are cleaned of controls."""

from typing import TYPE_CHECKING, Any

from agent.clock import rfc3339_ms
from agent.discovery.sighting import Trouble
from agent.enrolment import Enrolled
from agent.envelope.label import camera_fingerprint
from agent.nearby.reach import Reach

if TYPE_CHECKING:  # else an agent that listens for nothing would load what that takes
    from agent.nearby.flow import Nearby
    from agent.nearby.inventory import Device, Row


def near_view(nearby: "Nearby") -> dict[str, Any]:
    """Return everything: devices, and why something may not be heard."""
    return {
        "near": [device_view(nearby, device) for device in nearby.devices()],
        "troubles": troubles_view(nearby),
    }


def troubles_view(nearby: "Nearby") -> list[dict[str, str]]:
    """Return why something may not be heard; what is only supposed, of a container, is silent where it is disproved."""
    hears = {row.sighting.way for row in nearby.inventory.rows() if row.gone_ms is None}
    troubles = nearby.inventory.troubles()
    return [trouble_view(one) for one in troubles if one.reason != "container_network" or one.way not in hears]


def device_view(nearby: "Nearby", device: "Device") -> dict[str, Any]:
    """Return one device.

    ``state`` is ``enrolled``; ``impostor`` for one that answers for an enrolled camera and is not it; ``new`` for one
    that proved a key and can be enrolled; ``heard`` for all others, of which nothing is proved.
    """
    told: dict[str, Any] = {"state": "heard", "heard": [_heard(row) for row in device.rows]}
    if device.camera is not None:
        told |= camera_view(device.camera, nearby.reach.get(device.camera.camera, Reach())) | {"state": "enrolled"}
        told |= radio_view(nearby, device.camera.camera)
    elif device.impostor is not None:
        told |= {"state": "impostor", "impostor_of": device.impostor.camera, "rule": device.impostor.rule}
    elif device.kid and device.unverified_device:
        told["state"] = "new"
    if device.kid and device.camera is None:
        told |= {"fingerprint": camera_fingerprint(device.kid), "unverified_device": device.unverified_device}
    if device.camera is None:
        may_be = {nearby.claimed(row) for row in device.rows} - {""}
        told |= {"may_be": sorted(may_be)} if may_be else {}
    if device.camera is None:
        told["reachable"] = _any_answered(device)
    if device.rows:
        told |= {
            "first_seen": rfc3339_ms(min(row.first_ms for row in device.rows)),
            "last_seen": rfc3339_ms(max(row.last_ms for row in device.rows)),
        }
    told["signal_dbm"] = device.signal_dbm
    told["leaks"] = [{"code": leak.code, "advice": leak.advice} for leak in device.leaks]
    return told


def camera_view(camera: Enrolled, reach: Reach) -> dict[str, Any]:
    """Return an enrolled camera, and whether it was there when it was looked for last."""
    told: dict[str, Any] = {
        "camera": camera.camera,
        "level": camera.level,
        "name": camera.name,
        "device": camera.device,
        "endpoint": camera.endpoint,
        "enrolled": rfc3339_ms(camera.enrolled_ms),
        "reachable": reach.reachable,
        "paired": bool(camera.advert_key),
    }
    if camera.kid:
        told["fingerprint"] = camera_fingerprint(camera.kid)
    if camera.certificate_sha256:
        told["certificate_sha256"] = camera.certificate_sha256.hex()
    if reach.host:
        told["address"] = _where(reach.host, reach.port)
    if reach.proved_ms is not None:
        told["answered"] = rfc3339_ms(reach.proved_ms)
    return told


def trouble_view(trouble: Trouble) -> dict[str, str]:
    """Return why nothing may be heard some way, and what to do."""
    return {"way": trouble.way, "place": trouble.place, "reason": trouble.reason, "next": trouble.hint}


def _heard(row: "Row") -> dict[str, Any]:
    sighting = row.sighting
    told: dict[str, Any] = {
        "way": sighting.way,
        "place": sighting.place,
        "service": sighting.service,
        "unverified_name": sighting.unverified_name,
        "addresses": [_where(address, sighting.port) for address in sighting.addresses],
        "first_seen": rfc3339_ms(row.first_ms),
        "last_seen": rfc3339_ms(row.last_ms),
        "gone": row.gone_ms is not None,
    }
    told |= _met(row)
    if sighting.signal_dbm is not None:
        told["signal_dbm"] = sighting.signal_dbm
    return told


def radio_view(nearby: "Nearby", camera: str) -> dict[str, Any]:
    """Return what an enrolled camera said over Bluetooth when it was met so last; nothing where it was not.

    ``state`` is what it is doing, in its own proved words; what is called unverified is proved by nothing.
    """
    proved = [row for row in nearby.inventory.rows_of(camera) if row.met is not None and row.gone_ms is None]
    if proved:
        return {"bluetooth": _met(proved[0])}
    asking = (row for row in nearby.inventory.rows() if row.wants_passkey and row.gone_ms is None)
    return {"bluetooth": {"wants": "passkey"}} if any(nearby.claimed(row) == camera for row in asking) else {}


def _met(row: "Row") -> dict[str, Any]:
    if row.wants_passkey:
        return {"wants": "passkey"}
    if row.met is None or row.checked_ms is None:
        return {}
    return {"privacy_state": row.met.state, "met": rfc3339_ms(row.checked_ms), **row.met.unverified}


def _any_answered(device: "Device") -> bool | None:
    answers = {row.answered for row in device.rows}
    return True if True in answers else False if False in answers else None


def _where(host: str, port: int) -> str:
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port else host
