"""What must be true after any fault, said as the list of what is not.

Two looks: at what lies there the moment after the fault (``at_death``), and at what the next start made of it
(``afterwards``). The letters are those of the invariants in ``docs/design.md``.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from tests.torture.asking import TERMINAL, receipts
from tests.torture.home import SAMPLE_BYTES, Home, digest
from tests.torture.lives import LIVES
from tests.torture.store import Memory

ONCE: Final = (
    "command_accepted",
    "command_done",
    "command_refused",
    "command_approved",
    "erase_asked",
    "erased",
    "exported",
    "freeze_lifted",
    "freeze_put",
    "keyset_accepted",
    "policy_changed",
    "purpose_said",
)
"""What the audit tells of as often as it happens, whatever comes between."""

AT_FIRST: Final = {"keyset_accepted": 1, "policy_changed": 1}
"""How often it told of what made a home."""


def at_death(home: Home, said: list[str]) -> list[str]:
    """Judge the folder as the fault left it."""
    return [
        *_clear(home),
        *LIVES[home.scenario].at_death(home, said),
    ]


def clear_files(home: Home) -> list[str]:
    """Return files of the device's state that hold clear bytes."""
    return home.files_with(home.samples())


def _clear(home: Home) -> list[str]:
    return [f"I1 clear bytes of a source in {name}" for name in clear_files(home)]


def afterwards(home: Home, said: list[str], seen: dict[str, Any]) -> list[str]:
    """Judge what the next start finished and found."""
    script = LIVES[home.scenario]
    if script.see is not None:
        return [
            *script.judge(home, said, seen),
            *_clear(home),
        ]
    return [
        *_contents(home, said, seen),
        *_vault(seen),
        *_history(home, seen),
        *_answers(home, said, seen),
        *(_uploads(home, said, seen) if home.uploading else ()),
        *script.judge(home, said, seen),
        *_clear(home),
    ]


def lost(wrong: Sequence[str]) -> int:
    """Count the lines that say that acknowledged data is gone."""
    return sum(line.startswith("I2") for line in wrong)


def doubled(wrong: Sequence[str]) -> int:
    """Count the lines that say that a command acted twice or was answered twice."""
    return sum(line.startswith("I4") for line in wrong)


def residue(wrong: Sequence[str]) -> int:
    """Count the bytes of samples that were found in clear."""
    return SAMPLE_BYTES * sum(line.startswith("I1") for line in wrong)


def _contents(home: Home, said: list[str], seen: dict[str, Any]) -> list[str]:
    wrong = []
    opened = {object_id: text.encode("latin-1") for object_id, text in seen["opened"].items()}
    doomed = home.doomed.values()
    for path, content in home.sources.items():
        copies = sum(content in found if path.endswith(".jsonl") else content == found for found in opened.values())
        if path in doomed:
            if copies:
                wrong.append(f"I3 a deleted object came back {copies} times")
        elif copies != 1:
            wrong.append(f"I2 {path} is there {copies} times" if copies == 0 else f"I7 {path} is there {copies} times")
    acknowledged = {line.split()[1] for line in said if line.startswith("admitted ")} | home.objects.keys()
    wrong.extend(
        f"I2 acknowledged {object_id} is gone" for object_id in acknowledged - opened.keys() - home.doomed.keys()
    )
    wrong.extend(
        f"I2 {object_id} opens to other bytes"
        for object_id in home.objects.keys() & opened.keys()
        if opened[object_id] != home.objects[object_id]
    )
    if sum(map(len, opened.values())) != sum(len(c) for p, c in home.sources.items() if p not in doomed):
        wrong.append("I7 there is more or less in the vault than the camera wrote")
    wrong.extend(f"I2 {object_id} had no payload at the start" for object_id in seen["found"]["missing"])
    wrong.extend(f"I2 {path} was neither taken in nor told" for path in seen["left"])
    return wrong


def _vault(seen: dict[str, Any]) -> list[str]:
    objects = seen["objects"]
    wrong = []
    if seen["files"] != sorted(objects):
        wrong.append(f"I7 files {seen['files']} stand beside rows {sorted(objects)}")
    if seen["roots"] != [seen["root"]]:
        wrong.append(f"I3 the keystore holds {len(seen['roots'])} roots")
    if seen["slots"] != len(objects):
        wrong.append(f"I3 {seen['slots']} slots for {len(objects)} objects")
    if seen["unfinished"]:
        wrong.append("I3 an erasure is not finished")
    if seen["totals"] != [len(objects), sum(item["bytes"] for item in objects.values())]:
        wrong.append(f"I7 the totals say {seen['totals']}")
    return wrong


