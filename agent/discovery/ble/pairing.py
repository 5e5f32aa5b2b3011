"""The passkey, typed in for one camera that its owner named, and refused to everybody else (``org.bluez.Agent1``).

bleak can pair but has no agent, and BlueZ asks one. Registered only while it is needed, with the capability
``KeyboardOnly``: every other question (just works, compare numbers, an authorisation, a PIN) is rejected, so nothing
pairs because something asked.
"""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from dbus_fast import Message, MessageType

from agent.discovery.ble.bluez import ROOT, Bluez
from agent.errors import ConfigError, LinkError

PASSKEY_MAX: Final = 999_999
"""Bluetooth Core, Vol 3, Part H, 2.3.5.3: six digits."""

_PATH: Final = "/privacy_agent/passkey"
_AGENT: Final = "org.bluez.Agent1"
_MANAGER: Final = "org.bluez.AgentManager1"


@asynccontextmanager
async def passkey(line: Bluez, *, device_path: str, number: int) -> AsyncIterator[None]:
    """Answer BlueZ's question for this device's passkey inside the block; raises ``LinkError`` where it takes none."""
    if not 0 <= number <= PASSKEY_MAX:
        raise ConfigError("a passkey has six digits", hint="take the one that the camera shows, or that is on it")

    def answer(message: Message) -> Message | bool:
        if message.message_type is not MessageType.METHOD_CALL or message.interface != _AGENT:
            return False
        if message.member in {"Release", "Cancel"}:
            return Message.new_method_return(message)
        if message.member == "RequestPasskey" and message.body == [device_path]:
            return Message.new_method_return(message, "u", [number])
        return Message.new_error(message, "org.bluez.Error.Rejected", "not asked for")

    line.bus.add_message_handler(answer)
    try:
        await line.call(ROOT, _MANAGER, "RegisterAgent", "os", _PATH, "KeyboardOnly")
        try:
            yield
        finally:
            with contextlib.suppress(LinkError):  # the daemon may be what went, and the agent with it
                await line.call(ROOT, _MANAGER, "UnregisterAgent", "o", _PATH)
    finally:
        line.bus.remove_message_handler(answer)
