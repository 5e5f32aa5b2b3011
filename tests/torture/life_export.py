"""The owner asks for two exports, one in each form, and deletes the first; one that is cut off is built again."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent import age
from agent.app.parts import Parts
from agent.index import Tx
from tests.torture.asking import answered, ask, asked
from tests.torture.home import LOGS, PHOTO, RECORDING, Home, digest
from tests.torture.say import Say
from tests.torture.script import Script


def prepare(home: Home, seed: int) -> None:
    home.fill(seed, RECORDING, PHOTO, LOGS[0])
    home.take_in()
    home.command("zip", "export", select={"all": True}, form="zip")
    home.command("objects", "export", select={"ids": sorted(home.objects)}, form="objects")
    home.command("delete", "delete", select={"ids": [home.jtis["zip"]]})
    home.events = {"command_accepted": 3, "command_done": 3, "exported": None}
    home.events |= {"erased": None, "erase_asked": None}
    home.ends = {"zip": "done failed", "objects": "done failed"}  # a full disk fails an export, and its owner is told


async def go(parts: Parts, home: Home, say: Say) -> None:
    await ask(parts, home, say)


def _folder(home: Home, name: str) -> Path:
    return home.state / "vault" / "exports" / home.jtis[name]


def at_death(home: Home, said: Sequence[str]) -> list[str]:
    gone = answered(home, said).get("delete") == "done"
    return ["I3 an export was deleted and lies there"] if gone and _folder(home, "zip").exists() else []


def look(tx: Tx, parts: Parts, home: Home) -> dict[str, Any]:
    """Open every file of every export as its owner does."""
    return {
        "rows": sorted(parts.bundle.exports(tx)),
        "exports": {
            folder.name: {
                file.name: digest(age.decrypt(file.read_bytes(), [home.owner])) for file in sorted(folder.iterdir())
            }
            for folder in parts.bundle.folder.iterdir()
        },
    }


def judge(home: Home, said: Sequence[str], seen: dict[str, Any]) -> list[str]:
    """An export that was acknowledged is whole and opens; one that was deleted does not come back."""
    known, tried = answered(home, said), asked(said)
    found, end = seen["found"]["look"], seen["look"]
    content = {f"{object_id}.age": digest(plain) for object_id, plain in home.objects.items()}
    whole, packed = home.jtis["objects"], home.jtis["zip"]
    wrong = [
        f"I7 folders {sorted(told['exports'])} stand beside rows {told['rows']}"
        for told in (found, end)
        if told["rows"] != sorted(told["exports"])
    ]
    if known.get("zip") == "done" and "delete" not in tried and len(found["exports"].get(packed, {})) != 2:
        wrong.append("I2 an acknowledged export is not there")
    if known.get("objects") == "done" and not found["exports"].get(whole, {}).items() >= content.items():
        wrong.append("I2 an acknowledged export is not whole")
    if "delete" in known and packed in found["exports"]:
        wrong.append("I3 an export is back that was deleted")
    made = {home.jtis[name] for name, status in answered(home, seen["lines"]).items() if status == "done"}
    if end["exports"].keys() != made & {whole} or not all(
        files.items() >= content.items() for files in end["exports"].values()
    ):
        wrong.append("I4 in the end there is not the one export that was left")
    told_of = Counter(event["object"] for event in seen["audit"] if event["kind"] in {"exported", "erased"})
    if told_of != Counter({one: 1 + (one == packed) for one in made & {whole, packed}}):
        wrong.append(f"I4 the audit tells of exports {sorted(told_of.values())} times")
    return wrong


SCRIPT = Script("export", prepare, go, look=look, at_death=at_death, judge=judge)
