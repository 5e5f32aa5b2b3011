"""Exports: opened with other people's tools, sealed to nobody else, and harmless to extract and to look at."""

import asyncio
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent import age, audit, envelope
from agent.bundle import build as building
from agent.bundle import packing, work
from agent.bundle.names import cell, file_name, slug
from agent.bundle.table import COLUMNS_MAX, LINE_BYTES, columns, rows
from agent.errors import LinkError, RefusedError, SpaceError
from agent.ids import Ids
from agent.index import Tx
from agent.model import Moment, Object, Selection, new_id
from agent.policy import Rights, parse_policy
from agent.retention import Disk, Retention
from agent.rights.snapshot import Snapshot
from tests.commands.office import Office, at, run
from tests.disk import as_root, read_only
from tests.failing import failing

ROOT = Path(__file__).parents[2]
SELECT_ALL = {"all": True}
DAY_S = 86_400


def opened(office: Office, path: Path, *, identity: age.Identity | None = None) -> bytes:
    return age.decrypt(path.read_bytes(), [identity or office.owner_identity])


def folder_of(office: Office, receipt: dict[str, Any]) -> Path:
    return office.bundle.folder / str(receipt["export"]["object"])


def manifest_of(office: Office, folder: Path, *, identity: age.Identity | None = None) -> dict[str, Any]:
    """Verify and return the manifest."""
    jws = opened(office, folder / "manifest.jws.age", identity=identity)
    part = envelope.parse(jws, typ="pv1.export", max_bytes=envelope.MAX_MANIFEST_BYTES)
    return envelope.verify(part, jwk=office.keystore.public_jwk(), alg=office.keystore.alg)


def zips_of(office: Office, folder: Path) -> list[zipfile.ZipFile]:
    parts = sorted(folder.glob("part-*.zip.age"))
    return [zipfile.ZipFile(io.BytesIO(opened(office, part))) for part in parts]


def ran(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=True)


async def usage_log(office: Office, text: bytes) -> Object:
    return await office.keep(text, category="usage-log", media_type="application/x-ndjson", name="app.jsonl")


