"""Cameras on a real network are found, enrolled by their label, and impostors get nothing.

Agent and simulated cameras are processes in network namespaces of their own, on one bridge: only the network, and the
files that each has for itself, are between them.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.enrolment.neighbourhood import camera, device
from tests.loaded import BIN
from tests.netns import Network, on_network

pytestmark = [pytest.mark.promise("FIND-LAN"), pytest.mark.promise("FIND-AUTH")]


@on_network(hosts=2)
def test_camera_is_discovered_compared_enrolled_and_known_from_then_on(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with (
        device(agent_host, listens=True) as agent,
        agent.running(),
        camera(camera_host, agent.folder / "cameras") as there,
    ):
        new = agent.until_near("a new camera", state="new")
        assert new["unverified_device"] == there.id
        assert new["fingerprint"].replace(" ", "") == there.fingerprint
        made = agent.asked("enrol", there.label, "--name", "Garden")
        assert (made["level"], made["device"], made["name"]) == ("proved", there.id, "Garden")
        known = agent.until_near("the enrolled camera", state="enrolled", reachable=True)
        assert (known["camera"], known["level"]) == (made["camera"], "proved")
        assert known["address"].endswith(f":{there.port}")
        (listed,) = agent.asked("cameras")["cameras"]
        assert (listed["camera"], listed["level"], listed["reachable"]) == (made["camera"], "proved", True)
        (status,) = agent.asked("status")["cameras"]
        assert status["level"] == "proved"
        kinds = [entry["kind"] for entry in agent.audit()]
        assert "camera_trusted" in kinds
        assert "camera_refused" not in kinds


@pytest.mark.promise("INCIDENT")
@on_network(hosts=3)
def test_second_device_under_the_id_is_refused_alerted_and_the_camera_is_used_on(net: Network) -> None:
    agent_host, camera_host, thief_host = net.hosts
    with (
        device(agent_host, listens=True) as agent,
        agent.running(),
        camera(camera_host, agent.folder / "cameras") as there,
    ):
        made = agent.asked("enrol", there.label)
        agent.until_near("the enrolled camera", state="enrolled", reachable=True)
        folder = agent.folder
        (folder / "thieves").mkdir(mode=0o700)
        _copy_identity(folder / "cameras", folder / "thieves")
        with camera(thief_host, folder / "thieves", "--break", "identity-changed") as thief:
            assert thief.id == there.id
            found = agent.until_near("the impostor", state="impostor")
            assert (found["impostor_of"], found["rule"]) == (made["camera"], "second_device")
            assert "camera_impostor" in {one["code"] for one in agent.asked("status")["alerts"]}
            known = agent.until_near("the camera itself", state="enrolled", reachable=True)
            assert known["address"].endswith(f":{there.port}")
            assert "camera_impostor" in json.dumps(agent.asked("doctor", expect=0))
        refused = [entry for entry in agent.audit() if entry["kind"] == "camera_refused"]
        assert "second_device" in {entry["rule"] for entry in refused}
        assert {entry["detail"]["camera"] for entry in refused} == {made["camera"]}
        assert there.id not in json.dumps(agent.audit())


@on_network(hosts=1)
def test_discover_says_when_it_read_no_config_and_when_that_has_no_discovery(net: Network) -> None:
    (host,) = net.hosts
    with device(host) as agent:
        code = (
            "import pathlib, sys; from agent import cli, config; config.DEFAULT_PATH = pathlib.Path('/nowhere.toml'); "
            "sys.exit(cli.main(['discover', '--for', '1s', '--json']))"
        )
        told = subprocess.run(host.command(sys.executable, "-c", code), capture_output=True, text=True, check=False)
        assert "no config was read, /nowhere.toml is not there" in told.stderr
        heard = agent.shell("privacy-agent", "discover", "--for", "1s", "--config", agent.config, expect=1)
        assert f"{agent.config} has no [discovery]" in heard.stderr


@on_network(hosts=2)
def test_wrong_label_of_a_camera_that_is_heard_is_told_as_such(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with (
        device(agent_host, listens=True) as agent,
        agent.running(),
        camera(camera_host, agent.folder / "cameras") as there,
    ):
        new = agent.until_near("a new camera", state="new")
        other = there.label[:-1] + ("0" if there.label[-1] != "0" else "1")
        told = agent.asked("enrol", other, expect=1)["error"]
        assert told["reason"] == "camera_impostor"
        assert f"a camera with the id {there.id} answers with another key" in told["message"]
        assert new["fingerprint"] in told["message"]
        told = agent.asked("enrol", "--accept", "0" * 32, expect=1)["error"]
        assert new["fingerprint"] in told["message"], "it was heard, and so is named"
        assert "container" not in json.dumps(told)


@on_network(hosts=2)
def test_label_of_another_camera_enrols_nobody(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with device(agent_host) as agent, camera(camera_host, agent.folder / "cameras") as there:
        other = there.label[:-1] + ("0" if there.label[-1] != "0" else "1")
        told = agent.asked("enrol", other, f"10.77.0.2:{there.port}", expect=1)
        assert told["error"]["reason"] == "camera_impostor"
        assert agent.asked("cameras")["cameras"] == []
        refused = agent.asked("enrol", "PVCAM:1:NO", expect=2)
        assert refused["error"]["kind"] == "ConfigError"


@on_network(hosts=2)
def test_camera_is_enrolled_and_forgotten_without_a_running_agent(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with device(agent_host) as agent, camera(camera_host, agent.folder / "cameras") as there:
        made = agent.asked("enrol", "--accept", there.fingerprint)
        assert made["device"] == there.id
        near = agent.discovered()[-1]
        assert (near["state"], near["camera"]) == ("enrolled", made["camera"])
        assert agent.asked("forget-camera", made["camera"])["camera"] == made["camera"]
        assert agent.asked("cameras")["cameras"][0]["level"] == "forgotten"
        agent.asked("forget-camera", made["camera"], expect=2)


@on_network(hosts=2)
def test_agent_starts_while_somebody_watches_what_is_near(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with device(agent_host) as agent, camera(camera_host, agent.folder / "cameras") as there:
        made = agent.asked("enrol", there.label, f"10.77.0.2:{there.port}")
        watching = (BIN / "privacy-agent", "discover", "--for", "5m", "--config", agent.config, "--json")
        with agent_host.running(*watching) as watch:
            assert watch.stdout is not None
            line = next(line for line in watch.stdout if b'"enrolled"' in line)
            assert json.loads(line)["camera"]["camera"] == made["camera"]
            with agent.running():
                assert watch.poll() is None


@on_network(hosts=1)
def test_nothing_is_near_and_it_is_said_why(net: Network) -> None:
    (host,) = net.hosts
    with device(host) as agent:
        quiet = agent.shell("privacy-agent", "discover", "--for", "1s", "--config", agent.config, expect=1)
        assert "privacy-agent: no camera was heard\n  next: " in quiet.stderr
        host.ip("link", "set", "lan0", "down")
        cut_off = agent.shell("privacy-agent", "discover", "--for", "1s", "--config", agent.config, expect=1)
        assert "next: mdns, onvif: only the loopback interface is up" in cut_off.stderr
        assert {json.loads(line)["trouble"]["reason"] for line in cut_off.stdout.splitlines()} >= {"no_interface"}


@on_network(hosts=2)
def test_no_daemon_and_no_interface_are_told_and_end_nothing(net: Network) -> None:
    agent_host, camera_host = net.hosts
    with device(agent_host) as agent:
        agent.listens()
        agent.env["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={agent.folder}/nobody"
        agent_host.ip("link", "set", "lan0", "down")
        with agent.running():
            agent.until_trouble("no_daemon", "no_interface")
            assert agent.asked("status")["running"] is True
            agent_host.ip("link", "set", "lan0", "up")
            with camera(camera_host, agent.folder / "cameras") as there:
                assert agent.until_near("the camera", state="new")["unverified_device"] == there.id


def _copy_identity(cameras: Path, thieves: Path) -> None:
    """Give a second camera the first one's id, as a copied label would; its key is its own."""
    (camera_folder,) = [one for one in cameras.iterdir() if one.is_dir()]
    copy = thieves / camera_folder.name
    copy.mkdir(mode=0o700)
    for name in ("device.json", "device.key", "device.crt"):
        (copy / name).write_bytes((camera_folder / name).read_bytes())
        (copy / name).chmod(0o600)
