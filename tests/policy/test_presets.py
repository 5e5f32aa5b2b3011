"""The policies that ``privacy-agent init`` writes: good as they lie there, decent, and each line says what it keeps."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent.age import generate_identity
from agent.app.preset import preset
from agent.cli.setup import PRESETS
from agent.errors import ConfigError
from agent.model import CATEGORIES
from agent.policy import Consents, Policy, parse_policy, purposes_for, recipients_for

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "agent/policy/presets"
PROMISES = ROOT / "docs/promises.md"
VENDORS = [name for name in PRESETS if name != "default"]
DAY_MS = 86_400_000
OWNER = generate_identity(post_quantum=False).recipient().to_text()


def read(name: str, **filled: Any) -> Policy:  # noqa: ANN401 - as preset takes them
    return parse_policy(preset(name, **filled).encode(), file=f"{name}.toml")


def test_every_preset_has_its_file_and_none_is_forgotten() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(PRESETS)


@pytest.mark.parametrize("name", VENDORS)
def test_every_line_of_a_vendors_preset_names_the_promise_that_it_keeps(name: str) -> None:
    lines = (FOLDER / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    said = [line for line in lines if line and not line.startswith("#")]
    assert len(said) > 40
    nameless = [line for line in said if not re.search(r"# [A-Z]+(-[A-Z]+)*(:|$)", line)]
    assert nameless == ["[recipients]", "[upload]", "[retention]"], "these only hold what follows"


@pytest.mark.parametrize("name", VENDORS)
def test_promises_that_a_preset_names_are_those_of_the_document(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:# |; )([A-Z]+(?:-[A-Z]+)*)(?=:|$)", text, re.MULTILINE))
    rows = set(re.findall(r"^\| ([A-Z-]+) \|", PROMISES.read_text(encoding="utf-8"), re.MULTILINE))
    assert len(named) > 10
    assert named - rows == set()


@pytest.mark.parametrize("name", PRESETS)
def test_as_it_lies_there_nobody_can_read_anything_so_nothing_is_taken_in(name: str) -> None:
    policy = parse_policy((FOLDER / f"{name}.toml").read_bytes(), file=name)
    given: Consents = Consents()
    for rule in policy.rules:
        for purpose in rule.purposes:
            given = given.after(purpose.name, rule.category, "given")
    assert {recipients_for(rule, given) for rule in policy.rules} == {()}


@pytest.mark.parametrize("name", PRESETS)
def test_before_any_consent_recordings_are_the_owners_alone_and_nothing_else_is_collected(name: str) -> None:
    policy = read(name, owner=OWNER)
    taken = {rule.category: recipients_for(rule, Consents()) for rule in policy.rules if purposes_for(rule, Consents())}
    assert {"recording", "photo"} <= set(taken) <= {"recording", "photo", "export"}
    assert set(taken.values()) == {(OWNER,)}
    assert not {rule.category for rule in policy.rules} - set(CATEGORIES)


@pytest.mark.parametrize("name", PRESETS)
def test_every_category_ends_and_no_limit_removes_what_is_new(name: str) -> None:
    for rule in read(name, owner=OWNER).rules:
        assert rule.keep.age_ms is not None
        assert DAY_MS <= rule.keep.age_ms <= 90 * DAY_MS
        assert rule.on_full == "refuse"


@pytest.mark.parametrize("name", PRESETS)
def test_without_a_broker_nothing_is_uploaded_and_with_a_region_only_there(name: str) -> None:
    assert {rule.upload for rule in read(name, uploads=False).rules} == {"never"}
    assert {rule.upload for rule in read(name).rules} > {"never"} or name == "default"
    assert read(name, region="moon-1").regions == ("moon-1",)
    with pytest.raises(ConfigError, match="--region 'the moon'"):
        preset(name, region="the moon")


@pytest.mark.parametrize("name", VENDORS)
def test_vendors_preset_names_a_region_and_no_purpose_beside_the_camera_s_own_goes_without_consent(name: str) -> None:
    policy = read(name)
    assert len(policy.regions) == 1
    asked = [one.basis for purpose, one in policy.purposes.items() if purpose not in {"security", "access"}]
    assert len(asked) >= 4
    assert set(asked) == {"consent"}


@pytest.mark.parametrize("name", PRESETS)
def test_no_silence_ends_anything_where_the_config_names_no_broker(name: str) -> None:
    assert read(name, uploads=False).silent_ms is None


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_filled_in_changes_those_lines_alone(name: str) -> None:
    owner = generate_identity(post_quantum=True).recipient().to_text()
    before = (FOLDER / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    after = preset(name, owner=owner, region="moon-1", uploads=False).splitlines()
    assert len(before) == len(after)
    changed = {new for old, new in zip(before, after, strict=True) if old != new}
    silent = {"# silent"} & {f"# {line.partition(' =')[0]}" for line in before}
    assert {line.partition(" =")[0] for line in changed} == {"owner", "regions", "upload", *silent}
    whole = tomllib.loads("\n".join(after))
    assert whole["recipients"]["owner"] == [owner]
    assert all(table["upload"] == "never" for table in whole["category"].values() if "upload" in table)


@pytest.mark.parametrize("name", PRESETS)
def test_comments_stay_in_their_column_whatever_is_filled_in_and_follow_what_reaches_beyond(name: str) -> None:
    blank = (FOLDER / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    filled = preset(name, owner=OWNER, region="moon-1", uploads=False).splitlines()
    keys = re.compile(r"(?:# )?(?:upload|regions|silent) = [^#]*(?=#)")
    changed = [(old, new) for old, new in zip(blank, filled, strict=True) if old != new]
    columns = [(len(found[0]), keys.match(new)) for old, new in changed if (found := keys.match(old))]
    assert columns
    assert [found and len(found[0]) for _, found in columns] == [column for column, _ in columns]
    comments = [line.partition("#")[2] for line in blank if line.startswith("owner") and "#" in line]
    assert [line for line in filled if line.startswith("owner")] == [
        f'owner = ["{OWNER}"]' + "".join(f"  #{one}" for one in comments)
    ]
