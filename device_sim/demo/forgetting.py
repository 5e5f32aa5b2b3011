"""Steps 9 to 11: what is too old goes, what its owner deletes goes for good, and a thief who has everything is late."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from device_sim.cloud import clock
from device_sim.demo import thief
from device_sim.demo.crossing import stored_files
from device_sim.demo.found import Found, Told, Try
from device_sim.demo.opening import payload_of
from device_sim.demo.screen import Live
from device_sim.demo.stage import PATIENCE_S, Child, DemoError, Stage

_BY_ITSELF_S: Final = 1.0


def retention(stage: Stage, found: Found, agent: Child, *, live: Live) -> tuple[Told, Child]:
    """Step 9: a photo that may live for seconds goes by the policy alone."""
    photo = found.objects["expired"]
    until, named = (str(found.explained["decision"][name]) for name in ("until", "rule"))
    live(f"the photo may stay until {until[11:19]}")
    sealed = payload_of(stage, "expired", found)
    due_s = datetime.fromisoformat(until).timestamp()
    stage.until(lambda: not sealed.exists() or clock.now_s() > due_s, "the photo's time to come")
    how = "by itself"
    if not _gone_soon(stage, sealed):
        # A pass runs each half minute and at each start; nobody should have to wait for it here.
        how = "at the agent's next start, where a pass runs as it does every half minute"
        agent.stop()
        agent = stage.run_agent()
        stage.until(lambda: not sealed.exists(), "the photo to expire")
    told = stage.agent("explain", photo, "--json", may_fail=True)
    log = log_lines(stage)
    erased = next((at for at, one in enumerate(log) if (one.get("object"), one.get("kind")) == (photo, "erased")), 0)
    asked = [one for one in log[:erased] if one.get("kind") == "erase_asked"]
    rule = str(asked[-1]["rule"]) if asked else ""
    return Told(
        seen=f"explain said beforehand: until {until[11:19]} UTC by {named}; it went {how}",
        proves="what the policy no longer wants is erased without anybody asking, and the log says by which rule",
        figure=f"gone by {rule}",
        claims={
            "explain named the end before it came": bool(until),
            "the object is gone": told.code != 0 and not _held(stage, photo),
            "its sealed file is gone": not sealed.exists(),
            "the log says that it was erased, by the rule that explain named": rule == named,
        },
    ), agent


def delete(stage: Stage, found: Found, agent: Child, *, live: Live) -> tuple[Told, Child]:
    """Step 10: SIGKILL in the middle of a delete; the next start finishes it, and the receipt says all of it."""
    victim = found.objects["deleted"]
    sealed = payload_of(stage, "deleted", found)
    live("a signed delete; the agent is killed while it works")
    keystore = stage.state / "keystore"
    was = keystore.stat().st_mtime_ns
    order = stage.start("owner-delete", "privacy-owner", "--home", stage.home, "delete", victim, "--yes", "--json")
    _wait_for_change(keystore, was, order)
    agent.kill()
    cut = (sealed.exists(), len(thief.read_keystore(keystore).roots))
    live("started again")
    agent = stage.run_agent()
    if order.finish():
        raise DemoError(f"privacy-owner delete did not succeed\n  next: read {order.log}")
    answer: dict[str, Any] = order.events()[-1]
    outcome = next(one for one in answer["outcomes"] if one["id"] == victim)
    roots = len(thief.read_keystore(keystore).roots)
    left = [path for path in (sealed, *stored_files(stage, "deleted", found)) if path.exists()]
    where = f"with {cut[1]} roots in the keystore and the sealed file " + ("still there" if cut[0] else "just gone")
    return Told(
        seen=f"kill -9 {where}; after the restart: {outcome['result']}, the store's word signed by"
        f" {str(outcome.get('stated_by'))[:10]}…, receipt {answer['status']}",
        proves="a delete once accepted happens, through any power cut: on the device and at the store",
        figure=f"receipt {answer['status']}, {len(left)} copies left",
        claims={
            "the receipt says done": answer["status"] == "done",
            "the object's outcome is deleted": outcome["result"] == "deleted",
            "the store's confirmation is in the receipt": bool(outcome.get("stated_by")),
            "no copy is left at device or store": not left,
            "one root is left in the keystore": roots == 1,
            "the device does not know it any more": not _held(stage, victim),
        },
        facts={"cut": {"file_there": cut[0], "roots": cut[1]}},
    ), agent


def theft(stage: Stage, found: Found, agent: Child, *, live: Live) -> tuple[Told, Child]:
    """Step 11: every way from a stolen key to a recording, with the copy from before and the device as it is now."""
    live("the thief takes the device as well, and tries every key on every copy")
    agent.stop()
    copied = stage.folder / "thief" / "copied-disk"
    before = thief.read_keystore(stage.folder / "thief" / "control" / "keystore")
    after = thief.read_keystore(stage.state / "keystore")
    indexes = _indexes(stage, copied)
    for role, fate in (("kept", "kept"), ("deleted", "deleted by its owner"), ("expired", "expired by policy")):
        name = found.objects[role]
        payloads = [copied / "vault" / "objects" / name, stage.state / "vault" / "objects" / name]
        opened = [
            thief.matches(name, keys=keys, indexes=indexes, payloads=payloads, sha256=found.sources[role].sha256)
            for keys in (before, after)
        ]
        found.tries.append(
            Try(
                label=found.sources[role].category,
                object=name,
                fate=fate,
                opened_with_old_key=opened[0],
                opened_after=opened[1],
            )
        )
    agent = stage.run_agent()
    kept, *gone = found.tries
    return Told(
        seen=f"with a copy of the disk from before and today's keystore: the kept clip opens, of the {len(gone)} erased"
        f" {sum(one.opened_after for one in gone)}; control with the old keystore: all {len(found.tries)}",
        proves="deleting destroys keys: an older copy of the disk is worth nothing without the key that is gone",
        figure=f"kept: {'opens' if kept.opened_after else 'closed'},"
        f" erased: {sum(one.opened_after for one in gone)} of {len(gone)} open",
        claims={
            "what was kept opens": kept.opened_after,
            "what was deleted or expired does not open": not any(one.opened_after for one in gone),
            "the control opens all of it with the keystore from before": all(
                one.opened_with_old_key for one in found.tries
            ),
        },
    ), agent


def log_lines(stage: Stage) -> list[dict[str, Any]]:
    """Return the audit log as the agent shows it."""
    return [json.loads(line) for line in stage.agent("audit", "show").out.splitlines()]


def _held(stage: Stage, object_id: str) -> bool:
    return any(one["id"] == object_id for one in stage.agent("inventory", "--json").json()["objects"])


def _gone_soon(stage: Stage, sealed: Path) -> bool:
    """Say whether it goes within a moment of its time."""
    try:
        stage.until(lambda: not sealed.exists(), "", timeout_s=_BY_ITSELF_S)
    except DemoError:
        return False
    return True


def _wait_for_change(path: Path, was_ns: int, order: Child) -> None:
    """Return at the very moment in which a file was written; looks without a pause, for a kill must not be late."""
    deadline_s = clock.monotonic_s() + PATIENCE_S
    while os.stat(path).st_mtime_ns == was_ns:  # noqa: PTH116 - the fastest look there is
        if clock.monotonic_s() > deadline_s:
            raise DemoError(f"the agent did not begin to delete\n  next: read {order.log}")


def _indexes(stage: Stage, copied: Path) -> list[Path]:
    return [copied / "index.db", stage.state / "index.db"]
