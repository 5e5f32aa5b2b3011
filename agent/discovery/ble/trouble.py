"""Why nothing may be heard by radio on this machine, asked once and without starting anything."""

from typing import Literal

from agent.discovery.ble.bluez import bluez
from agent.discovery.ble.scanner import HINT
from agent.discovery.sighting import TroubleReason
from agent.errors import LinkError


async def trouble_of(adapter: str, *, deadline_s: float) -> tuple[TroubleReason | Literal[""], str]:
    """Return why nothing may be heard by radio here, with the next step; two empty texts if nothing speaks against it.

    Asks and starts nothing.
    """
    reason: TroubleReason | Literal[""] = ""
    try:
        async with bluez(deadline_s=deadline_s) as line:
            if not await line.has_daemon():
                reason = "no_daemon"
            else:
                there = [one for one in await line.adapters() if adapter in {"", one.name}]
                reason = "no_adapter" if not there else "" if any(one.powered for one in there) else "adapter_off"
    except (LinkError, TimeoutError):
        reason = "no_daemon"
    return reason, HINT[reason] if reason else ""
