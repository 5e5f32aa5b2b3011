"""A hold keeps two objects from the owner's own delete; one of them is released and goes, the other is held on."""

from collections.abc import Sequence
from typing import Any

from agent.app.parts import Parts
from agent.clock import rfc3339_ms
from agent.index import Tx
from agent.rights import freezing
from tests.torture.asking import answered, ask, asked
from tests.torture.home import LOGS, NOW_S, PHOTO, RECORDING, Home
from tests.torture.say import Say
from tests.torture.script import Script

OTHER = RECORDING.replace("10-15", "11-15")
UNTIL = rfc3339_ms((NOW_S + 30 * 86_400) * 1000)


def prepare(home: Home, seed: int) -> None:
    home.fill(seed, RECORDING, OTHER, PHOTO, LOGS[0])
    home.take_in()
    home.doom(RECORDING, OTHER)
    released, free, held = (home.object_of(path) for path in (RECORDING, OTHER, PHOTO))
    home.command("hold", "hold", select={"ids": [released]}, reason="insurance", until=UNTIL)
    home.command("hold-on", "hold", select={"ids": [held]}, reason="court", until=UNTIL)
    home.command("delete", "delete", select={"ids": sorted((released, free))})
    home.command("release", "release", hold=home.jtis["hold"])
    home.command("delete-again", "delete", select={"ids": sorted((released, held))})
    home.ends = {"delete": "partial", "delete-again": "partial"}
    home.events = {"command_accepted": 2, "command_done": 5, "freeze_put": 2, "freeze_lifted": 1}
    home.events |= {"erase_asked": None, "erased": 2}  # a held one is asked for again where the others were put off


async def go(parts: Parts, home: Home, say: Say) -> None:
    await ask(parts, home, say)


def look(tx: Tx, _parts: Parts, _home: Home) -> dict[str, Any]:
    return {"holds": [one.id for one in freezing.standing(tx).holds]}


def judge(home: Home, said: Sequence[str], seen: dict[str, Any]) -> list[str]:
    """Acknowledged holds stand, a released one does not; what is held is there at each moment."""
    known, tried = answered(home, said), asked(said)
    found, holds = seen["found"], seen["found"]["look"]["holds"]
    wrong = []
    if "hold-on" in known and home.jtis["hold-on"] not in holds:
        wrong.append("I2 an acknowledged hold does not stand")
    if "hold" in known and "release" not in tried:
        if home.jtis["hold"] not in holds:
            wrong.append("I2 an acknowledged hold does not stand, and nobody released it")
        if found["objects"].get(home.object_of(RECORDING), {}).get("state") != "sealed":
            wrong.append("I2 an object went that was held")
    if "release" in known and home.jtis["hold"] in holds:
        wrong.append("I4 a hold stands that was released")
    if found["objects"].get(home.object_of(PHOTO), {}).get("state") != "sealed":
        wrong.append("I2 an object went that is held")
    if seen["look"]["holds"] != [home.jtis["hold-on"]]:
        wrong.append(f"I4 in the end {len(seen['look']['holds'])} holds stand")
    return wrong


SCRIPT = Script("hold", prepare, go, look=look, judge=judge)
