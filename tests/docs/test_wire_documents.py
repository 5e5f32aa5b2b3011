"""The protocol on paper says one thing in four places: prose, schemas, AsyncAPI and the code's own table."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent.app.alarm import MEANING
from agent.envelope import KIND, VERBS
from agent.outbox import ALERT_CODES, UNTIL_ACKNOWLEDGED

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMAS = DOCS / "schemas"
PROTOCOL = (DOCS / "protocol.md").read_text(encoding="utf-8")


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_schema_is_a_valid_schema_and_every_reference_resolves(path: Path) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))
    for judge in (jsonschema.Draft202012Validator, jsonschema.Draft7Validator):
        judge.check_schema(schema)
    terms = load("terms")["$defs"]
    for reference in re.findall(r'"\$ref": "([^"]+)"', path.read_text(encoding="utf-8")):
        assert reference.split("/")[-1] in terms, reference


def schemas_in(found: object) -> Iterator[dict[str, Any]]:
    """Yield a schema and all that it is made of."""
    if isinstance(found, list):
        for one in found:
            yield from schemas_in(one)
    elif isinstance(found, dict):
        yield found
        for keyword, value in found.items():
            if keyword in {"properties", "$defs"}:
                yield from schemas_in(list(value.values()))
            elif keyword not in {"enum", "const"}:
                yield from schemas_in(value)


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_schema_says_the_same_by_the_draft_that_it_names_and_by_that_of_asyncapi(path: Path) -> None:
    """``schemaFormat`` says draft-07, which is what AsyncAPI reads; what only one draft knows the other passes over."""
    newer, older = (judge.VALIDATORS for judge in (jsonschema.Draft202012Validator, jsonschema.Draft7Validator))
    for schema in schemas_in(json.loads(path.read_text(encoding="utf-8"))):
        assert not set(schema) & (set(newer) ^ set(older))
        assert not isinstance(schema.get("items"), list), "a list there means something else in each"
        assert "$ref" not in schema or set(schema) == {"$ref"}, "draft-07 passes over what stands beside a reference"


def test_every_signed_kind_has_a_schema_and_no_other_stands_there() -> None:
    named = {path.stem for path in SCHEMAS.glob("*.json")}
    assert named == (set(KIND) - {"chunk"}) | {"terms", "descriptor", "keyset", "signed-policy", "succession"}


def test_table_of_kinds_in_the_prose_is_the_codes_table() -> None:
    rows = re.findall(r"^\| (0x[0-9a-f]{2}) \| `([a-z-]+)` \|", PROTOCOL, re.MULTILINE)
    told = {name: int(byte, 16) for byte, name in rows}
    assert told == dict(KIND)


def test_reasons_in_the_prose_are_the_schemas_reasons() -> None:
    told = re.findall(r"^\| `([a-z_]+)` \| (?:never|later|after_fix) \|", PROTOCOL, re.MULTILINE)
    assert sorted(told) == sorted(load("receipt")["properties"]["reason"]["enum"])


def test_alert_codes_are_the_same_everywhere() -> None:
    told = re.search(r"^Codes: `([a-z_ ]+)`", PROTOCOL, re.MULTILINE)
    assert told is not None
    assert set(told[1].split()) == set(load("alert")["properties"]["code"]["enum"]) == set(ALERT_CODES) == set(MEANING)


def test_every_alert_has_an_end_and_the_same_ones_wait_for_their_reader() -> None:
    section = PROTOCOL.split("\n## 8. ", 1)[1].split("\n## ", 1)[0]
    ends = dict(re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", section, re.MULTILINE))
    assert set(ends) == set(ALERT_CODES)
    assert {code for code, end in ends.items() if "acknowledged" in end} == UNTIL_ACKNOWLEDGED


def test_verbs_are_the_same_everywhere() -> None:
    table = PROTOCOL.split("| verb | own claims | effect |", 1)[1].split("\n\n", 1)[0]
    told = set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))
    assert told == set(VERBS) == set(load("terms")["$defs"]["verb"]["enum"])


def test_asyncapi_document_holds_every_channel_and_kind(
    run_node: "Callable[..., subprocess.CompletedProcess[str]]",
) -> None:
    done = run_node("asyncapi-check.mjs", DOCS / "asyncapi.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert set(told["messages"]) == set(KIND)
    named = {address.removeprefix("pv1/{tenant}/{device}/") for address in told["channels"]}
    prose = set(re.findall(r"^\| `([a-z/{}]+)` \| (?:to|from) the agent", PROTOCOL, re.MULTILINE))
    assert named - {"probe"} == prose, "the probe is the device's own and stands in a sentence"


def test_asyncapi_check_refuses_a_wrong_document(
    run_node: "Callable[..., subprocess.CompletedProcess[str]]", tmp_path: Path
) -> None:
    wrong = tmp_path / "asyncapi.yaml"
    wrong.write_text((DOCS / "asyncapi.yaml").read_text(encoding="utf-8").replace("action: send", "action: shout"))
    assert run_node("asyncapi-check.mjs", wrong).returncode == 1
