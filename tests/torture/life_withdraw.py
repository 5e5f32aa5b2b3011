"""Consent to a purpose is withdrawn: what only that was for is erased, the rest is sealed anew for fewer readers.

A recording that comes behind the word is taken in for what is left.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from agent import age
from agent.app.parts import Parts
from agent.index import Tx
from agent.rights import consent
from tests.intake import take_in
from tests.torture.asking import answered, ask
from tests.torture.home import Home, admitted
from tests.torture.say import Say
from tests.torture.script import Script

# Recorded after the consent was given: it is about what comes then.
_DAY = "2027-01-15T12"
RECORDING, LATER = f"front/recording/{_DAY}-15-00.000Z_10s.mp4", f"front/recording/{_DAY}-30-00.000Z_10s.mp4"
PHOTO, LOG = f"front/photo/{_DAY}-15-00.000Z.jpg", f"front/usage-log/{_DAY}-00-00.000Z.jsonl"

POLICY = """\
version = 1
[recipients]
owner = ["{owner}"]
vendor = ["{vendor}"]
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
seal_to = ["vendor"]
[purpose.support]
description = "To find out why it fails."
basis = "contract"
[category.recording]
purposes = ["security", "analytics"]
seal_to = ["owner"]
[category.photo]
purposes = ["analytics"]
[category.usage-log]
purposes = ["support", "analytics"]
seal_to = ["owner"]
"""


def prepare(home: Home, seed: int) -> None:
    vendor = age.generate_identity(post_quantum=False)
    home.readers = (vendor,)
    owner = home.owner.recipient().to_text()
    home.config().policy.write_text(POLICY.format(owner=owner, vendor=vendor.recipient().to_text()))
    home.command("consent", "consent", purpose="analytics", decision="given")

    async def agree(parts: Parts) -> None:
        assert await ask(parts, home, home.told.append)

    home.undisturbed(agree)
    home.told.clear()
    home.later_s = 86_400
    home.fill(seed, RECORDING, PHOTO, LOG)
    home.take_in()
    home.doom(PHOTO)
    home.returns = False  # its source would keep it: it is for nothing any more
    home.fill(seed + 1, LATER)
    home.command("withdraw", "withdraw", purpose="analytics")
    home.events = {"command_accepted": 1, "command_done": 2, "purpose_said": 6, "erase_asked": 1, "erased": 1}


async def go(parts: Parts, home: Home, say: Say) -> None:
    await ask(parts, home, say)
    await take_in(parts, lambda event: say(f"admitted {admitted(event)}") if admitted(event) else None)


def look(tx: Tx, parts: Parts, home: Home) -> dict[str, Any]:
    vendor = home.readers[0].recipient().to_text()
    return {
        "words": sorted(set(consent.standing(tx).words.values())),
        "used": [item.id for item in parts.vault.page(tx) if "analytics" in item.purposes],
        "read": [item.id for item in parts.vault.page(tx) if vendor in item.recipients and item.state != "erasing"],
    }


def judge(home: Home, said: Sequence[str], seen: dict[str, Any]) -> list[str]:
    """From an acknowledged withdrawal on nothing is for that purpose, and nothing sealed to who had it for that."""
    wrong = []
    times = [("in the end", seen["look"])]
    if "withdraw" in answered(home, said):
        times.append(("at the start after its receipt", seen["found"]["look"]))
    for when, told in times:
        if told["words"] != ["withdrawn"]:
            wrong.append(f"I2 {when} a withdrawal does not stand: {told['words']}")
        if told["used"]:
            wrong.append(f"I3 {when} {len(told['used'])} objects are for a purpose that was withdrawn")
        if told["read"]:
            wrong.append(f"I3 {when} {len(told['read'])} objects are for a reader who had them for that")
    narrowed = Counter(event["object"] for event in seen["audit"] if event["kind"] == "narrowed")
    wrong.extend(f"I4 {object_id} was narrowed {n} times" for object_id, n in narrowed.items() if n > 1)
    return wrong


SCRIPT = Script("withdraw", prepare, go, look=look, judge=judge)
