"""`[keystore]` of agent.toml: what is used, and what a mistake is told as."""

from pathlib import Path

import pytest

from agent.config import parse_config
from agent.element import DEFAULT_COUNTER, DEFAULT_TCTI, TpmSettings
from agent.errors import ConfigError

FILE = Path("/etc/privacy-agent/agent.toml")


def table(text: str) -> TpmSettings | None:
    return parse_config(f'device = "cam-01"\n{text}'.encode(), file=FILE).tpm


@pytest.mark.parametrize("text", ["", "[keystore]\n", '[keystore]\nengine = "software"\n'])
def test_without_the_word_there_is_no_tpm(text: str) -> None:
    assert table(text) is None


def test_engine_alone_takes_the_usual_tpm_and_counter() -> None:
    assert table('[keystore]\nengine = "tpm"\n') == TpmSettings(tcti=DEFAULT_TCTI, counter=DEFAULT_COUNTER)


def test_tpm_and_counter_are_those_that_are_named() -> None:
    told = table('[keystore]\nengine = "tpm"\ntcti = "swtpm:host=127.0.0.1,port=2321"\ncounter = 0x01810731\n')
    assert told == TpmSettings(tcti="swtpm:host=127.0.0.1,port=2321", counter=0x01810731)


@pytest.mark.parametrize(
    ("text", "problem", "step"),
    [
        ('engine = "hsm"', "'hsm' is not known", "use one of: software, tpm"),
        ("counter = 0x01810730", "is a TPM's, and the engine is none", 'write engine = "tpm"'),
        ('engine = "tpm"\ncounter = 1', "is no NV index of this machine's owner", "one of 0x01800000 to 0x01bfffff"),
        ('engine = "tpm"\ntcti = "device:/dev/tpm rm0"', "names no TPM", f'write for example "{DEFAULT_TCTI}"'),
        ('engine = "tpm"\npcr = 7', "pcr", "next: "),
    ],
)
def test_mistake_is_told_with_the_next_step(text: str, problem: str, step: str) -> None:
    with pytest.raises(ConfigError) as told:
        table(f"[keystore]\n{text}\n")
    assert problem in str(told.value)
    assert step in str(told.value)
    assert str(FILE) in str(told.value)
