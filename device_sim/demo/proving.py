"""Steps 13 and 14: the log cannot be edited unnoticed, and every receipt is judged once more, offline."""

import json
from pathlib import Path
from typing import Final

from device_sim.demo.found import Found, Told
from device_sim.demo.screen import Live
from device_sim.demo.stage import DEVICE, Stage

_FLIPPED_BIT: Final = 1


def audit(stage: Stage, found: Found, *, live: Live) -> Told:
    """Step 13: one bit of one entry is flipped, and the judge names the entry."""
    live("the audit log, and the same with one bit flipped")
    log = stage.folder / "audit.jsonl"
    log.write_text(stage.agent("audit", "show").out, encoding="utf-8")
    good = stage.owner("verify", log, "--json").json()[0]
    lines = log.read_bytes().splitlines(keepends=True)
    entries = sum(
        "seq" in json.loads(line) for line in lines
    )  # the others are the device's signatures of the entry above
    number, seq = _line_of(lines, found.objects["deleted"])
    line = bytearray(lines[number])
    place = bytes(line).index(found.objects["deleted"].encode()) + 3
    line[place] ^= _FLIPPED_BIT
    forged = stage.folder / "audit-flipped.jsonl"
    forged.write_bytes(b"".join([*lines[:number], bytes(line), *lines[number + 1 :]]))
    bad = stage.owner("verify", forged, "--json", may_fail=True)
    told = json.loads(bad.out)[0]
    found.flipped_line, found.flipped_at = seq, place
    found.flipped_before, found.flipped_after = lines[number].decode().strip(), line.decode("latin-1").strip()
    found.flip_named, found.log_said = str(told["says"]), str(good["says"])
    return Told(
        seen=f"{entries} entries: {good['says']}; with one bit of entry {seq} flipped: {told['says']}",
        proves="nobody rewrites what happened: an edit, a gap or a cut end is found and named",
        figure=f"entry {seq} of {entries} named",
        claims={
            "the true log holds, anchored by a receipt": bool(good["holds"])
            and str(good["says"]).endswith(", anchored"),
            "the flipped log does not hold": bad.code != 0 and not told["holds"],
            "the verdict names the entry": f"entry {seq} " in f"{told['says']} ",
        },
    )


def receipts(stage: Stage, found: Found, *, live: Live) -> Told:
    """Step 14: every receipt that the owner holds, judged again; and one of them forged."""
    live("every receipt, offline")
    files = sorted(
        (stage.home / "devices" / DEVICE / "receipts").glob("*.jws"), key=lambda path: path.stat().st_mtime_ns
    )
    judged = stage.owner("verify", *files, "--json").json()
    found.receipts = [(Path(one["file"]).name, str(one["says"])) for one in judged]
    forged = stage.folder / "forged-receipt.jws"
    raw = bytearray(files[-1].read_bytes())
    middle = raw.index(b".") + 40
    raw[middle] = ord("A") if raw[middle] != ord("A") else ord("B")
    forged.write_bytes(raw)
    control = stage.owner("verify", forged, "--json", may_fail=True)
    return Told(
        seen=f"{len(judged)} of {len(judged)} receipts hold; one with a changed letter is refused",
        proves="the owner can show, without the device and without us, what it confirmed",
        figure=f"{sum(bool(one['holds']) for one in judged)} of {len(judged)} hold",
        claims={
            "there are receipts": bool(judged),
            "every receipt holds": all(one["holds"] for one in judged),
            "a forged one does not": control.code != 0,
        },
    )


def _line_of(lines: list[bytes], object_id: str) -> tuple[int, int]:
    """Return place and number of the entry that says that the object was erased."""
    for number, line in enumerate(lines):
        entry = json.loads(line)
        if entry.get("object") == object_id and entry.get("kind") == "erased":
            return number, int(entry["seq"])
    return 0, int(json.loads(lines[0])["seq"])
