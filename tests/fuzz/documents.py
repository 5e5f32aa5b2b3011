"""What people write: the config, the policy, addresses within them; and the file that one owner leaves to the next."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent import former
from agent.app.policy_file import read_policy
from agent.broker import parse_url
from agent.cli.policy_words import explained
from agent.config import parse_config
from agent.errors import ConfigError, CorruptError
from agent.policy import parse_policy, processing
from agent.policy.order import compare, loosens
from tests.fuzz.target import Target, text
from tests.fuzz.vectors import PARTIES
from tests.policy.test_config import GOOD as CONFIG
from tests.policy.test_fields_reading import GOOD as FIELDS
from tests.policy.test_policy_reading import COUNTED, GOOD

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = Path("/etc/privacy-agent/agent.toml")
LARGE: Final = 12_000
"""A preset has six thousand bytes, most of them comments."""


def config(raw: bytes) -> object:
    """Read a config, and where it says that things are."""
    found = parse_config(raw, file=FILE)
    return found.keystore, found.index, found.vault, found.lock


def policy(raw: bytes) -> object:
    """Read a policy, compare it with another in both ways, and say it in words."""
    found = parse_policy(raw, file="policy.toml")
    for changes in (compare(BEFORE, found), compare(found, BEFORE)):
        loosens(changes)
    assert not compare(found, found)
    explained(found)
    processing.record(found, device="cam-01")
    return found


def policy_file(raw: bytes) -> object:
    """Read a policy whose recipients must be keys."""
    return read_policy(raw, file="policy.toml")


def policies() -> Iterator[bytes]:
    """Yield the presets and the policies of the tests."""
    yield from (path.read_bytes() for path in sorted((ROOT / "agent/policy/presets").glob("*.toml")))
    yield from (one.encode() for one in (GOOD, FIELDS, COUNTED))


def configs() -> Iterator[bytes]:
    """Yield configs with every kind of source."""
    yield CONFIG.encode()
    yield b"""device = "cam-01"
socket = "/run/a/ask"
[delivery]
ca = "ca.crt"
[discovery]
[[source]]
kind = "rtsp"
name = "door"
url = "rtsps://camera/main"
camera = "Front door"
credentials = "door.credentials"
certificate_sha256 = "5f"
sound = true
segment = "30s"
stall = "1500ms"
[[source]]
kind = "rtsp"
name = "yard"
onvif = "http://camera"
"""


def formers() -> Iterator[bytes]:
    """Yield what outlives an owner."""
    yield former.encode(former.Former(salt=bytes(32), cutoffs=((bytes(32), 1_800_000_000_000),)))


BEFORE: Final = parse_policy(GOOD.encode(), file="policy.toml")
_MISTAKE: Final = (ConfigError,)

TARGETS: Final = (
    Target(name="agent-toml", read=config, declared=_MISTAKE, seeds=configs, largest=LARGE),
    Target(name="policy-toml", read=policy, declared=_MISTAKE, seeds=policies, largest=LARGE),
    Target(
        name="policy-file",
        read=policy_file,
        declared=_MISTAKE,
        seeds=lambda: (f'version = 1\n[recipients]\nowner = ["{PARTIES["device"]["recipient"]}"]\n'.encode(),),
    ),
    Target(
        name="broker-url",
        read=lambda raw: parse_url(text(raw)),
        declared=_MISTAKE,
        seeds=lambda: (b"mqtts://mqtt.example:8883", b"mqtt://127.0.0.1", b"mqtts://[2001:db8::1]"),
    ),
    Target(name="former", read=former.decode, declared=(CorruptError,), seeds=formers),
)
