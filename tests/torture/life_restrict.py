"""Three recordings are past their age; two are restricted and stay, one of these is unrestricted and goes."""

from collections.abc import Sequence
from typing import Any

from agent.app.parts import Parts
from agent.index import Tx
from agent.retention import Disk
from agent.rights import freezing
from tests.torture.asking import answered, ask, asked
from tests.torture.home import PHOTO, RECORDING, Home
from tests.torture.say import Say
from tests.torture.script import Script

KEPT, LIFTED, FREE = (RECORDING.replace("10-15", f"1{n}-15") for n in range(3))


def prepare(home: Home, seed: int) -> None:
    home.config().policy.write_text(home.policy(recording='keep.age = "14d"', photo=""))
    home.fill(seed, KEPT, LIFTED, FREE, PHOTO)
    home.take_in()
    home.later_s = 20 * 86_400
    home.doom(LIFTED, FREE)
    home.tombstones, home.returns = 0, False  # of what its source gave up, an age leaves none
    home.command("restrict", "restrict", select={"ids": [home.object_of(KEPT)]}, ground="claims")
    home.command("restrict-too", "restrict", select={"ids": [home.object_of(LIFTED)]}, ground="accuracy")
    home.command("unrestrict", "unrestrict", restriction=home.jtis["restrict-too"])
    home.events = {"command_done": 3, "freeze_put": 2, "freeze_lifted": 1, "erase_asked": 2, "erased": 2}


async def go(parts: Parts, home: Home, say: Say) -> None:
    if not await ask(parts, home, say, "restrict", "restrict-too"):
        return
    await expire(parts, say)
    if await ask(parts, home, say, "unrestrict"):
        await expire(parts, say)


async def expire(parts: Parts, say: Say) -> None:
    """Do a pass of retention and what it leaves to the next change of keys."""
    passed = await parts.retention.run_pass(parts.now(), Disk())
    say(f"passed {passed.count}")
    await parts.erasure.resume(parts.now())
    say("forgotten")


def look(tx: Tx, _parts: Parts, _home: Home) -> dict[str, Any]:
    return {"restrictions": [one.id for one in freezing.standing(tx).restrictions]}


def judge(home: Home, said: Sequence[str], seen: dict[str, Any]) -> list[str]:
    """Acknowledged restrictions stand, a lifted one does not; what is restricted is there at each moment."""
    known, tried = answered(home, said), asked(said)
    found, stand = seen["found"], seen["found"]["look"]["restrictions"]
    wrong = []
    for name, path in (("restrict", KEPT), ("restrict-too", LIFTED)):
        if name in known and not (name == "restrict-too" and "unrestrict" in tried):
            if home.jtis[name] not in stand:
                wrong.append("I2 an acknowledged restriction does not stand")
            if found["objects"].get(home.object_of(path), {}).get("state") != "sealed":
                wrong.append("I2 an object went that was restricted")
    if "unrestrict" in known and home.jtis["restrict-too"] in stand:
        wrong.append("I4 a restriction stands that was lifted")
    if seen["look"]["restrictions"] != [home.jtis["restrict"]]:
        wrong.append(f"I4 in the end {len(seen['look']['restrictions'])} restrictions stand")
    return wrong


SCRIPT = Script("restrict", prepare, go, look=look, judge=judge)
