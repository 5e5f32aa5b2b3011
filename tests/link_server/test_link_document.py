"""The camera link on paper: a valid OpenAPI document, the same names as the prose, and examples that compute."""

import base64
import hashlib
import hmac
import json
import re
import struct
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

DOCS = Path(__file__).resolve().parents[2] / "docs"
PROSE = (DOCS / "camera-link.md").read_text(encoding="utf-8")
SHAPES: dict[str, Any] = json.loads((DOCS / "camera-link.openapi.json").read_text(encoding="utf-8"))


def test_document_is_openapi() -> None:
    assert list(OpenAPIV31SpecValidator(SHAPES).iter_errors()) == []


def test_a_wrong_document_is_found() -> None:
    wrong = json.loads(json.dumps(SHAPES).replace('"responses"', '"answers"', 1))
    assert list(OpenAPIV31SpecValidator(wrong).iter_errors()) != []


def test_every_path_stands_in_the_prose_and_no_other() -> None:
    told = {path.partition("?")[0] for path in re.findall(r"`(?:GET|PUT|DELETE) (/v1/[^`\s]*)", PROSE)}
    assert told == set(SHAPES["paths"])


def test_codes_are_the_same_in_both() -> None:
    told = re.findall(r"^\| `([a-z_]+)` \| \d{3}", PROSE, re.MULTILINE)
    assert told == SHAPES["components"]["schemas"]["Error"]["properties"]["code"]["enum"]


def test_example_of_a_label_computes() -> None:
    (x,) = re.findall(r"`x` = `([\w-]+)`", PROSE)
    y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"  # RFC 7517 A.1
    jwk = json.dumps({"crv": "P-256", "kty": "EC", "x": x, "y": y}, separators=(",", ":")).encode()
    kid = base64.urlsafe_b64encode(hashlib.sha256(jwk).digest()).rstrip(b"=").decode()
    fingerprint = hashlib.sha256(kid.encode()).hexdigest()[:32]
    assert f"`{kid}`" in PROSE
    assert " ".join(fingerprint[at : at + 4] for at in range(0, 32, 4)) in PROSE
    assert f"PVCAM:1:ABCDEFGH234567AA:{fingerprint.upper()}" in PROSE


def test_example_of_a_rotating_id_computes() -> None:
    told = re.search(r"advert key `([\w-]+)`.*day (\d+) \(([\d-]+)\): `(\w+)`; day 0: `(\w+)`", PROSE)
    assert told is not None
    key = base64.urlsafe_b64decode(f"{told[1]}=")
    assert date(1970, 1, 1) + timedelta(int(told[2])) == date.fromisoformat(told[3])
    for day, announced in ((int(told[2]), told[4]), (0, told[5])):
        digest = hmac.digest(key, b"pv-camera-advert" + struct.pack(">Q", day), "sha256")
        assert base64.b32encode(digest).decode().lower()[:16] == announced
