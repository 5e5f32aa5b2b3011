"""Bad input gets a clear answer and loses nothing: files that people write, keys, certificates, and hostile commands.

A person is told the file, the line where there is one, and the fix; ``run`` ends with 2 for what is to be mended in a
file or an argument and with 1 for the rest, and ``doctor`` names the same thing. A sender whose signature holds is
answered with the reason; anybody else is counted and audited. Nothing of it has an effect.
"""

import contextlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from device_sim.cloud import sealing
from device_sim.cloud.keys import Party
from tests.flow.hostile import Hostile, besieged
from tests.flow.house import DEVICE, House
from tests.waiting import until

# -- files that people write -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A household in which nothing but the broker runs."""
    with House(tmp_path_factory.mktemp("bad-input")) as house:
        yield house


@contextlib.contextmanager
def kept(*roots: Path) -> Iterator[None]:
    """Put files and folders back as they were, modes included."""
    copies = [(root, root.with_name(root.name + ".kept")) for root in roots]
    for root, copy in copies:
        if root.is_dir():
            shutil.copytree(root, copy)
        else:
            shutil.copy2(root, copy)
    try:
        yield
    finally:
        for root, copy in copies:
            if root.is_dir():
                shutil.rmtree(root)
            else:
                root.unlink(missing_ok=True)
            copy.rename(root)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def spoil(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def line_of(path: Path, words: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), start=1) if words in line)


CONFIG_MISTAKES: dict[str, tuple[Callable[[House], None], str]] = {
    "unknown key": (lambda house: edit(house.config, "[clock]", 'colour = "red"\n[clock]'), "colour"),
    "unknown clock": (lambda house: edit(house.config, 'source = "system"', 'source = "sundial"'), "sundial"),
    "clear line to a far broker": (
        lambda house: edit(house.config, house.url, "mqtt://mqtt.example:1883"),
        "mqtt.example",
    ),
    "unknown medium": (lambda house: edit(house.config, 'medium = "disk"', 'medium = "paper"'), "paper"),
    "no TOML": (lambda house: edit(house.config, "[clock]", "[clock"), "[clock"),
}


@pytest.mark.parametrize("case", CONFIG_MISTAKES)
def test_mistake_in_the_config_names_file_line_and_fix_and_exits_2(still: House, case: str) -> None:
    mistake, words = CONFIG_MISTAKES[case]
    with kept(still.config):
        mistake(still)
        place = f"{still.config}:{line_of(still.config, words)}: "
        for command in ("run", "doctor", "status"):
            answer = still.run("privacy-agent", command, "--config", still.config, expect=2)
            assert place in answer
            assert "next: " in answer


POLICY_MISTAKES: dict[str, tuple[str, str]] = {
    "unknown key": ('upload = "before-expiry"', 'upload = "before-expiry"\nkeep_for = "14d"'),
    "unknown recipient": ('seal_to = ["owner"]', 'seal_to = ["cloud"]'),
    "no purpose": ('purpose = "security"', "# no purpose"),
    "no duration": ('age = "14d"', 'age = "a fortnight"'),
    "no recipient": ("age1", "age2"),
    "unknown version": ("version = 1", "version = 9"),
}


@pytest.mark.parametrize("case", POLICY_MISTAKES)
def test_mistake_in_the_policy_names_file_line_and_fix_and_exits_2(still: House, case: str) -> None:
    policy = still.folder / "policy.toml"
    with kept(policy):
        edit(policy, *POLICY_MISTAKES[case])
        for command in (("run",), ("policy", "check")):
            answer = still.run("privacy-agent", *command, "--config", still.config, expect=2)
            assert f"{policy}:" in answer
            assert answer.split(f"{policy}:")[1].split(":")[0].isdigit()
            assert "next: " in answer
        found = doctor(still, "policy")
        assert found["verdict"] == "bad"
        assert str(policy) in found["told"]
        assert found["next"]