def test_objects_are_opened_with_the_stock_tool(office: Office, tmp_path: Path) -> None:
    tool = shutil.which("age")
    if tool is None:
        assert "CI" not in os.environ, "Debian's age is missing"
        pytest.fail("install age: apt-get install age")

    async def scenario() -> None:
        content = os.urandom(200_001)
        kept, other = await office.keep(content), await office.keep(b"")
        receipt = await office.submit(office.client, "export", select=SELECT_ALL, form="objects")
        assert receipt["status"] == "done"
        assert {outcome["result"] for outcome in receipt["outcomes"]} == {"exported"}
        folder = folder_of(office, receipt)
        keys = tmp_path / "keys.txt"
        keys.write_text(office.owner_identity.to_text())
        for item, expected in ((kept, content), (other, b"")):
            file = folder / f"{item.id}.age"
            out = ran(tool, "-d", "-i", str(keys), str(file))
            assert out.stdout == expected
            assert file.read_bytes().endswith(office.vault.payload_path(item.id).read_bytes())
        for told in receipt["export"]["files"]:
            data = (folder / told["name"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (told["bytes"], told["sha256"])
        manifest = manifest_of(office, folder)
        assert {entry["id"] for entry in manifest["objects"]} == {kept.id, other.id}
        assert manifest["objects"][0]["name"] == "Haustür 10-15.mp4"
        assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700
        assert "exported" in office.audit_kinds()

    run(scenario())


def test_export_to_a_named_recipient_is_rewrapped_for_that_one_alone(office: Office) -> None:
    async def scenario() -> None:
        lawyer = age.generate_identity(post_quantum=True)
        await office.keep(b"clip")
        own = {"select": SELECT_ALL, "form": "objects", "to": [lawyer.recipient().to_text()]}
        receipt = await office.submit(office.client, "export", **own)
        assert receipt["export"]["recipients"] == own["to"]
        for file in folder_of(office, receipt).iterdir():
            opened(office, file, identity=lawyer)
            with pytest.raises(age.NoMatchError):
                opened(office, file)
        refused = await office.submit(office.backend, "export", **own)
        assert (refused["status"], refused["reason"]) == ("refused", "not_granted")

    run(scenario())


def test_recipients_that_share_no_file_are_refused(office: Office) -> None:
    async def scenario() -> None:
        texts = [age.generate_identity(post_quantum=pq).recipient().to_text() for pq in (True, False)]
        for to in (texts, ["age1" + "q" * 58]):
            receipt = await office.submit(office.client, "export", select=SELECT_ALL, form="objects", to=to)
            assert (receipt["status"], receipt["reason"]) == ("refused", "malformed")

    run(scenario())


def test_backend_gets_an_export_for_the_owner_and_no_file_names(office: Office) -> None:
    async def scenario() -> None:
        kept = await office.keep(b"clip")
        receipt = await office.submit(office.backend, "export", select=SELECT_ALL, form="objects")
        assert {tuple(sorted(file)) for file in receipt["export"]["files"]} == {("bytes", "sha256")}
        assert opened(office, folder_of(office, receipt) / f"{kept.id}.age") == b"clip"

    run(scenario())


@pytest.mark.parametrize("form", ["objects", "zip"])
@pytest.mark.parametrize("selects", ["all of an empty device", "what is gone", "what nobody else may read"])
def test_export_of_nothing_is_not_built(office: Office, form: str, selects: str) -> None:
    async def scenario() -> None:
        own: dict[str, Any] = {"select": SELECT_ALL, "form": form}
        if selects == "what is gone":
            own["select"] = {"ids": [new_id(), new_id()]}
        if selects == "what nobody else may read":
            await office.keep(b"secret", kind="header-key")
            own["to"] = [age.generate_identity(post_quantum=False).recipient().to_text()]
        receipt = await office.submit(office.client, "export", **own)
        assert receipt["status"] == ("failed" if selects == "what nobody else may read" else "done")
        assert "export" not in receipt
        assert list(office.bundle.folder.iterdir()) == []
        assert "exported" not in office.audit_kinds()
        assert office.index.read_now(office.bundle.exports) == frozenset()

    run(scenario())


def test_what_the_device_cannot_read_goes_only_to_whom_it_was_sealed(office: Office) -> None:
    async def scenario() -> None:
        secret = await office.keep(b"secret", kind="header-key")
        plain = await office.keep(b"plain")
        lawyer = age.generate_identity(post_quantum=False)
        own = {"select": SELECT_ALL, "form": "objects", "to": [lawyer.recipient().to_text()]}
        receipt = await office.submit(office.client, "export", **own)
        found = {outcome["id"]: outcome["result"] for outcome in receipt["outcomes"]}
        assert (receipt["status"], found) == ("partial", {secret.id: "not_readable_here", plain.id: "exported"})
        to_owner = await office.submit(office.client, "export", select=SELECT_ALL, form="objects")
        assert to_owner["status"] == "done"
        assert opened(office, folder_of(office, to_owner) / f"{secret.id}.age") == b"secret"
        as_zip = await office.submit(office.client, "export", select=SELECT_ALL, form="zip")
        found = {outcome["id"]: outcome["result"] for outcome in as_zip["outcomes"]}
        assert found == {secret.id: "not_readable_here", plain.id: "exported"}

    run(scenario())


def test_damaged_restricted_and_absent_objects_are_left_out_by_name(office: Office) -> None:
    async def scenario() -> None:
        good, bad, bound, gone = await office.keep(), await office.keep(b"x" * 100), await office.keep(), new_id()
        path = office.vault.payload_path(bad.id)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        office.rights[bound.id] = Rights(restricted=True)
        ids = sorted([good.id, bad.id, bound.id, gone])
        suspected: list[str] = []
        office.commands.have_looked_at(suspected.append)
        for form in ("objects", "zip"):
            receipt = await office.submit(office.backend, "export", select={"ids": ids}, form=form)
            found = {outcome["id"]: outcome["result"] for outcome in receipt["outcomes"]}
            assert found == {good.id: "exported", bad.id: "failed", bound.id: "restricted", gone: "already_gone"}
            assert receipt["status"] == "partial"
            assert receipt["selection"]["hash"] == Ids.of(ids).selection_hash()
            left_out = manifest_of(office, folder_of(office, receipt))["left_out"]
            assert {entry["id"] for entry in left_out} == {bad.id, bound.id, gone}
        assert office.audit_kinds().count("corrupt_object") == 2
        assert suspected == [bad.id, bad.id]

    run(scenario())


def test_zip_holds_the_originals_under_harmless_names(office: Office) -> None:
    async def scenario() -> None:
        video = os.urandom(300_000)
        kept = [
            await office.keep(video, name="../../etc/passwd"),
            await office.keep(b"\xff\xd8", category="photo", media_type="image/jpeg", name="con.jpg"),
            await office.keep(b"", name="=cmd|' /C calc'!A0"),
            await office.keep(b"?", media_type="application/weird", captured_from_ms=0),
        ]
        log = await usage_log(office, b'{"a":1}\n')
        receipt = await office.submit(office.client, "export", select=SELECT_ALL, form="zip")
        assert receipt["status"] == "done"
        (archive,) = zips_of(office, folder_of(office, receipt))
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(set(names)) == len(names) == len(kept) + 3
        for name in names:
            assert re.fullmatch(r"([a-z-]+/[a-z0-9][A-Za-z0-9_.-]*\.[a-z0-9]+|manifest\.json)", name), name
            assert ".." not in name
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {entry.flag_bits for entry in archive.infolist()} == {0}
        by_id = {item.id: archive.read(next(name for name in names if item.id in name)) for item in kept}
        assert [by_id[item.id] for item in kept] == [video, b"\xff\xd8", b"", b"?"]
        assert sum(log.id in name for name in names) == 2
        manifest = envelope.decode_strictly(archive.read("manifest.json"), max_bytes=1 << 20)
        assert {entry["id"] for entry in manifest["objects"]} == {*by_id, log.id}

    run(scenario())


def test_zip_is_extracted_by_a_stock_tool(office: Office, tmp_path: Path) -> None:
    async def scenario() -> None:
        content = os.urandom(70_000)
        await office.keep(content)
        receipt = await office.submit(office.client, "export", select=SELECT_ALL, form="zip")
        path = tmp_path / "part.zip"
        path.write_bytes(opened(office, folder_of(office, receipt) / "part-001.zip.age"))
        tools = [[sys.executable, "-m", "zipfile", "-e", str(path)]]
        unzip = shutil.which("unzip")
        if unzip is not None:
            tools.append([unzip, "-q", str(path), "-d"])
        for number, tool in enumerate(tools):
            target = tmp_path / f"out{number}"
            done = ran(*tool, str(target))
            assert done.stderr == b""
            (file,) = target.rglob("*.mp4")
            assert file.read_bytes() == content

    run(scenario())


def test_zip_is_cut_into_parts_and_a_large_object_gets_its_own(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PART_BYTES", 100_000)

    async def scenario() -> None:
        kept = [await office.keep(os.urandom(size)) for size in (40_000, 40_000, 40_000, 300_000, 40_000)]
        receipt = await office.submit(office.client, "export", select=SELECT_ALL, form="zip")
        folder = folder_of(office, receipt)
        archives = zips_of(office, folder)
        assert len(archives) > 2
        held = [[name for name in archive.namelist() if name != "manifest.json"] for archive in archives]
        assert all(held)
        assert sorted(item.id for item in kept) == sorted(name.split("_")[-1][:26] for part in held for name in part)
        for archive, part in zip(archives, held, strict=True):
            assert archive.testzip() is None
            assert len(part) == 1 or sum(entry.file_size for entry in archive.infolist()) < 100_000
        parts = {entry["part"] for entry in manifest_of(office, folder)["objects"]}
        assert parts == {path.name for path in folder.glob("part-*")}

    run(scenario())


def test_logs_come_as_lines_and_as_a_table_that_computes_nothing(office: Office) -> None:
    async def scenario() -> None:
        hostile = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'a"b', "c,d", "line\nbreak"]
        lines = [{"t": number, "v": value} for number, value in enumerate(hostile)]
        text = b"".join(envelope.encode(line) + b"\n" for line in lines)
        text += b'{"=evil":true,"nested":{"a":[1]},"n":-5}\nnot json \xff\n\n'
        log = await usage_log(office, text)
        receipt = await office.submit(office.client, "export", select={"ids": [log.id]}, form="zip")
        (archive,) = zips_of(office, folder_of(office, receipt))
        jsonl, table = (next(name for name in archive.namelist() if name.endswith(end)) for end in ("jsonl", "csv"))
        assert archive.read(jsonl) == text
        found = list(csv.reader(io.StringIO(archive.read(table).decode(), newline="")))
        assert found[0] == ["t", "v", "_=evil", "nested", "n", "line"]
        assert [row[1] for row in found[1:10]] == [
            "_=1+1", "_+1", "_-1", "_@SUM(A1)", "_\t_=1", "_\r_=1", 'a"b', "c,d", "line\nbreak",
        ]  # fmt: skip
        assert found[10][2:5] == ["true", '{"a":[1]}', "-5"]
        assert found[11][5] == "not json \ufffd"

    run(scenario())


def test_table_stays_bounded_whatever_the_camera_writes() -> None:
    wide = envelope.encode({f"k{number}": number for number in range(1000)}) + b"\n"
    names = columns(iter([wide]))
    assert len(names) == COLUMNS_MAX + 1
    assert sum(len(row) for row in rows(iter([wide]), names)) < 30_000
    endless = (b"x" * 65_536 for _number in range(64))
    assert max(len(row) for row in rows(endless, ("line",))) <= LINE_BYTES + 2


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Küche", "kuche"),
        ("../../x", "x"),
        ("a\u202egpj.exe", "agpj-exe"),
        ("前門", ""),
        ("-rf", "rf"),
        ("x" * 100, "x" * 32),
        ("A/B\\C:D\0E", "a-b-c-d-e"),
    ],
)
def test_camera_label_becomes_a_harmless_slug(label: str, expected: str) -> None:
    assert slug(label) == expected


