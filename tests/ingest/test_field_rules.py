"""Usage logs under field rules: what is sealed is what they leave, and the log is known by what its source holds."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import tally
from agent.age import generate_identity
from agent.errors import LinkError
from agent.keystore import SLOT_BYTES, SLOT_OFFSETS
from agent.keytree import new_group
from agent.model import Moment, new_id
from agent.policy import Policy, parse_policy
from agent.policy.fields.rule import Fields, Keep, KeyedFields, Pseudonym, encode_rules
from agent.policy.fields.tally import Tally
from agent.sealer import Sealed, Sealer, SealJob, SourceChangedError
from agent.sealer import worker as sealing
from tests.ingest.test_ingest import erase
from tests.writing import policy_text

Home = Any  # the fixture's class; tests are no package

DAY_MS = 86_400_000
RULES = """\
fields.event = "keep"
fields.serial.pseudonym = "7d"
fields.ip.truncate = "/24"
fields.gps_lat.round = 0.1
fields.mac = "drop"
"""
NAMES = ("front/usage-log/2026-11-22T10-00-00.000Z.jsonl", "front/usage-log/2026-11-22T11-00-00.000Z.jsonl")
SECRETS = (b"SN-4711-0815", b"192.0.2.77", b"52.5163", b"02:00:5e:10:00:01", b"hunter2hunter2")


def line(event: str) -> bytes:
    told = {
        "event": event,
        "serial": "SN-4711-0815",
        "ip": "192.0.2.77",
        "gps_lat": 52.5163,
        "mac": "02:00:5e:10:00:01",
        "wifi_password": "hunter2hunter2",
    }
    return json.dumps(told).encode() + b"\n"


def under(home: Home, rules: str) -> Policy:
    text = policy_text(home.owner.recipient().to_text(), usage_log=rules)
    return parse_policy(text.encode(), file="policy.toml")


def told(home: Home) -> list[dict[str, Any]]:
    """The lines in the vault, in the order of objects' arrival."""
    found = home.index.read_now(lambda tx: tx.execute("SELECT id FROM object ORDER BY n"))
    held = {item.id: item for item in home.objects()}
    whole = b"".join(home.opened(held[one]) for (one,) in found)
    assert not [secret for secret in SECRETS if secret in whole]
    return [json.loads(raw) for raw in whole.splitlines()]


def fields(home: Home, object_id: str) -> Tally:
    view = home.index.read_now(lambda tx: tally.view(tx, object_id))
    return msgspec.convert(view["fields"], Tally)


def test_several_files_that_are_ours_are_sealed_by_the_rules_and_given_up(home: Home) -> None:
    home.put(NAMES[0], line("motion") + b"no json\n" + line("album"))
    home.put(NAMES[1], line("wifi").rstrip(b"\n"))  # its last line has no end
    home.policy = under(home, RULES)
    home.scan()
    lines = told(home)
    assert [one["event"] for one in lines] == ["motion", "album", "wifi"]
    assert {(one["ip"], one["gps_lat"]) for one in lines} == {("192.0.2.0", 52.5)}
    assert len({one["serial"] for one in lines}) == 1
    assert fields(home, home.only().id) == Tally(lines=3, bad_lines=1, unknown=3, dropped=3, changed=9)
    assert home.index.read_now(tally.sums) == {"spool": fields(home, home.only().id)}
    assert home.left() == []
    assert sorted(home.reasons("left_out")) == ["fields that no rule names", "lines that are no JSON objects"]
    assert home.reasons("bad_lines") == []


def test_growing_log_is_sealed_by_the_rules_and_each_line_is_counted_once(home: Home) -> None:
    home.policy = under(home, RULES)
    log = home.put(NAMES[0], line("one") + b'{"event":"ha')
    growing = home.settings(after="leave")
    home.scan(growing)
    with log.open("ab") as file:
        file.write(b'lf"}\n' + line("two"))
    home.reopen()
    home.scan(growing)
    home.reopen()
    home.scan(growing)
    assert [one["event"] for one in told(home)] == ["one", "half", "two"]
    assert home.index.read_now(tally.sums)["spool"].lines == 3
    assert log.exists()