def doctor(house: House, what: str, *arguments: str) -> dict[str, Any]:
    """Return the first bad finding about something; there must be one, and the exit code says so."""
    told = house.agent_json("doctor", *(arguments or ("--offline",)), expect=1)
    return next(one for one in told["findings"] if one["verdict"] == "bad" and one["what"] == what)


def _chmod(mode: int) -> Callable[[Path], None]:
    return lambda path: path.chmod(mode)


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


UNUSABLE: dict[str, tuple[str, Callable[[Path], None], str, str, int]] = {
    "policy gone": ("policy.toml", _remove, "No such file", "policy", 2),
    "keystore others may read": ("state/keystore", _chmod(0o644), "chmod 600", "keys", 2),
    "keystore spoiled": ("state/keystore", spoil, "both copies of the keystore are damaged", "keys", 1),
    "index spoiled": ("state/index.db", spoil, "does not open this index", "vault", 2),
    "TLS key others may read": (f"tls/{DEVICE}/tls.key", _chmod(0o640), "chmod 600", "TLS identity", 2),
    "TLS key spoiled": (f"tls/{DEVICE}/tls.key", spoil, "not a PEM certificate", "TLS identity", 2),
    "TLS key gone": (f"tls/{DEVICE}/tls.key", _remove, "No such file", "TLS identity", 2),
    "certificate empty": (f"tls/{DEVICE}/tls.crt", _empty, "not a PEM certificate", "TLS identity", 2),
    "CA spoiled": (f"tls/{DEVICE}/ca.crt", spoil, "no PEM certificate", "TLS identity", 2),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_file_is_named_with_its_fix_by_run_and_doctor(still: House, case: str) -> None:
    name, harm, words, finding, code = UNUSABLE[case]
    with kept(still.state, still.folder / "tls", still.folder / "policy.toml"):
        harm(still.folder / name)
        answer = still.run("privacy-agent", "run", "--config", still.config, expect=code)
        assert str((still.folder / name).parent) in answer
        assert words in answer
        assert "next: " in answer
        assert "Traceback" not in answer
        found = doctor(still, finding)
        assert words in found["told"] + found["next"]
        assert found["next"]
    assert still.agent_json("doctor", "--offline")["healthy"]


def test_state_folder_that_others_may_enter_is_named_by_doctor(still: House) -> None:
    still.state.chmod(0o755)
    try:
        assert f"chmod 700 {still.state}" in doctor(still, "state folder")["next"]
    finally:
        still.state.chmod(0o700)


def test_certificate_of_another_device_is_refused_with_the_name_to_write(still: House) -> None:
    with kept(still.config):
        edit(still.config, f'device = "{DEVICE}"', 'device = "cam-02"')
        answer = still.run("privacy-agent", "run", "--config", still.config, expect=2)
        assert f'write device = "{DEVICE}"' in answer
        assert f'write device = "{DEVICE}"' in doctor(still, "TLS identity")["next"]


@pytest.mark.promise("ENCRYPT")
def test_broker_of_another_ca_is_named_by_doctor_and_by_status(still: House) -> None:
    still.run("certs", "init", still.folder / "other-tls", "--device", DEVICE)
    with kept(still.folder / "tls" / DEVICE):
        shutil.copy(still.folder / "other-tls" / DEVICE / "ca.crt", still.folder / "tls" / DEVICE / "ca.crt")
        found = doctor(still, "broker", "--config", str(still.config))
        assert "ca.crt" in found["told"] + found["next"]
        still.start("agent", "privacy-agent", "run", "--config", still.config)
        try:
            trouble = until(lambda: still_trouble(still), what="the trouble told")
            assert "ca.crt" in trouble["trouble"] + trouble["next"]
            asked = doctor(still, "broker", "--config", str(still.config))
            assert (asked["told"], asked["next"]) == (trouble["trouble"], trouble["next"])
        finally:
            still.stop("agent")


def still_trouble(house: House) -> dict[str, Any] | None:
    if not (house.state / "control.sock").exists():
        return None
    line: dict[str, Any] = house.agent_json("status")["broker"]
    return line if "trouble" in line else None


def test_owner_file_that_is_none_is_refused_before_anything_is_made(still: House, tmp_path: Path) -> None:
    for content in (
        b"",
        b"{}\n",
        b"age1xyz\n",
        (still.home / "owner.pub").read_bytes().splitlines()[0],
        os.urandom(300),
    ):
        (tmp_path / "owner.pub").write_bytes(content)
        answer = still.run(
            "privacy-agent", "init", "--owner", tmp_path / "owner.pub", "--device", DEVICE,
            "--config", tmp_path / "agent.toml", "--state", tmp_path / "state", expect=2,
        )  # fmt: skip
        assert str(tmp_path / "owner.pub") in answer
        assert "next: " in answer
        assert not (tmp_path / "state").exists()


# -- hostile commands ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with besieged(tmp_path_factory.mktemp("hostile")) as found:
        yield found


def test_retained_command_is_ignored(hostile: Hostile) -> None:
    live = hostile.claims(verb="inventory", limit=1)
    hostile.backend.send_raw(hostile.backend.craft(live))
    until(lambda: [one for one in hostile.receipts if one["cmd"] == live["jti"]], what="a live one answered")
    assert not [one for one in hostile.receipts if one["cmd"] == hostile.retained["jti"]]
    hostile.backend.send_raw(b"", retain=True)


ANSWERED: dict[str, tuple[dict[str, Any], str]] = {
    "for another device": ({"aud": "cam-02"}, "wrong_audience"),
    "expired": ({"iat": 1_700_000_000, "exp": 1_700_000_100}, "expired"),
    "from the future": ({"iat": 4_000_000_000, "exp": 4_000_000_100}, "not_yet_valid"),
    "unknown verb": ({"verb": "format"}, "unknown_verb"),
    "unknown claim": ({"force": True}, "malformed"),
    "lifetime of a year": ({"exp": 4_000_000_000}, "malformed"),
    "verb of an owner": ({"verb": "approve", "command": "a" * 26, "selection": "0" * 64}, "verb_not_allowed"),
    "verb it does not hold": ({"verb": "time", "now": 1_700_000_000}, "verb_not_allowed"),
    "no selection": ({"select": {}}, "malformed"),
}


@pytest.mark.promise("VERIFY-REQ")
@pytest.mark.parametrize("case", ANSWERED)
def test_command_of_a_known_key_that_may_not_be_is_refused_with_the_reason(hostile: Hostile, case: str) -> None:
    change, reason = ANSWERED[case]
    claims = hostile.claims(**change)
    receipt = hostile.answer(hostile.backend.craft(claims), reason=reason)
    assert receipt["cmd"] == claims["jti"]
    assert len(hostile.house.held()) == 1


BODIES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "a member twice": lambda claims: json.dumps(claims).encode()[:-1] + b',"verb":"inventory"}',
    "not UTF-8": lambda claims: json.dumps(claims).encode()[:-1] + b',"x":"\xff\xfe"}',
    "nested too deeply": lambda claims: json.dumps(claims).encode()[:-1] + b',"x":' + b"[" * 40 + b"]" * 40 + b"}",
    "no JSON": lambda _claims: b"delete everything",
}


