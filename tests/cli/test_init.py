"""``privacy-agent init``: what is given is used, or it is said that it is not."""

from pathlib import Path

import pytest

from agent.config import read_config
from agent.document import DOCUMENT_BYTES
from tests.cli.conftest import Device, Shell
from tests.ran import Ran


@pytest.fixture
def init(shell: Shell, made: Path, tmp_path: Path) -> "Init":
    return Init(shell, made / "home/owner.pub", tmp_path)


class Init:
    """Runs ``init`` into one folder."""

    def __init__(self, shell: Shell, owner: Path, folder: Path) -> None:
        self._shell = shell
        self._owner = owner
        self.folder = folder
        self.config = folder / "agent.toml"

    def __call__(self, *words: object) -> Ran:
        state = self.folder / "state"
        usual = ("--owner", self._owner, "--config", self.config, "--state", state)
        return self._shell("privacy-agent", "init", *usual, *words)


def line(tls: Path) -> tuple[object, ...]:
    return ("--broker", "mqtts://mqtt.example:8883", "--tenant", "acme", "--identity", tls / "cam-01")


def test_name_that_is_not_the_certificate_s_is_refused_before_anything_is_made(init: Init, tls: Path) -> None:
    ran = init("--device", "camX", *line(tls))
    assert ran.code == 2
    assert "the certificate names 'cam-01'" in ran.err
    assert "next: leave --device out" in ran.err
    assert not (init.folder / "state").exists()
    assert not init.config.exists()


def test_name_that_is_the_certificate_s_is_taken(init: Init, tls: Path) -> None:
    assert init("--device", "cam-01", *line(tls)).code == 0
    assert read_config(init.config).device == "cam-01"


def test_steps_after_it_are_typed_as_they_stand_also_where_a_path_has_blanks(
    shell: Shell, made: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "my cameras"
    folder.mkdir()
    told = Init(shell, made / "home/owner.pub", folder)("--device", "camX").out
    assert f"\n  privacy-owner device add '{folder}/state/device.jws'\n" in told
    assert told.endswith(
        f"\n  privacy-agent doctor --config '{folder}/agent.toml'\n  privacy-agent run --config '{folder}/agent.toml'\n"
    )


def test_name_is_given_before_the_certificate_is_there(init: Init, tmp_path: Path) -> None:
    assert init("--device", "camX", *line(tmp_path)).code == 0


def test_same_command_again_changes_nothing_and_says_nothing_of_unused_options(init: Init, tls: Path) -> None:
    words = (*line(tls), "--source", f"spool:{init.folder}/spool", "--clock", "system", "--medium", "encrypted")
    assert init(*words).code == 0
    before = init.config.read_bytes()
    again = init(*words)
    assert (again.code, again.err) == (0, "")
    assert init.config.read_bytes() == before


def test_options_that_a_kept_config_does_not_hold_are_named(init: Init, tls: Path) -> None:
    assert init("--device", "cam-01", "--source", f"spool:{init.folder}/spool").code == 0
    before = init.config.read_bytes()
    words = (*line(tls), "--clock", "system", "--source", f"spool:{init.folder}/other", "--state", init.folder / "new")
    again = init(*words)
    assert again.code == 0
    unused = "--state, --broker, --tenant, --identity, --clock, --source"
    assert f"{init.config} was kept as it is; not used: {unused}" in again.err
    assert f"next: edit {init.config}" in again.err
    assert not (init.folder / "new").exists()
    assert init.config.read_bytes() == before
    assert init(*words, "--json").json["unused"] == unused.split(", ")


def test_preset_and_region_make_the_policy_and_one_that_is_kept_says_so(init: Init, tls: Path) -> None:
    words = (*line(tls), "--preset", "b", "--region", "moon-1")
    assert init(*words).code == 0
    policy = init.folder / "policy.toml"
    text = policy.read_text(encoding="utf-8")
    assert 'regions = ["moon-1"]' in text
    assert "[purpose.profiling]" in text
    assert init(*words).err == ""
    again = init("--preset", "a")
    assert f"{policy} was kept as it is; not used: --preset" in again.err
    assert policy.read_text(encoding="utf-8") == text


def test_region_that_no_store_can_name_is_refused_before_anything_is_made(init: Init) -> None:
    ran = init("--device", "cam-01", "--region", "the moon")
    assert ran.code == 2
    assert "--region 'the moon' is no name of a region" in ran.err
    assert not (init.folder / "state").exists()


def test_second_owner_is_told_how_a_device_is_given_away(device: Device, shell: Shell, tmp_path: Path) -> None:
    assert shell("privacy-owner", "--home", tmp_path / "other", "init", "--classic").code == 0
    ran = device.agent("init", "--owner", tmp_path / "other/owner.pub", "--state", device.state)
    assert ran.code == 2
    assert "has an owner already" in ran.err
    hint = ran.err.partition("next: ")[2]
    assert "privacy-owner erase-all" in hint
    assert "docs/operating.md" in hint


def test_config_or_policy_that_is_far_too_large_is_no_reason_to_init(device: Device) -> None:
    policy = device.folder / "policy.toml"
    for file, meant in ((policy, f"name the policy in {device.config}"), (device.config, "with --config")):
        with file.open("ab") as longer:
            longer.write(b"#" * DOCUMENT_BYTES)
        ran = device.agent("status")
        assert ran.code == 2
        assert f"{file}: larger than" in ran.err
        assert meant in ran.err
        assert "init" not in ran.err


def test_keystore_that_is_gone_beside_an_index_is_said_and_init_makes_no_other(device: Device, made: Path) -> None:
    # ``run`` said "was not set up, next: init"; that wrote another keystore, which opened nothing, and then failed.
    device.take_in("front/a.mp4")
    keystore = device.state / "keystore"
    aside = keystore.rename(device.folder / "aside")
    before = sorted(device.state.rglob("*"))
    tries = [device.agent("run"), device.agent("status"), device.agent("init", "--owner", made / "home/owner.pub",
             "--state", device.state)]  # fmt: skip
    for ran in tries:
        assert ran.code == 2
        assert f"{keystore} is missing, and {device.state / 'index.db'} is there" in ran.err
        assert "next: put that very file back, init does not help" in ran.err
    assert device.examined()["keys"]["next"].startswith("put that very file back")
    assert sorted(device.state.rglob("*")) == before, "nothing was written"
    aside.rename(keystore)
    assert len(device.ok("inventory", "--json").json["objects"]) == 1
