"""A policy whose recipient has one wrong letter was obeyed, and nothing was ever sealed, without a word."""

import asyncio
from pathlib import Path

import pytest

from agent import age
from agent.app.living import Offline
from agent.app.policy_file import read_new_policy, read_policy
from agent.app.verbs import table
from agent.errors import ConfigError
from agent.rights import force
from agent.rights.force import InForce
from tests.app.station import START_S, Station
from tests.writing import policy_text


@pytest.mark.parametrize("post_quantum", [False, True])
def test_recipient_with_a_wrong_letter_is_refused_with_its_line(*, post_quantum: bool) -> None:
    good = age.generate_identity(post_quantum=post_quantum).recipient().to_text()
    assert read_policy(policy_text(good, recording="").encode(), file="policy.toml").rules
    wrong = good[:-1] + ("q" if good[-1] != "q" else "p")
    with pytest.raises(ConfigError) as caught:
        read_policy(policy_text(wrong, recording="").encode(), file="policy.toml")
    assert caught.value.message.startswith("policy.toml:4: recipients.owner: ")
    assert caught.value.hint


def without_owner(how: str) -> bytes:
    """Return a policy that takes in what its vendor reads, whose owner has another name, or no key."""
    key = age.generate_identity(post_quantum=False).recipient().to_text()
    text = policy_text(key, recording="")
    assert "owner = [" in text
    if how == "missing":
        return text.replace("owner", "ada").encode()
    return text.replace("owner = [", "owner = []\nada = [").replace('"owner"', '"ada"').encode()


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_new_policy_calls_its_owner_so_and_one_in_force_is_read_as_it_was_taken(how: str) -> None:
    raw = without_owner(how)
    with pytest.raises(ConfigError, match=rf"^policy\.toml:\d: recipients\.owner: is {how}: ") as caught:
        read_new_policy(raw, file="policy.toml")
    assert "owner = [" in caught.value.hint
    assert read_policy(raw, file="policy.toml").rules


def test_new_policy_that_takes_nothing_in_needs_no_owner() -> None:
    raw = b"version = 1\n"
    assert read_new_policy(raw, file="policy.toml").owner_recipients() == ()


def test_device_under_a_policy_without_an_owner_goes_on_and_can_be_given_another(tmp_path: Path) -> None:
    station = Station(tmp_path)
    good, document = station.config.policy.read_bytes(), without_owner("missing")

    async def in_force(write: bytes, keep: InForce | None = None) -> str:
        station.config.policy.write_bytes(write)
        async with station.parts() as parts:
            if keep is not None:
                await parts.index.write(lambda tx: force.keep(tx, keep), urgent=True)
            return next(iter(parts.policy.recipients))

    taken = InForce(document=document, sha256=force.hash_of(document), since_ms=START_S * 1000)
    asyncio.run(in_force(good, taken))
    assert asyncio.run(in_force(document)) == "ada"
    assert asyncio.run(in_force(good)) == "owner"


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_export_under_a_policy_in_force_without_an_owner_says_which_line_it_lacks(tmp_path: Path, how: str) -> None:
    """It said to name a recipient, which the command that was typed cannot."""
    station, document = Station(tmp_path), without_owner(how)
    taken = InForce(document=document, sha256=force.hash_of(document), since_ms=START_S * 1000)

    async def export() -> None:
        async with station.parts() as parts:
            await parts.index.write(lambda tx: force.keep(tx, taken), urgent=True)
        station.config.policy.write_bytes(document)
        async with station.parts() as parts:
            await table(Offline(parts))["export"]({"ids": ["a" * 26]}, lambda _step: None)

    with pytest.raises(
        ConfigError, match=rf"^recipients\.owner: is {how} in the policy in force: an export "
    ) as caught:
        asyncio.run(export())
    assert f'add owner = ["age1…"] under [recipients] in {station.config.policy}, reload' in caught.value.hint
    assert caught.value.hint.endswith("privacy-owner approve")
