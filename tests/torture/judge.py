"""What must be true after any fault, said as the list of what is not.

Two looks: at what lies there the moment after the fault (``at_death``), and at what the next start made of it
(``afterwards``). The letters are those of the invariants in ``docs/design.md``.
"""

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from tests.torture.home import SAMPLE_BYTES, Home, digest
from tests.torture.store import Memory

TERMINAL: Final = frozenset({"done", "partial", "refused", "failed"})


def at_death(home: Home, said: list[str]) -> list[str]:
    """Judge the folder as the fault left it."""
    wrong = [f"I1 clear bytes of a source in {name}" for name in clear_files(home)]
    receipts = _receipts(home, said)
    if receipts.get("alone", ("", ""))[0] == "done":
        alone = next(iter(home.doomed))
        if (home.state / "vault" / "objects" / alone).exists():
            wrong.append("I3 a receipt says deleted and the payload is there")
        if any(root in (home.state / "keystore").read_bytes() for root in home.roots):
            wrong.append("I3 a receipt says deleted and the old root is in the keystore")
    return wrong


def clear_files(home: Home) -> list[str]:
    """Return files of the device's state that hold clear bytes."""
    samples = home.samples()
    found = []
    for file in sorted(home.state.rglob("*")):
        if not file.is_file():
            continue
        content = file.read_bytes()
        if content != bytes(len(content)) and any(sample in content for sample in samples):
            found.append(str(file.relative_to(home.top)))
    return found


def afterwards(home: Home, said: list[str], seen: dict[str, Any]) -> list[str]:
    """Judge what the next start finished and found."""
    return [
        *_contents(home, said, seen),
        *_vault(seen),
        *_history(home, seen),
        *_answers(home, said, seen),
        *(_uploads(home, said, seen) if home.uploading else ()),
        *(f"I1 clear bytes of a source in {name}" for name in clear_files(home)),
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
    for object_id in {object_id for _, object_id in counts if object_id} | objects.keys():
        came, went = counts["admitted", object_id], counts["erased", object_id]
        if came != 1 or went > 1 or came - went != (object_id in objects):
            wrong.append(f"I7 {object_id}: {came} admitted and {went} erased, there: {object_id in objects}")
    kinds = Counter(event["kind"] for event in seen["audit"])
    wrong.extend(
        f"I4 {kinds[kind]} times {kind} for {len(home.commands)} commands"
        for kind in ("command_accepted", "command_done", "erase_asked")
        if kinds[kind] != len(home.commands)
    )
    if kinds["erased"] != len(home.doomed) or seen["tombstones"] != len(home.doomed):
        wrong.append(f"I3 {kinds['erased']} erased and {seen['tombstones']} tombstones for {len(home.doomed)} deletes")
    return wrong


def _answers(home: Home, said: list[str], seen: dict[str, Any]) -> list[str]:
    """A terminal receipt never changes, and what it says has happened."""
    wrong = []
    before, after = _receipts(home, said), _receipts(home, seen["lines"])
    for name in home.commands:
        status, jti = after.get(name, ("none", ""))
        if status != "done":
            wrong.append(f"I3 the delete {name} ends with {status}")
        if before.get(name, ("", ""))[0] in TERMINAL and before[name] != (status, jti):
            wrong.append(f"I4 the delete {name} was answered twice: {before[name]} and {status, jti}")
        if jti not in seen["waiting"]:
            wrong.append(f"I4 the receipt of {name} is not in the outbox")
    return wrong


def _receipts(home: Home, lines: list[str]) -> dict[str, tuple[str, str]]:
    found = {}
    for line in lines:
        if line.startswith("receipt "):
            _, name, text = line.split()
            receipt = home.client.open(base64.b64decode(text))
            found[name] = (str(receipt["status"]), str(receipt["jti"]))
    return found


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
