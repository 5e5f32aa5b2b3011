"""`docs/policy.schema.json` is the form that the agent reads: the same keys, the same words, the same examples."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from agent.model import CATEGORIES
from agent.policy import reading
from agent.policy.fields import reading as fields
from agent.policy.purpose import Basis
from agent.policy.values import OnFull, UploadRule

ROOT = Path(__file__).resolve().parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/policy.schema.json").read_text(encoding="utf-8"))
PRESETS = sorted((ROOT / "agent/policy/presets").glob("*.toml"))
OPERATING = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
SHOWN = [text for text in re.findall(r"^```toml\n(.*?)^```$", OPERATING, re.MULTILINE | re.DOTALL) if "[recip" in text]

BAD = {
    "a key that nothing knows": ("[upload]", "[upload]\nspeed = 1"),
    "a table that nothing knows": ("[upload]", "[download]"),
    "a category that is none": ("[category.photo]", "[category.photos]"),
    "a ground that is none": ('basis = "consent"', 'basis = "habit"'),
    "a purpose that says nothing": ("description = ", "name = "),
    "one purpose and several": ('purpose = "security"', 'purpose = "security"\npurposes = ["security"]'),
    "a duration that is none": ('age = "90d"', 'age = "a season"'),
    "a field rule that is none": ('mac = "drop"', 'mac = "hide"'),
    "two rules for a field": ("gps_lat.round = 1", "gps_lat.round = 1\ngps_lat.ranges = [1]"),
    "an export that is uploaded": ("[category.export]", '[category.export]\nupload = "allowed"'),
    "a service that ends at once": ("[upload]", '[end_of_service]\nsilent = "1s"\n[upload]'),
    "a grace of nothing": ("[upload]", '[end_of_service]\ngrace = "0s"\n[upload]'),
    "a region that is no name": ('"us-east"', '"the east"'),
    "an owner of another name": ("owner = ", "ada = "),
    "an owner without a key where others have one": ("owner = [", 'owner = []\nada = ["age1a"'),
    "another version": ("version = 1", "version = 2"),
}


def judged(text: str) -> list[str]:
    judge = jsonschema.Draft202012Validator(SCHEMA)
    return [error.message for error in judge.iter_errors(tomllib.loads(text))]


def keys_at(*path: str | int) -> set[str]:
    found: Any = SCHEMA
    for name in path:
        found = found[name]
    assert found["additionalProperties"] is False
    return set(found["properties"])


def test_schema_is_one_and_has_the_keys_that_are_read_and_no_other() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert keys_at() == set(reading._DOCUMENT_KEYS)
    assert keys_at("properties", "upload") == set(reading._UPLOAD_KEYS)
    assert keys_at("properties", "retention") == set(reading._RETENTION_KEYS)
    assert keys_at("properties", "category") == set(CATEGORIES)
    assert keys_at("$defs", "purpose") == set(reading._PURPOSE_KEYS)
    assert keys_at("$defs", "rule") == set(reading._RULE_KEYS)
    assert keys_at("$defs", "export") == set(reading._EXPORT_KEYS)
    assert keys_at("$defs", "rule", "properties", "keep") == set(reading._KEEP_KEYS)
    assert keys_at("$defs", "fields", "additionalProperties", "anyOf", 1) == set(fields._KINDS)


def test_schema_has_the_words_that_are_read_and_no_other() -> None:
    rule, purpose = SCHEMA["$defs"]["rule"]["properties"], SCHEMA["$defs"]["purpose"]["properties"]
    assert purpose["basis"]["enum"] == [*get_args(Basis)]
    assert rule["upload"]["enum"] == [*get_args(UploadRule)]
    assert rule["on_full"]["enum"] == [*get_args(OnFull)]
    assert rule["priority"]["maximum"] == max(reading._PRIORITIES)
    assert SCHEMA["$defs"]["name"]["pattern"] == f"^{reading._NAME.pattern}$"


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_preset_has_that_form(path: Path) -> None:
    assert judged(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", SHOWN, ids=range(len(SHOWN)))
def test_example_has_that_form(text: str) -> None:
    assert len(SHOWN) > 2
    assert judged(text) == []


@pytest.mark.parametrize("case", BAD)
def test_form_that_the_agent_refuses_is_refused(case: str) -> None:
    good = (ROOT / "agent/policy/presets/a.toml").read_text(encoding="utf-8")
    assert BAD[case][0] in good
    assert judged(good.replace(*BAD[case], 1))
