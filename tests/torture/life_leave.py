"""The owner erases everything: the device parts from them, tells them, forgets them, and destroys its keys.

A store has a copy and confirms its erasure between the two receipts. What is left is looked at from outside: nothing
opens it any more. Then the device gets its next owner, and what its former one recorded turns up again.
"""

from collections.abc import Sequence
from typing import Any, Final

from agent.app.parts import Parts, opened
from agent.errors import ConfigError
from agent.index import Tx
from tests.intake import take_in
from tests.torture.asking import answered, ask, receipts
from tests.torture.home import LOGS, PHOTO, RECORDING, Home
from tests.torture.say import Say
from tests.torture.script import Script

_MANIFEST = "a" * 64
DAY_S: Final = 86_400
LEFT: Final = {"former.json", "lock"}
"""What an unowned device has in its state folder."""


def prepare(home: Home, seed: int) -> None:
    home.fill(seed, RECORDING, PHOTO, LOGS[0])
    home.take_in()
    home.doom(RECORDING, PHOTO, LOGS[0])

    async def store(parts: Parts) -> None:
        def note(tx: Tx) -> None:
            upload, _ = parts.vault.begin_upload(tx, home.object_of(PHOTO), moment=parts.now())
            moment, kid = parts.now(), home.store.kid
            parts.vault.set_manifest(tx, upload, _MANIFEST, store=kid, moment=moment)
            parts.vault.note_stored(tx, upload, region="eu", stated_by=kid, epoch="e1", moment=moment)

        await parts.index.write(note)
        keystore = parts.keystore
        home.keys = {"index": keystore.index_key(), "tombstones": keystore.tombstone_key()}

    home.undisturbed(store)
    home.command("erase-all", "erase-all")


async def go(parts: Parts, home: Home, say: Say) -> None:
    if await ask(parts, home, say):
        await parts.commands.part(parts.now())
        await ask(parts, home, say)  # the store has confirmed: its receipt is the last one


async def live(home: Home, say: Say) -> None:
    """Leave, and let so much time pass that nobody is waited for, whoever has not answered."""
    seconds = 10.0
    try:
        async with opened(home.config(), read_clock=lambda: home.clock(seconds)) as parts:
            parts.erasure._at = lambda step: say(f"step {step}")
            await go(parts, home, say)
            for days in (30, 40):
                seconds = days * DAY_S
                await parts.commands.part(parts.now())
    except ConfigError as error:
        if "no owner any more" not in error.message:
            raise
    if {path.name for path in home.state.iterdir()} == LEFT:
        say("unowned")


def at_death(home: Home, said: Sequence[str]) -> list[str]:
    """What the first receipt says is gone has no key; what the device was has none once it is unowned."""
    wrong = []
    if answered(home, said):
        folder = home.state / "vault" / "objects"
        if folder.exists() and any(folder.iterdir()):
            wrong.append("I3 everything is erased, and payloads are there")
        wrong.extend(f"I1 everything is erased, and the old root is in {name}" for name in home.key_files())
    if "unowned" in said:
        left = {path.name for path in home.state.iterdir()}
        wrong.extend(f"I3 the device is unowned and has {name}" for name in left - LEFT)
        wrong.extend(f"I1 the device is unowned and a key of it is in {name}" for name in _keys(home))
    return wrong


def _keys(home: Home) -> list[str]:
    return home.files_with((*home.roots, *home.keys.values()))


async def see(home: Home) -> dict[str, Any]:
    """Go on until the device is unowned, give it its next owner, and have what was recorded turn up again."""
    lines: list[str] = []
    await live(home, lines.append)
    left = sorted(path.name for path in home.state.iterdir())
    keys = _keys(home)
    following = Home.make(home.top)
    for path in home.sources:
        home.put_back(path)
    async with opened(following.config(), read_clock=lambda: home.clock(50 * DAY_S)) as parts:
        await take_in(parts)
        items = parts.index.read_now(parts.vault.page)
    return {"lines": lines, "left": left, "keys": keys, "returned": len(items)}


def judge(home: Home, said: Sequence[str], seen: dict[str, Any]) -> list[str]:
    """It ends unowned, once, and nothing comes back; who was told that it is over is not told otherwise."""
    wrong = [f"I1 a key of the former owner's device is in {name}" for name in seen["keys"]]
    if set(seen["left"]) != LEFT:
        wrong.append(f"I3 an unowned device has {seen['left']}")
    if seen["returned"]:
        wrong.append(f"I3 {seen['returned']} objects of the former owner came back")
    before, after = receipts(home, said), receipts(home, seen["lines"])
    for name, (status, jti) in before.items():
        if status == "done" and after.get(name, (status, jti)) != (status, jti):
            wrong.append(f"I4 {name} was answered twice: {status, jti} and {after[name]}")
    if not before and not after:
        wrong.append("I4 nobody was told that everything is erased")
    return wrong


SCRIPT = Script("erase-all", prepare, go, live=live, at_death=at_death, judge=judge, see=see)
