"""What may be written of a camera that streams, and how a mistake is answered: with its fix, without the password."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config import parse_config
from agent.errors import ConfigError
from agent.rtsp import require_extra
from tests.disk import as_root
from tests.rtsp.studio import Device

FILE = Path("/etc/privacy-agent/agent.toml")
PIN = "5f" * 32
LEAST = 'device = "cam-01"\n[[source]]\nkind = "rtsp"\nname = "door"\n'


def test_whole_table_reads_with_the_credentials_beside_the_file() -> None:
    text = f"""{LEAST}url = "rtsps://camera/main"
camera = "Front door"
credentials = "door.credentials"
certificate_sha256 = "{":".join(["5F"] * 32)}"
sound = true
segment = "30s"
stall = "1500ms"
"""
    (found,) = parse_config(text.encode(), file=FILE).streams
    assert found.camera == "Front door"
    assert found.credentials == FILE.parent / "door.credentials"
    assert found.certificate_sha256 == bytes.fromhex(PIN)
    assert (found.segment_s, found.stall_s) == (30.0, 1.5)
    assert found.sound is True


def test_sound_is_left_out_unless_it_is_asked_for() -> None:
    (found,) = parse_config(f'{LEAST}url = "rtsp://camera/main"\n'.encode(), file=FILE).streams
    assert found.sound is False


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            'url = "rtsp://ada:secret@camera/main"',
            r"url: the address holds a user name or password[\s\S]*credentials =",
        ),
        ('url = "http://camera/main"', "url: it is no address of a stream"),
        ('url = "rtsps://camera/main"', r"certificate_sha256: is missing[\s\S]*openssl s_client -connect camera:322"),
        ('url = "rtsps://camera/"\ncertificate_sha256 = "00"', "certificate_sha256: is no SHA-256"),
        (f'url = "rtsp://camera/"\ncertificate_sha256 = "{PIN}"', "certificate_sha256: is of no use without TLS"),
        ('url = "rtsp://camera/"\nsegment = "1h"', "segment: is too short or too long"),
        ('url = "rtsp://camera/"\nsound = "yes"', "sound: "),
        ('url = "rtsp://camera/"\nstall = "1ms"', "stall: is too short or too long"),
        ('url = "rtsp://camera/"\ncamera = "a/b"', "camera: 'a/b' is not a good label"),
        ('url = "rtsp://camera/"\npassword = "secret"', "password: is not a known key"),
        ('url = "rtsp://camera/"\n[[source]]\nkind = "spool"\nname = "door"\npath = "x"\nmedium = "disk"', "are named"),
    ],
)
def test_mistake_is_answered_with_line_and_fix_and_no_password(lines: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refusal:
        parse_config(f"{LEAST}{lines}\n".encode(), file=FILE)
    assert "secret" not in str(refusal.value)
    assert str(FILE) in refusal.value.message


def test_more_cameras_than_can_be_read_are_refused() -> None:
    text = 'device = "cam-01"\n' + "".join(
        f'[[source]]\nkind = "rtsp"\nname = "door{n}"\nurl = "rtsp://camera/{n}"\n' for n in range(17)
    )
    with pytest.raises(ConfigError, match="one camera too many"):
        parse_config(text.encode(), file=FILE)


def test_missing_extra_is_told_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra()
    found: Callable[[str], object] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "av" else found(name))
    with pytest.raises(ConfigError) as refusal:
        require_extra()
    assert refusal.value.hint == "in the folder of the project: pip install '.[rtsp]'"


@as_root  # nobody else may look into a process that is hardened, not even its own user
def test_agent_itself_never_loads_what_reads_a_camera(tmp_path: Path) -> None:
    with Device(tmp_path) as device:
        device.watch("rtsp://127.0.0.1:9/main")
        device.start()
        maps = device.maps()
    assert "libavformat" not in maps
    assert "cpython" in maps or "libc" in maps


def findings(device: Device) -> list[dict[str, Any]]:
    ran = device.privacy("agent", "doctor", "--config", device.config, "--json", expect=None)
    found: list[dict[str, Any]] = json.loads(ran.out)["findings"]
    return [one for one in found if one["what"] == "source door"]


def test_doctor_looks_at_the_line_and_the_credentials(tmp_path: Path) -> None:
    with Device(tmp_path) as device:
        named = device.credentials()
        device.watch("rtsp://127.0.0.1:9/main", named)
        assert [one["verdict"] for one in findings(device)] == ["look"]
        (tmp_path / "door.credentials").chmod(0o644)
        (bad,) = findings(device)
        assert (bad["verdict"], bad["next"]) == ("bad", f"chmod 600 {tmp_path / 'door.credentials'}")
        device.watch("rtsps://127.0.0.1:9/main", f'certificate_sha256 = "{PIN}"')
        assert [one["verdict"] for one in findings(device)] == ["good"]