@pytest.mark.parametrize("case", BODIES)
def test_signed_body_that_two_readers_could_read_differently_is_refused(hostile: Hostile, case: str) -> None:
    hostile.answer(hostile.signed(BODIES[case](hostile.claims())), reason="malformed")
    assert len(hostile.house.held()) == 1


@pytest.mark.promise("VERIFY-REQ")
def test_replay_other_bytes_and_old_numbers_are_refused_and_act_once(hostile: Hostile) -> None:
    first = hostile.claims(verb="inventory", limit=1)
    payload = hostile.backend.craft(first)
    hostile.backend.send_raw(payload)

    def answered(times: int) -> list[dict[str, Any]]:
        found = [one for one in hostile.receipts if one["cmd"] == first["jti"]]
        return found if len(found) >= times else []

    receipt = until(partial(answered, 1), what="an inventory")[-1]
    for times in (2, 3):
        hostile.backend.send_raw(payload)
        repeats = until(partial(answered, times), what="the stored receipt again")
        assert {one["jti"] for one in repeats} == {receipt["jti"]}, "the stored receipt, not a new one (I4)"
    hostile.answer(hostile.backend.craft(hostile.claims(jti=first["jti"])), reason="jti_reused")
    hostile.answer(hostile.backend.craft(hostile.claims(seq=first["seq"])), reason="seq_reused")
    far = hostile.claims(verb="inventory", limit=1, seq=first["seq"] + 2000)
    hostile.backend.send_raw(hostile.backend.craft(far))
    until(lambda: [one for one in hostile.receipts if one["cmd"] == far["jti"]], what="an inventory of a later number")
    stale = hostile.answer(hostile.backend.craft(hostile.claims(seq=first["seq"] + 1)), reason="stale_seq")
    assert stale["next_seq"] == far["seq"] + 1
    with hostile.backend._changed, hostile.backend._db as rows:  # the tests after this one go on above the window
        rows.execute("UPDATE sequence SET seq = ?", (far["seq"],))
    assert len(hostile.house.held()) == 1