def test_label_without_any_letter_falls_back_to_the_camera_id(office: Office) -> None:
    item = run(office.keep())
    assert file_name(item, label="前門") == f"recordings/cam1_2023-11-14T221320Z_{item.id}.mp4"
    assert cell("plain") == "plain"


def test_cell_that_hides_its_formula_behind_what_is_not_seen_is_no_formula() -> None:
    assert cell("") == ""
    assert cell(" \t 1 - 2") == " \t 1 - 2"
    for sign in "=+-@\uff1d\uff0b\uff0d\uff20\u2212":
        for hidden in (" ", "\u00a0", "\ufeff", "\u200b", "\x00", "\ufe0f", "\u3164", '"', "'", "\\", " '"):
            assert cell(f"{hidden}{sign}1") == f"_{hidden}{sign}1"
        for parting, marked in {"\t": "_\t_", "\n": "\n_", "\r\n": "_\r\n_", " \n\t": " \n_\t_", "a; ": "a;_ "}.items():
            assert cell(f"{parting}{sign}1") == f"{marked}{sign}1"


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


QUOTING: dict[str, dict[str, Any]] = {
    "quotes": {},
    "apostrophes": {"quotechar": "'"},
    "none": {"quoting": csv.QUOTE_NONE},
    "escapes": {"quoting": csv.QUOTE_NONE, "escapechar": "\\"},
}


