"""`docs/licences.md` names what `pyproject.toml` asks for and what that brings, with the licences of their metadata."""

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
PROJECT: Final = "camera-privacy-agent"

# What their metadata does not say in one word; each was read in the licence file that the package carries.
READ: Final = {
    "apsw-sqlite3mc": "any-OSI",
    "isodate": "BSD-3-Clause",
    "prompt-toolkit": "BSD-3-Clause",
    "pyrage": "MIT",
    "pyserial": "BSD-3-Clause",
    "pyserial-asyncio": "BSD-3-Clause",
    "pyusb": "BSD-3-Clause",
    "setuptools-scm": "MIT",
}
SPELLED: Final = {
    "MIT License": "MIT",
    "MIT license": "MIT",
    "BSD 2-Clause License": "BSD-2-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "ISC License": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


def licence_of(name: str) -> str:
    about = metadata.metadata(name).json
    classes = [line.rpartition(" :: ")[2] for line in about.get("classifier", ()) if line.startswith("License")]
    told = about.get("license_expression") or about.get("license") or "".join(classes)
    return READ.get(name) or SPELLED.get(str(told), str(told))


def asked() -> dict[str, str]:
    """Return what is asked for by name, and for what first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"runtime": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, str] = {}
    for group in ("runtime", "dp", "onvif", "rtsp", "sim", "tpm", "test"):
        for line in groups[group]:
            name = canonicalize_name(Requirement(line).name)
            if name != PROJECT:
                found.setdefault(name, group)
    return found


def brought(names: set[str]) -> set[str]:
    """Return what these need in turn, here."""
    found: set[str] = set()
    todo = set(names)
    while todo:
        for line in metadata.requires(todo.pop()) or ():
            need = Requirement(line)
            name = canonicalize_name(need.name)
            if name not in found | names and (need.marker is None or need.marker.evaluate({"extra": ""})):
                found.add(name)
                todo.add(name)
    return found


def rows() -> dict[str, tuple[str, str]]:
    told = re.findall(r"^\| `([\w.-]+)` \| ([\w ]+) \| (.+?) \|", TEXT, re.MULTILINE)
    return {name: (group, licence) for name, group, licence in told}


def test_every_package_that_is_asked_for_stands_there_with_its_licence() -> None:
    assert {name: (group, licence_of(name)) for name, group in asked().items()} == {
        name: row for name, row in rows().items() if row[0] in {"runtime", "dp", "onvif", "rtsp", "sim", "tpm", "test"}
    }


def test_every_package_that_is_brought_along_stands_there_with_its_licence() -> None:
    told = {name: row[1] for name, row in rows().items() if row[0] == "brought along"}
    here = {name: licence_of(name) for name in brought(set(asked()))}  # another Python may need a few less
    assert here == {name: told.get(name) for name in here}


def test_packages_of_node_stand_there() -> None:
    asked_for = json.loads((ROOT / "tests/node/package.json").read_text(encoding="utf-8"))["dependencies"]
    assert set(re.findall(r"^\| `(.+?)` \| .+ \| npm \|$", TEXT, re.MULTILINE)) == set(asked_for)


def test_libraries_inside_av_that_are_gpl_are_named() -> None:
    import av  # noqa: PLC0415 - a large package, used here alone

    inside = {path.name for path in Path(f"{Path(av.__file__).parent}.libs").glob("*")}
    gpl = {name for name in ("libx264", "libx265") if any(file.startswith(name) for file in inside)}
    assert gpl == {"libx264", "libx265"}
    assert all(f"`{name}`" in TEXT for name in gpl)
