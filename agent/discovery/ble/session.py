"""What a proved camera and the agent tell each other: state and switch, sealed and counted (docs/ble.md §4, §5)."""

from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from agent.discovery.ble.service import STATE, SWITCH, associated
from agent.errors import CorruptError, LinkError

KEY_BYTES: Final = 16
STATE_BYTES: Final = 19

_TAG_BYTES: Final = 12
_COUNTER_BYTES: Final = 4
_COUNTER_MAX: Final = 2**32 - 1
_NONCE_START: Final = bytes(9)

_RECORDING, _MICROPHONE, _STREAM, _INDICATOR, _CONSENT, _COLLECTION = (1 << bit for bit in range(6))
_FLAGS: Final = (1 << 6) - 1

Storage = Literal["missing", "ok", "full", "failing"]
_STORAGE: Final[tuple[Storage, ...]] = ("missing", "ok", "full", "failing")


class PrivacyState(msgspec.Struct, frozen=True, kw_only=True):
    """What the camera is doing, in its own proved words."""

    recording: bool
    microphone: bool
    stream: bool
    indicator: bool
    consent: bool
    collection: bool
    storage: Storage
    taken: int
    """The lowest byte of the number of the last switch that the camera took in this session."""


class Session:
    """The two keys of one proof, and how far each side has counted."""

    def __init__(self, *, state_key: bytes, switch_key: bytes) -> None:
        self._state = AESCCM(state_key, tag_length=_TAG_BYTES)
        self._switch = AESCCM(switch_key, tag_length=_TAG_BYTES)
        self._state_counter = 0
        self._switch_counter = 0

    def state(self, raw: bytes) -> PrivacyState | None:
        """Open a value of the state; ``None`` for one that is not newer than the last.

        Raises ``CorruptError`` for what the camera did not make in this session.
        """
        if len(raw) != STATE_BYTES:
            raise CorruptError("a state has 19 bytes")
        counter = int.from_bytes(raw[:_COUNTER_BYTES], "big")
        nonce = _NONCE_START + raw[:_COUNTER_BYTES]
        try:
            opened = self._state.decrypt(nonce, raw[_COUNTER_BYTES:], associated(STATE))
        except InvalidTag as error:
            raise CorruptError("a state that the camera did not make in this session") from error
        flags, storage, taken = opened
        if flags & ~_FLAGS or storage >= len(_STORAGE):
            raise CorruptError("a state of another version than 1")
        if counter <= self._state_counter:
            return None
        self._state_counter = counter
        return PrivacyState(
            recording=bool(flags & _RECORDING),
            microphone=bool(flags & _MICROPHONE),
            stream=bool(flags & _STREAM),
            indicator=bool(flags & _INDICATOR),
            consent=bool(flags & _CONSENT),
            collection=bool(flags & _COLLECTION),
            storage=_STORAGE[storage],
            taken=taken,
        )

    def switch(self, *, collection: bool) -> tuple[bytes, int]:
        """Return the command, and what ``taken`` is in a state that was made after it."""
        if self._switch_counter == _COUNTER_MAX:
            raise LinkError("this session has counted to its end", hint="connect again")
        self._switch_counter += 1
        counter = self._switch_counter.to_bytes(_COUNTER_BYTES, "big")
        sealed = self._switch.encrypt(_NONCE_START + counter, bytes((collection,)), associated(SWITCH))
        return counter + sealed, counter[-1]