@pytest.mark.promise("VERIFY-REQ")
def test_message_of_nobody_is_counted_audited_and_never_answered(hostile: Hostile) -> None:
    backend = hostile.backend
    stranger = Party.generate("backend", name="nobody")
    other_identity, other_recipient = sealing.generate_identity()
    assert other_identity
    claims = hostile.claims()
    good = backend.craft(claims, seal_to="")[1:]
    before = len(hostile.receipts)
    for payload in (
        backend.craft(claims, seal_to=""),  # signed, not sealed
        backend.craft(claims, seal_to=other_recipient),  # sealed to somebody else
        backend.craft(claims | {"iss": stranger.kid}, signer=stranger),  # a key that nobody knows
        backend.craft(claims, signer=stranger, kid=backend.party.kid),  # forged
        backend.frame(good[:-8] + b"AAAAAAAA", seal_to=backend._device("").recipient),  # signature bent
        backend.craft(claims, typ="pv1.ack"),
        backend.craft(claims, kind=0x99),
        struct.pack(">B", 1) + os.urandom(120_000),  # as large as a packet may be
        backend.frame(good + b"A" * 100_000, seal_to=backend._device("").recipient),  # larger than a JWS may be
        b"\x01",
    ):
        backend.send_raw(payload)
    sign_of_life = hostile.claims(verb="inventory", limit=1)
    backend.send_raw(backend.craft(sign_of_life))
    until(lambda: [one for one in hostile.receipts if one["cmd"] == sign_of_life["jti"]], what="the line still works")
    assert {one["cmd"] for one in hostile.receipts[before:]} == {sign_of_life["jti"]}
    log = hostile.house.run("privacy-agent", "audit", "show", "--config", hostile.house.config)
    refused = [json.loads(line) for line in log.splitlines() if '"command_refused"' in line]
    assert {"unreadable", "unknown_key", "bad_signature"} <= {entry["detail"].get("why") for entry in refused}
    assert len(hostile.house.held()) == 1
    status = hostile.house.agent_json("status")
    assert "unknown_keys" in {one["code"] for one in status["alerts"]}
    assert {"unreadable", "unknown_key", "bad_signature"} <= status["ignored"]["commands"].keys()
    assert status["ignored"]["line"]["retained"] >= 1
    shown = hostile.house.run("privacy-agent", "status", "--config", hostile.house.config)
    assert "forged commands:" in shown
