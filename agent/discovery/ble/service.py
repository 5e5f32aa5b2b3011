"""The GATT services that are read: a camera's privacy state (docs/ble.md) and the assigned ones beside it."""

from typing import Final
from uuid import UUID

SERVICE: Final = "3d20e0b1-2844-4b16-aab5-603bd9006a4e"
STATE: Final = "3d20e0b2-2844-4b16-aab5-603bd9006a4e"
SWITCH: Final = "3d20e0b3-2844-4b16-aab5-603bd9006a4e"
PROOF: Final = "3d20e0b4-2844-4b16-aab5-603bd9006a4e"

REFUSED: Final = 0x80
"""The one ATT error that the camera refuses with, whatever the reason."""


def assigned(number: int) -> str:
    """Return the 128-bit form of a 16-bit UUID (Bluetooth Core, Vol 3, Part B, 2.5.1)."""
    return f"0000{number:04x}-0000-1000-8000-00805f9b34fb"


def associated(uuid: str) -> bytes:
    """Return what the value of a characteristic is sealed to: its UUID's 16 bytes."""
    return UUID(uuid).bytes


# Device Information Service; the serial number (2a25) is not read.
MODEL: Final = assigned(0x2A24)
FIRMWARE: Final = assigned(0x2A26)
MAKER: Final = assigned(0x2A29)

# Improv Wi-Fi: a device that waits for somebody to give it a network (improv-wifi.com, "BLE").
IMPROV: Final = "00467768-6228-2272-4663-277478268000"
IMPROV_DATA: Final = assigned(0x4677)

# Open GoPro: the one camera maker whose advert is documented.
GOPRO: Final = assigned(0xFEA6)
