"""Wrong calls of ``privacy-agent``: each says what is wrong in words that a person has for it, and what to do next."""

from pathlib import Path

import pytest

from agent.cli import FILES
from tests.cli.conftest import Device
from tests.riddles import RIDDLES, lay_out_wrong_files

CONFIG = "--config"

WRONG: dict[tuple[str, ...], tuple[int, str, str]] = {
    ("init", "--owner", "nope"): (2, "nope: No such file", "privacy-owner init"),
    ("init", "--owner", "plain"): (2, "plain: this is no owner.pub", "owner.pub of: privacy-owner init"),
    ("init", "--owner", "plain", "--source", "spool"): (2, "plain: this is no owner.pub", "owner.pub"),
    ("version", "now"): (2, "unrecognized arguments: now", "privacy-agent version --help"),
    ("policy", "check", "nope"): (2, "nope: No such file", "name the policy file"),
    ("policy", "check", "plain"): (2, "plain:1: ", "TOML"),
    ("policy", "check", "/dev/zero"): (2, "/dev/zero: a device, and no plain file", "name the policy file"),
    ("run", CONFIG, "nope"): (2, "nope: No such file", "--config FILE"),
    ("status", CONFIG, "plain"): (2, "plain:1: ", "TOML"),
    ("inventory", "--from", "yesterday"): (2, "'yesterday' is not a time", "36h"),
    ("inventory", "--camera", "Front Door"): (1, "no camera 'Front Door' is known", "privacy-agent cameras"),
    ("inventory", "nope"): (1, "not held here: nope", "privacy-agent audit show"),
    ("explain", "nope"): (1, "no object 'nope' is held", "privacy-agent inventory"),
    ("export", "nope"): (1, "nothing of that selection is held", "privacy-agent inventory"),
    ("export", "--form", "tar"): (2, "invalid choice: 'tar'", "privacy-agent export --help"),
    ("audit", "show", "--after", "-1"): (2, "after -1 is not a count", "from 0"),
    ("audit", "verify", "--after", "1"): (2, "unrecognized arguments", "privacy-agent audit verify --help"),
    ("discover", "--for", "soon"): (2, "'soon' is not a time", "20s"),
    ("enrol", "PVCAM:1:NO"): (2, "this is no camera's label", "PVCAM:1:"),
    ("enrol", "--configured", "rtsp://ada:pw@192.0.2.8/"): (2, "holds a user name or password", "mode 0600"),
    ("enrol", "--accept", "FA9D"): (2, "a fingerprint has 32 digits", "8 groups of 4"),
    ("cameras", "nope"): (2, "unrecognized arguments", "privacy-agent cameras --help"),
    ("forget-camera", "nope"): (2, "camera nope is not enrolled", "privacy-agent cameras"),
    ("collection", "nope", "off"): (2, "no camera of that id or name is known here", "privacy-agent cameras"),
    ("passkey",): (2, "the following arguments are required: ID|NAME", "privacy-agent passkey --help"),
    ("collection", "nope", "perhaps"): (2, "invalid choice: 'perhaps'", "privacy-agent collection --help"),
    ("consents", "nope"): (2, "unrecognized arguments: nope", "privacy-agent consents --help"),
    ("counts", "nope"): (2, "unrecognized arguments: nope", "privacy-agent counts --help"),
    ("integrations", "nope"): (2, "unrecognized arguments: nope", "privacy-agent integrations --help"),
    ("scrub", "nope"): (1, "not held here: nope", "privacy-agent inventory"),
    ("submit", "nope"): (2, "nope: No such file", "privacy-owner --out"),
    ("submit", "plain"): (1, "plain: this is no signed file", "privacy-owner --out"),
    ("submit", "clip.age"): (1, "clip.age: it is sealed to another device", "--device NAME"),
    ("doctor", CONFIG, "nope"): (2, "nope: No such file", "--config FILE"),
    ("encrypt", "plain"): (2, "no recipient is given", "at least one recipient"),
    ("encrypt", "-r", "age1bob", "plain"): (2, "this is no age key", "copy the whole key"),
    ("decrypt", "-i", "own.key", "plain"): (1, "plain: this is no age v1 file", "as age"),
    ("decrypt", "-i", "own.key", "cut.age"): (1, "cut.age: ", "copy it again, whole"),
    ("decrypt", "-i", "other.key", "clip.age"): (1, "clip.age: none of the identities", "sealed to: -i FILE"),
    ("decrypt", "-i", "nope", "clip.age"): (2, "privacy-agent: nope: No such file", "check the name"),
    ("decrypt", "-i", "own.key", "nope"): (2, "privacy-agent: nope: No such file", "check the name"),
    ("keygen", "-o", "own.key"): (2, "own.key: already exists", "another name"),
}


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join(words)[:40])
def test_wrong_call_says_what_is_wrong_and_what_next(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out_wrong_files()

    plain = words[0] in {"encrypt", "decrypt", "keygen", "version"} or words[:2] == ("policy", "check")
    ran = device.shell("privacy-agent", *words) if plain or CONFIG in words else device.agent(*words)

    code, says, step = WRONG[words]
    what, _, following = ran.err.partition("\n  next: ")
    assert ran.code == code
    assert says in what
    assert step in following
    assert not [riddle for riddle in RIDDLES if riddle in ran.err]


@pytest.mark.parametrize("words", [(CONFIG, "agent.toml"), (f"{CONFIG}=agent.toml",)])
def test_config_before_the_command_is_told_its_place(device: Device, words: tuple[str, ...]) -> None:
    ran = device.shell("privacy-agent", *words, "status")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "privacy-agent: --config stands behind the command",
        "  next: privacy-agent COMMAND --config FILE",
    ]


def test_every_command_is_called_wrongly_once() -> None:
    assert {words[0] for words in WRONG} == {name for names in FILES.values() for name in names}
