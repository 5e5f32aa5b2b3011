"""``agent.toml``: what an integrator may write, and how a mistake is answered."""

import shlex
from pathlib import Path

import pytest

from agent.config import DEFAULT_SOCKET, parse_config, read_config
from agent.errors import ConfigError

GOOD = """\
device = "cam-01"
policy = "policy.toml"
state = "state"
[broker]
url = "mqtts://mqtt.example:8883"
tenant = "acme"
identity = "tls"
[clock]
source = "system"
[[source]]
kind = "frigate"
path = "/media/frigate/recordings"
after = "leave"
medium = "disk"
[[source]]
kind = "spool"
path = "spool"
medium = "tmpfs"
settle = "500ms"
batch_size = "256KiB"
"""
FILE = Path("/etc/privacy-agent/agent.toml")


@pytest.mark.parametrize(
    ("lines", "socket"),
    [
        ("", DEFAULT_SOCKET),  # the service's own folder, which its group may enter
        ('state = "/var/lib/privacy-agent"', DEFAULT_SOCKET),
        ('state = "/srv/state"', Path("/srv/state/control.sock")),
        ('state = "/srv/state"\nsocket = "/run/cam-01/ask"', Path("/run/cam-01/ask")),
        ('socket = "ask"', FILE.parent / "ask"),
    ],
)
def test_socket_is_where_the_service_has_its_folder_or_in_another_state_folder_or_where_it_is_put(
    lines: str, socket: Path
) -> None:
    assert parse_config(f'device = "cam-01"\n{lines}\n'.encode(), file=FILE).socket == socket


@pytest.mark.parametrize(
    ("file", "typed"),
    [
        (FILE, "privacy-agent run"),
        (Path("/srv/a.toml"), "privacy-agent run --config /srv/a.toml"),
        (Path("/srv/my cameras/a.toml"), "privacy-agent run --config '/srv/my cameras/a.toml'"),
        (Path("a.toml"), f"privacy-agent run --config {shlex.quote(str(Path('a.toml').absolute()))}"),
    ],
)
def test_command_names_its_config_whole_and_quoted_where_that_is_not_the_usual_one(file: Path, typed: str) -> None:
    assert parse_config(b'device = "cam-01"\n', file=file).command("run") == typed


def test_full_document_reads_with_paths_beside_the_file() -> None:
    config = parse_config(GOOD.encode(), file=FILE)
    assert config.policy == Path("/etc/privacy-agent/policy.toml")
    assert config.keystore == Path("/etc/privacy-agent/state/keystore")
    assert config.broker is not None
    assert config.broker.identity == Path("/etc/privacy-agent/tls")
    frigate, spool = config.sources
    assert (frigate.name, frigate.takes) == ("recordings", False)
    assert (spool.name, spool.takes) == ("spool", True)
    assert spool.settle_s == pytest.approx(0.5)
    assert spool.batch_bytes == 256 * 1024


@pytest.mark.parametrize(("every", "every_s"), [("1h", 3_600.0), ("7d", 604_800.0), ("off", 0.0)])
def test_payloads_are_read_again_as_often_as_it_is_written(every: str, every_s: float) -> None:
    """Whatever was written, but for off, it was every thirty days."""
    config = parse_config(f'device = "cam-01"\n[scrub]\nevery = "{every}"\n'.encode(), file=FILE)
    assert config.scrub.every_s == pytest.approx(every_s)


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (('device = "cam-01"\n', ""), 1, "is missing"),
        (('"cam-01"', '"cam 01"'), 1, "not a good name"),
        (("mqtts://", "mqtt://"), 5, "in clear"),
        (("mqtts://mqtt.example", "mqtt://localhost"), 5, "in clear"),
        (("mqtts://", "https://"), 5, "not a broker address"),
        (("mqtts://", "mqtts://joe:pw@"), 5, "user name"),
        (('source = "system"', 'source = "gps"'), 9, "'gps' is not known"),
        (('source = "system"', '[scrub]\nevery = "1m"'), 10, "scrub.every: is too short"),
        (('source = "system"', '[scrub]\nevery = "never"'), 10, "scrub.every: 'never' is not a duration"),
        (('source = "system"', "[scrub]\nevery = 3600"), 10, "scrub.every: 3600 has no unit"),
        (('source = "system"', '[scrub]\nrate = "1kB"'), 10, "scrub.rate: is too slow"),
        (('kind = "frigate"', 'kind = "blue-iris"'), 11, "'blue-iris' is not known"),
        (('medium = "tmpfs"\n', ""), 15, "is missing"),
        (('settle = "500ms"', 'settle = "soon"'), 19, "not a duration"),
        (('path = "spool"', 'path = "recordings"'), 15, "two sources"),
        (('path = "spool"', 'path = "/media/frigate/recordings/cam"'), 17, "lies in the source 'recordings'"),
        (('path = "spool"', 'path = "/media/../media/./frigate"'), 17, "holds the source 'recordings'"),
        (('path = "spool"', 'path = "/media/frigate/recordings/"\nname = "b"'), 17, "is the source 'recordings'"),
        (('path = "spool"', 'path = "state/spool"'), 17, "lies in the state folder"),
        (('path = "spool"', 'path = "/etc/privacy-agent"'), 17, "holds the state folder"),
        (('batch_size = "256KiB"', 'batch_size = "9MiB"'), 20, "is too large"),
        (('batch_size = "256KiB"', 'bath_size = "256KiB"'), 20, "not a known key"),
        (('settle = "500ms"', 'timezone = "Mars/X"'), 19, "source[1].timezone: there is no time zone 'Mars/X'"),
        (('settle = "500ms"', 'patterns = ["{foo}"]'), 19, "source[1].patterns: '{foo}': {foo} is no word"),
        (('settle = "500ms"', 'patterns = ["{any}.{ext}", "{camera"]'), 19, "'{camera': '{' has no partner"),
        (('medium = "tmpfs"', 'medum = "tmpfs"'), 18, "source[1].medum: is not a known key"),
        (('device = "cam-01"', 'devise = "cam-01"'), 1, "devise: is not a known key"),
        (("tenant =", "tennant ="), 6, "broker.tennant: is not a known key"),
    ],
)
def test_mistake_names_file_line_and_fix(change: tuple[str, str], line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(GOOD.replace(*change, 1).encode(), file=FILE)
    assert caught.value.message.startswith(f"{FILE}:{line}: "), caught.value.message
    assert words in caught.value.message
    assert caught.value.hint


def test_key_that_is_nearly_a_known_one_is_told_with_that_one() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(GOOD.replace("medium =", "medum =", 1).encode(), file=FILE)
    assert caught.value.hint.startswith("is medium meant? else remove it, or use one of: name, kind, path")


def test_sources_beside_each_other_are_good_whatever_their_names_begin_with() -> None:
    text = GOOD.replace('path = "spool"', 'path = "/media/frigate/recordings-2"')
    assert [source.name for source in parse_config(text.encode(), file=FILE).sources] == ["recordings", "recordings-2"]


def test_absent_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="privacy-agent init"):
        read_config(tmp_path / "agent.toml")