@pytest.mark.parametrize("after", ["take", "leave"])
def test_deleted_log_does_not_return_under_the_same_or_under_other_rules(home: Home, after: str) -> None:
    home.policy = under(home, RULES)
    content = line("motion")
    home.put(NAMES[0], content)
    source = home.settings(after=after)
    home.scan(source)
    erase(home, home.only().id)
    for rules in (RULES, "", 'fields.event = "drop"'):
        home.reopen()
        home.policy = under(home, rules)
        path = home.put(NAMES[0], content)
        os.utime(path, ns=(0, 0))  # another identity: the content alone tells
        home.scan(source)
        assert home.objects() == ()
    # What it held is gone, and nothing is counted of it any more.
    assert home.index.read_now(lambda tx: tx.execute("SELECT count(*) FROM tally")) == [(0,)]
    assert home.index.read_now(tally.sums)["spool"].lines == 1


def test_log_is_known_again_under_other_rules(home: Home) -> None:
    home.policy = under(home, RULES)
    log = home.put(NAMES[0], line("motion"))
    home.scan(home.settings(after="leave"))
    home.policy = under(home, 'fields.event = "keep"')
    home.reopen()
    home.scan(home.settings(after="leave"))
    assert len(told(home)) == 1
    assert log.exists()


def test_log_of_which_the_rules_leave_nothing_is_taken_and_said_to_be_empty(home: Home) -> None:
    home.policy = under(home, "[category.usage-log.fields]")
    home.put(NAMES[0], line("motion") * 3)
    home.scan()
    assert home.opened(home.only()) == b""
    assert home.only().plain_bytes == 0
    assert fields(home, home.only().id) == Tally(bare_lines=3, unknown=18)
    assert home.left() == []


def test_log_without_rules_is_kept_byte_for_byte(home: Home) -> None:
    content = b'{ "event" : "motion" }\nno json\n'
    home.put(NAMES[0], content)
    home.scan()
    item = home.only()
    assert home.opened(item) == content
    assert home.index.read_now(lambda tx: tally.view(tx, item.id)) == {}


# -- pseudonyms' keys


def raw_slots(home: Home) -> list[bytes]:
    raw = (home.state / "keystore").read_bytes()
    return [raw[offset : offset + SLOT_BYTES] for offset in SLOT_OFFSETS]


def at(home: Home, days: int) -> None:
    moment = home.now.agent_ms + days * DAY_MS
    home.now = Moment(agent_ms=moment, wall_ms=moment, trusted=True)


@pytest.mark.promise("DEIDENTIFY")
def test_pseudonym_changes_with_its_key_which_is_destroyed_at_rotation(home: Home) -> None:
    home.policy = under(home, RULES)
    for number, days in enumerate((0, 6, 1)):
        at(home, days)
        home.put(NAMES[0].replace("T10", f"T1{number}"), line(f"day {number}"))
        home.scan()
        if not number:
            (first,) = home.keystore.pseudonym_keys()
    serials = [one["serial"] for one in told(home)]
    assert serials[0] == serials[1] != serials[2]
    (second,) = home.keystore.pseudonym_keys()
    assert second.key != first.key
    assert all(first.key not in slot and second.key in slot for slot in raw_slots(home))


def test_key_is_destroyed_at_its_time_without_a_log_and_with_the_last_rule_that_needs_it(home: Home) -> None:
    async def rotate() -> None:
        flow = home.ingest()
        await flow._pseudonyms.rotate()
        flow.close()

    home.policy = under(home, RULES)
    home.put(NAMES[0], line("motion"))
    home.scan()
    asyncio.run(rotate())
    (key,) = home.keystore.pseudonym_keys()
    at(home, 7)
    asyncio.run(rotate())
    assert home.keystore.pseudonym_keys() == ()
    assert all(key.key not in slot for slot in raw_slots(home))
    home.put(NAMES[1], line("motion"))
    home.scan()
    assert len(home.keystore.pseudonym_keys()) == 1
    home.policy = under(home, 'fields.event = "keep"')
    asyncio.run(rotate())
    assert home.keystore.pseudonym_keys() == ()