def _history(home: Home, seen: dict[str, Any]) -> list[str]:
    """The audit tells of each object's coming and going exactly once, and of nothing else."""
    wrong = []
    counts = Counter((event["kind"], event["object"]) for event in seen["audit"])
    objects = seen["objects"]
    exports = {object_id for kind, object_id in counts if kind == "exported"}
    for object_id in {object_id for _, object_id in counts if object_id} - exports | objects.keys():
        came, went = counts["admitted", object_id], counts["erased", object_id]
        if came != 1 or went > 1 or came - went != (object_id in objects):
            wrong.append(f"I7 {object_id}: {came} admitted and {went} erased, there: {object_id in objects}")
    kinds = Counter(event["kind"] for event in seen["audit"])
    expected = AT_FIRST | home.events
    wrong.extend(
        f"I4 the audit tells {kinds[kind]} times of {kind} and not {expected.get(kind, 0)} times"
        for kind in ONCE
        if expected.get(kind, 0) not in {None, kinds[kind]}
    )
    if seen["tombstones"] != home.tombstones:
        wrong.append(f"I3 {seen['tombstones']} tombstones for {home.tombstones} deletes")
    return wrong


def _answers(home: Home, said: list[str], seen: dict[str, Any]) -> list[str]:
    """A terminal receipt never changes, and what it says has happened."""
    wrong = []
    before, after = receipts(home, said), receipts(home, seen["lines"])
    for name in home.commands:
        status, jti = after.get(name, ("none", ""))
        if status not in home.ends.get(name, "done").split():
            wrong.append(f"I3 the command {name} ends with {status}")
        if before.get(name, ("", ""))[0] in TERMINAL and before[name] != (status, jti):
            wrong.append(f"I4 the command {name} was answered twice: {before[name]} and {status, jti}")
        if jti not in seen["waiting"]:
            wrong.append(f"I4 the receipt of {name} is not in the outbox")
    return wrong


def _uploads(home: Home, said: list[str], seen: dict[str, Any]) -> list[str]:
    wrong = [f"I2 {line}" for line in (*said, *seen["lines"]) if line.startswith("wrong: ")]
    wrong.extend(_at_the_start(said, seen["found"]))
    kinds = Counter((event["kind"], event["object"]) for event in seen["audit"])
    lost = Memory([*said, *seen["lines"]]).losses
    for object_id, item in seen["objects"].items():
        stored, losses = kinds["stored", object_id], kinds["lost", object_id]
        if item["state"] != "uploaded":
            wrong.append(f"I2 {object_id} is not uploaded at the end")
        if stored - losses != 1 or losses > lost:
            wrong.append(f"I7 {object_id} was stored {stored} times and lost {losses} times")
        if seen["stored"].get(item["upload"]) != digest(home.objects[object_id]):
            wrong.append(f"I2 the store has not {object_id} as it was taken in")
    return wrong


def _at_the_start(said: list[str], found: dict[str, Any]) -> list[str]:
    """Hold what the store was told, and what was noted of its answers, against what the next start finds."""
    memory = Memory(said)
    wrong = [
        f"I2 the store was told to begin {upload}, and its manifest is not here"
        for upload, copy in memory.copies.items()
        if found["manifests"].get(upload) != copy.manifest
    ]
    objects = found["objects"]
    confirmed = {memory.copies[upload].object for upload in memory.confirmed}
    for object_id, item in objects.items():
        if item["state"] == "uploaded" and item["upload"] not in memory.confirmed:
            wrong.append(f"I2 {object_id} counts as uploaded without a storage receipt")
        if object_id in found["without_header"] and object_id not in confirmed:
            wrong.append(f"I2 the header of {object_id} is gone without a storage receipt")
    for line in said:
        word, name, *rest = line.split()
        if word == "noted" and memory.has(rest[0]) and objects[name]["upload"] != rest[0]:
            wrong.append(f"I2 the noted storage receipt of {name} is gone")
    offsets = {line.split()[1]: int(line.split()[2]) for line in said if line.startswith("offset ")}
    wrong.extend(
        f"I2 the noted offset of {item['upload']} went back"
        for item in objects.values()
        if item["offset"] < offsets.get(item["upload"], 0)
    )
    return wrong
