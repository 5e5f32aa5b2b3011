"""Four categories of time: what several purposes keep goes when the last of them ends, and what is held stays."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agent.app.parts import Parts
from agent.clock import rfc3339_ms
from agent.index import Tx
from agent.retention import Disk
from tests.torture.asking import ask
from tests.torture.home import LOGS, NOW_S, PHOTO, RECORDING, Home
from tests.torture.say import Say
from tests.torture.script import Script

HELD = RECORDING.replace("10-15", "11-15")

POLICY = """\
version = 1
[recipients]
owner = ["{owner}"]
[purpose.support]
description = "To find out why it fails."
basis = "contract"
[purpose.records]
description = "To keep what the law calls for."
basis = "legal-obligation"
[category.recording]
purposes = ["security", "records"]
seal_to = ["owner"]
keep.age = "14d"
[category.photo]
purpose = "security"
seal_to = ["owner"]
keep.age = "60d"
[category.usage-log]
purpose = "support"
seal_to = ["owner"]
keep.age = "1d"
"""


def prepare(home: Home, seed: int) -> None:
    home.config().policy.write_text(POLICY.format(owner=home.owner.recipient().to_text()))
    home.fill(seed, RECORDING, HELD, PHOTO, LOGS[0])
    home.take_in()
    home.later_s = 20 * 86_400
    home.doom(RECORDING, LOGS[0])
    home.tombstones, home.returns = 0, False  # of what its source gave up, an age leaves none
    until = rfc3339_ms((NOW_S + 40 * 86_400) * 1000)
    home.command("hold", "hold", select={"ids": [home.object_of(HELD)]}, reason="court", until=until)
    home.events = {"command_done": 1, "freeze_put": 1, "erase_asked": 2, "erased": 2}


async def go(parts: Parts, home: Home, say: Say) -> None:
    if not await ask(parts, home, say):
        return
    await parts.retention.run_pass(parts.now(), Disk())
    for object_id in home.doomed:
        item = await parts.index.read(partial(parts.vault.get, object_id=object_id))
        if item is None or item.state == "erasing":
            say(f"ended {object_id}")  # from here on nobody is given it
    await parts.erasure.resume(parts.now())
    for object_id in home.doomed:
        if not parts.vault.payload_path(object_id).exists():
            say(f"erased {object_id}")


def at_death(home: Home, said: Sequence[str]) -> list[str]:
    """What is said to be erased has neither a payload nor a key."""
    erased = [line.split()[1] for line in said if line.startswith("erased ")]
    wrong = ["I3 an object is erased and its payload is there" for one in erased if _payload(home, one).exists()]
    if erased:
        wrong.extend(f"I1 an object is erased and the old root is in {name}" for name in home.key_files())
    return wrong


def _payload(home: Home, object_id: str) -> Path:
    return home.state / "vault" / "objects" / object_id


def look(tx: Tx, parts: Parts, home: Home) -> dict[str, Any]:
    held = parts.vault.get(tx, home.object_of(HELD))
    return {"held": "" if held is None else held.state}


def judge(home: Home, said: Sequence[str], seen: dict[str, Any]) -> list[str]:
    """What was ended is given to nobody any more; what is held was never touched."""
    found = seen["found"]
    wrong = [
        "I3 an object was ended and is there again"
        for object_id in home.doomed
        if f"ended {object_id}" in said and found["objects"].get(object_id, {}).get("state", "erasing") != "erasing"
    ]
    if found["look"]["held"] != "sealed" or seen["look"]["held"] != "sealed":
        wrong.append("I2 retention took an object that is held")
    return wrong


SCRIPT = Script("retain", prepare, go, look=look, at_death=at_death, judge=judge)