# -- the sealing process


def job(fields: Fields) -> SealJob:
    return SealJob(
        object_id=new_id(),
        recipients=(generate_identity(post_quantum=False).recipient().to_text(),),
        group=new_group(),
        kind="file-key",
        tag_key=b"t" * 32,
        cleaning=encode_rules(KeyedFields(fields, {DAY_MS: bytes(32)})),
    )


def part(tmp_path: Path) -> int:
    return os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)


@pytest.mark.parametrize("times", [0, 1, 20_000])  # read at once, and piece by piece
def test_log_has_the_same_tag_with_and_without_rules(tmp_path: Path, times: int) -> None:
    asked = job(Fields({"event": Keep()}))
    tags = []
    for cleaning in (b"", asked.cleaning):
        fd = os.memfd_create("source")
        with open(fd, "wb", closefd=False) as file:
            file.write(line("motion") * times)
        told = msgspec.structs.replace(asked, cleaning=cleaning)
        tags.append(sealing.seal(told, source_fd=fd, part_fd=part(tmp_path)).content_tag)
        os.close(fd)
    assert tags[0] == tags[1]


def test_source_that_grows_while_its_lines_are_cleaned_is_no_source(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"a":1}\n' * 10)
    source_fd = os.open(path, os.O_RDONLY)
    grown = False

    class Growing(sealing._Source):
        def readinto(self, buffer: memoryview, /) -> int:
            nonlocal grown
            if not grown:
                grown = True
                with path.open("ab") as file:
                    file.write(b'{"a":2}\n')
            return super().readinto(buffer)

    real = sealing._Source
    sealing._Source = Growing  # type: ignore[misc]  # it is one
    try:
        with pytest.raises(SourceChangedError):
            sealing.seal(job(Fields({"a": Keep()})), source_fd=source_fd, part_fd=part(tmp_path))
    finally:
        sealing._Source = real  # type: ignore[misc]  # the same


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next(int(row.split()[1]) * 1024 for row in status.splitlines() if row.startswith("VmHWM"))


async def sealed_through(sealer: Sealer, raw: bytes, times: int, tmp_path: Path) -> tuple[Sealed, int]:
    """Seal that many times a part of a log, which comes through a pipe; return also the process's peak."""
    reading, writing = os.pipe()

    def fill() -> None:
        with open(writing, "wb") as file:  # noqa: PTH123 - a descriptor has no path
            for _ in range(times):
                file.write(raw)

    fields = Fields({"event": Keep(), "serial": Pseudonym(DAY_MS)})
    filling = asyncio.to_thread(fill)
    sealing = sealer.seal(job(fields), source_fd=reading, part_fd=part(tmp_path))
    sealed, _ = await asyncio.gather(sealing, filling)
    os.close(reading)
    assert sealer.pid is not None
    return sealed, peak_bytes(sealer.pid)


@pytest.mark.usefixtures("unmeasured")
def test_long_log_needs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    raw = line("motion") * 4_000

    async def both() -> tuple[tuple[Sealed, int], tuple[Sealed, int]]:
        sealer = Sealer(idle_s=60)
        try:
            return await sealed_through(sealer, raw, 4, tmp_path), await sealed_through(sealer, raw, 64, tmp_path)
        finally:
            await sealer.aclose()

    (short, at_first), (long, at_last) = asyncio.run(both())
    assert Tally.of(long.tally).lines == 16 * Tally.of(short.tally).lines == 256_000
    assert at_last - at_first < 2 << 20


def test_rules_without_their_key_seal_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def tried() -> None:
        sealer = Sealer()
        asked = msgspec.structs.replace(
            job(Fields({})), cleaning=encode_rules(KeyedFields(Fields({"serial": Pseudonym(DAY_MS)}), {}))
        )
        fd = os.memfd_create("source")
        os.write(fd, line("motion"))
        try:
            with pytest.raises(LinkError):
                await sealer.seal(asked, source_fd=fd, part_fd=part(tmp_path))
        finally:
            await sealer.aclose()

    asyncio.run(tried())
    assert (tmp_path / "part").stat().st_size == 0
    assert "SN-4711" not in caplog.text
