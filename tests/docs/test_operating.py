"""What `docs/operating.md` shows is read by the code that it is meant for."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agent import age
from agent.app.alarm import MEANING
from agent.config import DEFAULT_SOCKET, parse_config
from agent.discovery import onvif_message
from agent.enrolment import ENROLLED_MAX
from agent.errors import ConfigError
from agent.policy import parse_policy
from agent.rtsp.settings import STREAMS_MAX
from agent.shell import ending
from device_sim.broker import access_rules

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
TOML = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
CONFIGS = [text for text in TOML if "device" in tomllib.loads(text)]
POLICIES = [text for text in TOML if text not in CONFIGS]
UNIT = (ROOT / "deploy" / "privacy-agent.service").read_text(encoding="utf-8")


def test_configuration_that_is_shown_is_good() -> None:
    (text,) = CONFIGS
    config = parse_config(text.encode(), file=Path("/etc/privacy-agent/agent.toml"))
    assert [source.kind for source in config.sources] == ["spool", "frigate", "timelapse"]
    assert [stream.name for stream in config.streams] == ["door"]


@pytest.mark.parametrize("text", POLICIES, ids=range(len(POLICIES)))
def test_policy_that_is_shown_is_good_and_can_be_sealed_to(text: str) -> None:
    policy = parse_policy(text.encode(), file="policy.toml")
    assert policy.rules
    for recipient in policy.owner_recipients():
        age.parse_recipient(recipient)


def test_alerts_are_the_codes_their_meaning_and_their_next_step() -> None:
    table = TEXT.split("\n## Alerts\n", 1)[1].split("\n## ", 1)[0]
    told = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", table, re.MULTILINE)
    assert {code: (meaning, following) for code, meaning, following in told} == MEANING


def test_every_file_that_the_broker_reads_is_put_in_place_for_its_user() -> None:
    (config,) = re.findall(r"^```\n(listener 8883\n.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    read = set(re.findall(r"^\w+file (/\S+)$", config, re.MULTILINE))
    placed: set[str] = set()
    for line in re.findall(r"^install -o mosquitto -g mosquitto -m 600 (.+)$", TEXT, re.MULTILINE):
        *files, target = line.split()
        placed |= {f"{target}{Path(file).name}" if target.endswith("/") else target for file in files}
    assert len(read) > 4
    assert placed == read
    folders = re.findall(r"^install -d -o mosquitto -g mosquitto -m 700 (.+)$", TEXT, re.MULTILINE)
    assert {str(Path(file).parent) for file in read} - {"/etc/mosquitto"} == set(" ".join(folders).split())


def test_access_rules_are_those_that_the_tests_run_mosquitto_with() -> None:
    assert f"```\n{access_rules(('backend', 'owner'))}```\n" in TEXT


def test_every_exit_code_is_told() -> None:
    table = TEXT.split("\n## Exit codes\n", 1)[1].split("\n## ", 1)[0]
    codes = {value for name, value in vars(ending).items() if name.isupper() and isinstance(value, int)}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes


def test_certificates_are_made_by_the_python_that_the_installation_made() -> None:
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
    assert "python3 -m venv /opt/privacy-agent\n" in blocks
    starts = re.findall(r"^(.*?) -m certs (\w+) ", blocks, re.MULTILINE)
    assert starts == [("/opt/privacy-agent/bin/python", verb) for verb in ("init", "issue", "show", "renew", "revoke")]


def test_service_runs_the_installed_command_and_allows_what_the_clock_asks() -> None:
    settings = re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE)
    assert ("ExecStart", "/opt/privacy-agent/bin/privacy-agent run --config /etc/privacy-agent/agent.toml") in settings
    assert "python3 -m venv /opt/privacy-agent" in TEXT
    filters = [value for name, value in settings if name == "SystemCallFilter"]
    assert filters[-1].split() == ["adjtimex", "clock_adjtime", "prlimit64", "setrlimit"]
    assert {"NoNewPrivileges", "ProtectSystem", "MemoryDenyWriteExecute", "CapabilityBoundingSet"} <= dict(
        settings
    ).keys()
    assert "ProtectClock" not in dict(settings)


def test_service_may_be_told_whether_a_file_of_another_user_is_open_and_nothing_else() -> None:
    settings = re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE)
    given = {name: value for name, value in settings if name in {"CapabilityBoundingSet", "AmbientCapabilities"}}
    assert given == {"CapabilityBoundingSet": "CAP_LEASE", "AmbientCapabilities": "CAP_LEASE"}
    assert "the capability `CAP_LEASE`, which the unit gives the agent" in TEXT
    assert "PrivateUsers" not in dict(settings), "in a user namespace it counts for nothing"


def test_service_has_the_folder_of_the_usual_socket_and_its_group_may_enter() -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE))
    assert Path("/run") / settings["RuntimeDirectory"] == DEFAULT_SOCKET.parent
    assert settings["RuntimeDirectoryMode"] == "0750"
    assert f"`{DEFAULT_SOCKET}`, mode 0660, in a folder of mode 0750" in TEXT


def test_service_restarts_after_everything_but_what_a_person_has_to_mend() -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE))
    assert settings["Restart"] == "always"
    assert settings["RestartPreventExitStatus"] == "2"
    assert "| 2 | wrong usage, or a configuration to fix" in TEXT


def test_service_can_be_let_hear_what_discovery_listens_for() -> None:
    about_discovery = UNIT.partition("with [discovery] in agent.toml")[2].partition("[Unit]")[0]
    assert set(re.findall(r"SocketBindAllow=udp:(\d+)", about_discovery)) == {"5353", str(onvif_message.PORT)}
    assert "RestrictAddressFamilies=AF_NETLINK" in about_discovery
    assert "its first lines" in TEXT


def test_service_can_be_let_read_streams_and_has_tasks_for_all_cameras() -> None:
    about_streams = UNIT.partition('with a source of kind "rtsp"')[2].partition("[Unit]")[0]
    assert {"SocketBindAllow=ipv4:tcp", "MemoryMax=320M"} <= set(about_streams.split())
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE))
    assert settings["MemoryMax"] == "256M"
    assert int(settings["TasksMax"]) >= 64 + ENROLLED_MAX + 8 * STREAMS_MAX
    assert "`SocketBindAllow=ipv4:tcp`" in TEXT


def test_service_is_good_and_closed_by_the_words_of_systemd_where_there_is_one(tmp_path: Path) -> None:
    judge = shutil.which("systemd-analyze")
    unit = tmp_path / "privacy-agent.service"
    installed = "ExecStart=/opt/privacy-agent/bin/privacy-agent"
    assert installed in UNIT
    unit.write_text(UNIT.replace(installed, f"ExecStart={sys.executable}"), encoding="utf-8")
    words = (["verify", "--man=no"], ["security", "--offline=true", "--threshold=20"]) if judge else ()
    for word in words:
        done = subprocess.run([str(judge), *word, str(unit)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_example_of_a_purpose_says_that_its_vendor_needs_the_owners_kind_of_key() -> None:
    """Whoever put the key that init made into the example, and left the vendor's, was refused without a word of why."""
    _, head, below = TEXT.partition("**Why data may be used.**")
    assert head
    example, _, said = below.partition("```toml\n")[2].partition("```\n")
    (classic,) = re.findall(r'^owner = \["(\w+)"\]', example, re.MULTILINE)
    owner = age.generate_identity(post_quantum=True).recipient().to_text()
    with pytest.raises(ConfigError) as refused:
        parse_policy(example.replace(classic, owner).encode(), file="policy.toml")
    (quoted,) = re.findall(r'refused \("(.*?)"\)', said.partition("\n\n")[0])
    assert quoted in str(refused.value)
    (keygen,) = re.findall(r"`privacy-owner (keygen --pq)`", said)
    assert keygen in refused.value.hint