@pytest.mark.parametrize("quoting", QUOTING)
@pytest.mark.parametrize("newline", ["", None])
@pytest.mark.parametrize("parted_by", [",", ";", "\t"])
def test_cell_is_no_formula_whatever_its_reader_takes_for_the_end_of_one(
    parted_by: str, newline: str | None, quoting: str
) -> None:
    """A spreadsheet set to semicolons saw ``=cmd|…`` begin a cell behind one, and a row behind a line's end."""
    random = Random(f"{parted_by}{newline}{quoting}")  # noqa: S311 - the same cells each time
    signs = ["=", "+", "-", "@", ",", ";", "\t", "\r", "\n", '"', "'", " ", "a", "1", "\\", "\ufeff"]

    def text() -> str:
        return "".join(random.choices(signs, k=random.randrange(7)))

    for _ in range(50):
        values = [text(), text(), -random.random(), float("-inf"), [text(), -1], {text(): text()}, None]
        records = [{random.choice("abc") + text(): random.choice(values) for _ in range(3)} for _ in range(3)]
        records += [{"n": -5, "app": "x;=cmd|'/C calc'!A0"}, {"n": -5, "app": "a\n=1+1"}, {"n": float("nan")}]
        log = "".join(json.dumps(record) + "\n" for record in records).encode() + text().encode()
        table = b"".join(rows([log], columns([log]))).decode()
        read = csv.reader(io.StringIO(table, newline=newline), delimiter=parted_by, **QUOTING[quoting])
        for row in read:
            for found in (one.removeprefix("\r\n") for one in row):  # a row's own end, where a quote was left open
                assert not found.startswith(("=", "+", "@", "\t")), table
                assert not found.startswith("-") or is_number(found), table
                assert not found.rstrip("\r\n").startswith("\r"), table


