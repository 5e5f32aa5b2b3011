"""The name that ``init`` gave this device: its owner knows it by that one, and addresses its commands to it.

Under another name the same keys would answer nobody, and refuse what their own owner signs. So where there are keys the
config cannot rename them.
"""

from pathlib import Path

from agent.config import Config
from agent.envelope import parse_descriptor
from agent.envelope.kinds import MAX_JWS_BYTES
from agent.errors import AgentError, ConfigError
from agent.files import is_there, read_whole


def descriptor_of(config: Config) -> Path:
    """Return where ``init`` writes the device's descriptor."""
    return config.state / "device.jws"


def name_given(config: Config) -> str | None:
    """Return the name that ``init`` wrote down, ``None`` before it.

    And where its descriptor cannot be read, which is for handing out: nobody's agent is kept from running by that.
    """
    try:
        if not is_there(config.keystore):
            return None
        return parse_descriptor(read_whole(descriptor_of(config), max_bytes=MAX_JWS_BYTES, hint="")).name
    except AgentError:
        return None


def require_name_given(config: Config) -> None:
    """Raise ``ConfigError`` where the config gives the keys that are here another name than ``init`` did."""
    given = name_given(config)
    if given not in {None, config.device}:
        raise ConfigError(
            f"{config.file}: device = {config.device!r}, and this device was set up as {given!r}",
            hint=f'write device = "{given}" in {config.file}: its owner knows it by that name, which stays',
        )
