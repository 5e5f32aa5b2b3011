"""A secure element: it signs in itself, seals a key to the state of its counter, and nothing turns that counter back.

The one kind that is known is a TPM 2.0 (``agent/element/tpm.py``), which is loaded only where ``agent.toml`` asks for
it. How often its counter may be raised is in ``agent/element/wear.py``.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from agent.errors import ConfigError

if TYPE_CHECKING:
    from agent.element.tpm import Tpm

DEFAULT_TCTI: Final = "device:/dev/tpmrm0"
"""The kernel's resource manager, which lets several programs have the TPM at once."""

COUNTERS: Final = (0x01800000, 0x01BFFFFF)
"""The NV indices that belong to a machine's owner ("Registry of Reserved TPM 2.0 Handles and Localities", table 3)."""

DEFAULT_COUNTER: Final = 0x01810730
"""Any of them; two agents on one machine need two."""


class TpmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the TPM is, as tpm2-tss names it, and which NV index is this agent's counter."""

    tcti: str = DEFAULT_TCTI
    counter: int = DEFAULT_COUNTER


def open_element(settings: TpmSettings) -> "Tpm":
    """Connect to the TPM; raises ``ConfigError`` where it, or what speaks to it, is not there."""
    try:
        from agent.element.tpm import Tpm  # noqa: PLC0415 - whoever has no TPM loads nothing of it
    except ImportError as error:
        raise ConfigError(
            f"the keystore is to be in a TPM, and tpm2-pytss cannot be loaded ({error})",
            hint="apt-get install libtss2-dev gcc pkg-config python3-dev, "
            "then, in the folder of the project: pip install '.[tpm]'",
        ) from error
    return Tpm(settings)