def test_finite_numbers_of_a_table_stay_numbers_and_others_are_text_as_is_a_negative_one_that_begins_a_row() -> None:
    log = b'{"a":-1,"b":-2.5,"c":1e5,"d":-Infinity,"e":NaN,"f":-0}\n'
    assert b"".join(rows([log], columns([log]))) == b"a,b,c,d,e,f\r\n_-1,-2.5,100000.0,_-Infinity,NaN,0\r\n"
    log = b'{"a":-1}\n'
    assert b"".join(rows([log], columns([log]))) == b"a\r\n-1\r\n"


def test_clear_bytes_never_reach_the_disk_and_memory_stays_bounded(office: Office) -> None:
    async def scenario() -> None:
        marker = b"CLEAR-PERSONAL-DATA-" * 52_000  # 1 MB
        ids = [(await office.keep(marker * 16)).id for _number in range(2)]
        tracemalloc.start()
        receipt = await office.submit(office.client, "export", select={"ids": ids}, form="zip")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert receipt["status"] == "done"
        assert peak < 8 * 1024 * 1024
        for path in office.folder.rglob("*"):
            if path.is_file():
                assert b"CLEAR-PERSONAL-DATA-" not in path.read_bytes(), path

    run(scenario())


def expire(office: Office, rule: str = "") -> tuple[str, ...]:
    """Let the exports go that a policy with this table for them wants gone."""
    document = f"""\
version = 1
[recipients]
owner = ["{office.owner_recipient}"]
{rule}
""".encode()
    policy = parse_policy(document, file="policy.toml")
    retention = Retention(
        index=office.index,
        vault=office.vault,
        erasure=office.erasure,
        snapshot=Snapshot(),
        policy=policy,
        document=document,
    )
    ends = partial(retention.ends_export, moment=office.moment, disk=Disk())
    return office.bundle.expire(ends, moment=office.moment)


RULE = '[category.export]\npurpose = "access"\nseal_to = ["owner"]\nkeep = {{ {keep} }}'


@pytest.mark.parametrize(
    ("keep", "goes"),
    [('age = "2d"', 2), ('age = "10d"', 0), ('age = "10d", count = 1', 2), ('age = "10d", size = "1B"', 3), ("", 0)],
)
def test_exports_end_by_the_rule_of_their_category_and_the_log_says_so(office: Office, keep: str, goes: int) -> None:
    # Whatever the policy said, an export lay there for seven days, and its end stood nowhere.
    async def scenario() -> None:
        await office.keep()
        made = []
        for day in range(3):
            office.moment = at(day * DAY_S)
            exp = office.moment.agent_ms // 1000 + 9
            told = await office.submit(office.client, "export", select=SELECT_ALL, form="objects", exp=exp)
            made.append(told["export"]["object"])
        office.moment = at(3 * DAY_S)
        assert expire(office, RULE.format(keep=keep)) == tuple(made[:goes])
        _cursor, lines = office.index.read_now(lambda tx: audit.entries(tx, 0))
        ends = [json.loads(line) for line in lines if b'"kind":"erased"' in line]
        assert [one["object"] for one in ends] == made[:goes]
        assert all(one["rule"].startswith("category.export.keep.") for one in ends)

    run(scenario())


def test_export_whose_removal_a_cut_parted_from_its_row_is_written_down_at_start(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        told = await office.submit(office.client, "export", select=SELECT_ALL, form="objects")
        shutil.rmtree(office.bundle.folder / told["export"]["object"])
        office.bundle.recover(office.moment)
        assert office.index.read_now(office.bundle.exports) == frozenset()
        _cursor, lines = office.index.read_now(lambda tx: audit.entries(tx, 0))
        assert [json.loads(line)["object"] for line in lines if b'"kind":"erased"' in line] == [
            told["export"]["object"]
        ]

    run(scenario())


def test_export_expires_and_is_removed_by_an_erase_all(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        first = await office.submit(office.client, "export", select=SELECT_ALL, form="objects")
        office.moment = at(DAY_S / 2)
        second = await office.submit(office.client, "export", select=SELECT_ALL, form="objects")
        office.moment = at(7 * DAY_S)
        assert expire(office) == (first["export"]["object"],)
        assert [path.name for path in office.bundle.folder.iterdir()] == [second["export"]["object"]]
        receipt = await office.submit(
            office.client, "delete", select=SELECT_ALL, exp=office.moment.agent_ms // 1000 + 9
        )
        assert receipt["status"] == "done"
        assert {outcome["id"] for outcome in receipt["outcomes"]} >= {second["export"]["object"]}
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_export_under_way_when_everything_is_deleted_goes_too(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        raws = [
            office.command(office.client, "export", select=SELECT_ALL, form="objects"),
            office.command(office.client, "delete", select=SELECT_ALL),
        ]
        for raw in raws:
            assert await office.receive(office.client, raw)
        await asyncio.gather(*(office.commands.submit(raw, moment=office.moment) for raw in raws))
        assert [told["status"] for told in office.waiting(office.client)] == ["done", "done"]
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_backend_cannot_remove_an_export_and_is_not_told_that_it_is_gone(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        made = await office.submit(office.backend, "export", select=SELECT_ALL, form="objects")
        name = made["export"]["object"]
        receipt = await office.submit(office.backend, "delete", select={"ids": [name]})
        assert (receipt["status"], receipt["outcomes"]) == ("failed", [{"id": name, "result": "failed"}])
        assert (office.bundle.folder / name).exists()
        assert (await office.submit(office.client, "delete", select={"ids": [name]}))["status"] == "done"
        assert not (office.bundle.folder / name).exists()

    run(scenario())


def test_person_at_the_machine_exports_to_the_owner_alone(office: Office) -> None:
    async def scenario() -> None:
        kept = await office.keep(b"clip")
        bound = await office.keep()
        office.rights[bound.id] = Rights(restricted=True)
        select = Selection(all=True)
        export = await office.commands.export_here(new_id(), select, form="objects", moment=office.moment)
        assert {outcome.id: outcome.result for outcome in export.outcomes} == {
            kept.id: "exported",
            bound.id: "restricted",
        }
        assert opened(office, export.folder / f"{kept.id}.age") == b"clip"

    run(scenario())


@pytest.mark.parametrize(
    ("free", "total", "status"),
    [(10**6, 4 * 10**6, "done"), (150_000, 4 * 10**6, "failed"), (10**6, 700_000, "failed")],
    ids=["room", "nearly full", "more than a quarter of a small disk"],
)
def test_export_takes_no_room_that_recordings_need(office: Office, free: int, total: int, status: str) -> None:
    # A backend's exports could fill the disk, and the floor then deleted recordings to make room for copies of them.
    async def scenario() -> None:
        for _number in range(3):
            await office.keep(os.urandom(60_000))
        office.room = (free, total)
        receipt = await office.submit(office.backend, "export", select=SELECT_ALL, form="objects")
        assert receipt["status"] == status
        assert len(list(office.bundle.folder.iterdir())) == (status == "done")
        if status == "failed":
            assert receipt["reason"] == "disk_full"
            with pytest.raises(SpaceError, match="no room for this export"):
                await office.commands.export_here(new_id(), Selection(all=True), form="zip", moment=office.moment)

    run(scenario())


def test_export_on_a_full_disk_is_told_what_is_full_and_what_helps(office: Office) -> None:
    # It named a ``disk_free`` that the policy does not have, and older exports where there were none.
    async def scenario() -> None:
        await office.keep(os.urandom(60_000))
        office.room = (50_000, 10**9)
        for rule, hint in (("the disk is full", "export less"), ("the disk is full", "delete older exports")):
            with pytest.raises(SpaceError) as told:
                await office.commands.export_here(new_id(), Selection(all=True), form="objects", moment=office.moment)
            assert told.value.message == f"there is no room for this export ({rule})"
            assert told.value.hint.startswith(hint)
            office.room = (10**9, 10**9)
            await office.commands.export_here(new_id(), Selection(all=True), form="objects", moment=office.moment)
            office.room = (50_000, 10**9)

    run(scenario())


def test_exports_share_their_quarter_and_one_that_is_built_again_counts_once(office: Office) -> None:
    async def scenario() -> None:
        for _number in range(3):
            await office.keep(os.urandom(60_000))
        office.room = (10**9, 4 * 300_000)
        again = new_id()
        for _time in range(3):
            export = await office.commands.export_here(again, Selection(all=True), form="objects", moment=office.moment)
            assert export.files
        with pytest.raises(SpaceError):
            await office.commands.export_here(new_id(), Selection(all=True), form="objects", moment=office.moment)

    run(scenario())


@pytest.mark.parametrize("form", ["objects", "zip"])
def test_export_with_too_long_a_manifest_is_answered_and_ends_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    # 10,000 objects with long names: an assertion ended the process, and the accepted command did so at each start.
    async def scenario() -> None:
        for _number in range(5):
            await office.keep(name="x" * 500)
        monkeypatch.setattr(work, "_DESCRIBED_MAX_BYTES", 4 * 1000)
        receipt = await office.submit(office.client, "export", select=SELECT_ALL, form=form)
        assert (receipt["status"], receipt["reason"], receipt["retry"]) == ("failed", "too_large", "after_fix")
        assert list(office.bundle.folder.iterdir()) == []
        with pytest.raises(RefusedError, match="too large for its manifest"):
            await office.commands.export_here(new_id(), Selection(all=True), form="zip", moment=office.moment)

    run(scenario())


def test_manifest_at_its_limit_is_still_signed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "MAX_MANIFEST_BYTES", 40_000)
    monkeypatch.setattr(work, "_DESCRIBED_MAX_BYTES", 40_000 // 4 * 3 - 4_000)

    async def scenario() -> None:
        statuses = []
        for _number in range(30):
            await office.keep(name="ü" * 250)
            receipt = await office.submit(office.client, "export", select=SELECT_ALL, form="objects")
            statuses.append((receipt["status"], receipt.get("reason", "")))
        assert set(statuses) == {("done", ""), ("failed", "too_large")}

    run(scenario())


def test_export_that_cannot_be_written_down_is_not_there(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its row was committed before its entry in the log: a full disk between them left an export that no log knew.
    real = audit.append

    def append(tx: Tx, event: audit.Event, *, moment: Moment) -> None:
        if event.kind == "exported":
            raise SpaceError("full")
        real(tx, event, moment=moment)

    async def scenario() -> None:
        await office.keep()
        monkeypatch.setattr(audit, "append", append)
        with pytest.raises(SpaceError):
            await office.commands.export_here(new_id(), Selection(all=True), form="zip", moment=office.moment)
        assert office.index.read_now(office.bundle.exports) == frozenset()
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


@pytest.mark.parametrize("form", ["objects", "zip"])
def test_full_disk_ends_an_export_with_the_reason_and_leaves_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    class Full:
        """``os`` as it is on a disk where the 100,000th byte does not fit."""

        written = 0

        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def write(self, fd: int, data: memoryview) -> int:
            self.written += len(data)
            if self.written > 100_000:
                raise OSError(errno.ENOSPC, "full")
            return os.write(fd, data)

    async def scenario() -> None:
        for _number in range(3):
            await office.keep(os.urandom(60_000))
        monkeypatch.setattr(work, "os", Full())
        receipt = await office.submit(office.client, "export", select=SELECT_ALL, form=form)
        assert (receipt["status"], receipt["reason"], receipt["retry"]) == ("failed", "disk_full", "later")
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


@pytest.mark.parametrize("form", ["objects", "zip"])
def test_payload_that_the_medium_does_not_give_is_left_out_and_the_others_are_exported(
    office: Office, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    async def scenario() -> None:
        good, bad, last = [await office.keep(os.urandom(100_000)) for _number in range(3)]
        path = office.vault.payload_path(bad.id)
        path.unlink()
        path.symlink_to("/proc/self/mem")  # opens, and its first page is nobody's: the kernel says EIO
        with path.open("rb") as file, pytest.raises(OSError, match="Input/output error"):
            file.read(1)
        receipt = await office.submit(office.client, "export", select=SELECT_ALL, form=form)
        assert receipt["status"] == "partial"
        found = {outcome["id"]: outcome["result"] for outcome in receipt["outcomes"]}
        assert found == {good.id: "exported", bad.id: "failed", last.id: "exported"}
        folder = folder_of(office, receipt)
        manifest = manifest_of(office, folder)
        assert manifest["left_out"] == [{"id": bad.id, "result": "failed"}]
        assert not any(bad.id in path.name for path in folder.iterdir())
        for archive in zips_of(office, folder):
            assert archive.testzip() is None
            assert not any(bad.id in name for name in archive.namelist())
        assert office.audit_kinds().count("corrupt_object") == 1

    run(scenario())
    assert all("mem" not in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("on", "fault"),
    [
        ("{export}.part/manifest.jws.age", "write=EIO"),
        ("{export}.part/manifest.jws.age", "fsync=EIO"),
        ("{export}.part/manifest.jws.age", "openat=EIO"),
        ("{export}.part", "fsync=EIO"),
    ],
)
def test_export_that_the_medium_does_not_take_is_told_and_leaves_nothing(office: Office, on: str, fault: str) -> None:
    run(office.keep(b"clip"))
    office.close()
    export = new_id()
    words = [sys.executable, "-m", "tests.commands.exporting", str(office.folder), office.owner_recipient, export]
    medium = failing(office.bundle.folder / on.format(export=export), fault)
    ran = subprocess.run([*medium, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.stdout == "LinkError: the export cannot be written: Input/output error\n", ran.stderr
    assert list(office.bundle.folder.iterdir()) == []
    office.restart()
    assert office.index.read_now(office.bundle.exports) == frozenset()


@as_root
def test_export_where_the_vault_became_read_only_is_weather_and_tried_again(tmp_path: Path) -> None:
    office = Office(tmp_path / "state")
    everything = Selection(all=True)

    async def scenario() -> None:
        await office.keep()
        with read_only(office.bundle.folder), pytest.raises(LinkError, match="cannot be written: Read-only"):
            await office.commands.export_here(new_id(), everything, form="zip", moment=office.moment)
        await office.commands.export_here(new_id(), everything, form="zip", moment=office.moment)

    run(scenario())
    office.close()
