"""Everything is rotated: the key set loses a client, the key tree its root, logs their pseudonyms, the owner's key."""

from collections.abc import Sequence
from typing import Any, Final

from agent import age
from agent.app.parts import Parts
from agent.envelope import signing_input_sha256
from agent.envelope.policy import policy_claims
from agent.errors import RefusedError
from agent.index import Tx
from tests.commands.office import party
from tests.intake import take_in
from tests.torture.asking import answered, ask
from tests.torture.home import LOGS, NOW_S, PHOTO, RECORDING, Home, admitted
from tests.torture.say import Say
from tests.torture.script import Script
from tests.writing import policy_text

LATER = RECORDING.replace("10-15", "11-15")
DAY_MS: Final = 86_400_000


def prepare(home: Home, seed: int) -> None:
    home.fill(seed, RECORDING, PHOTO, LOGS[0])
    home.take_in()
    tablet, following = party("client", "tablet", "delete"), age.generate_identity(post_quantum=False)
    members = (home.client, home.store, home.backend)
    second = home.key_set(2, signing_input_sha256(home.key_set(1, "", *members)), *members, tablet)
    home.papers["key-set"] = home.key_set(3, signing_input_sha256(second), *members)

    async def keep_keys(parts: Parts) -> None:
        await parts.commands.submit(second, moment=parts.now())
        parts.keystore.rotate_pseudonyms((DAY_MS,), now_ms=parts.now().agent_ms)
        home.keys = {"pseudonyms": parts.keystore.pseudonym_keys()[0].key}

    home.undisturbed(keep_keys)
    home.later_s = 2 * DAY_MS / 1000
    home.command("strange", "delete", by=tablet, select={"all": True})
    home.papers["strange"] = home.commands.pop("strange")
    home.readers = (following,)
    text = policy_text(following.recipient().to_text(), recording="", photo="", usage_log="")
    claims = policy_claims(text, kid=home.client.kid, revision=1, iat=NOW_S)
    home.command("policy", "policy", policy=home.client.sign(claims, typ="pv1.policy").decode("ascii"))
    home.fill(seed + 1, LATER)
    home.events = {"command_done": 1, "keyset_accepted": 3, "policy_changed": 2, "command_refused": None}


async def go(parts: Parts, home: Home, say: Say) -> None:
    await parts.commands.submit(home.papers["key-set"], moment=parts.now())
    say("key-set")
    try:
        await parts.commands.submit(home.papers["strange"], moment=parts.now())
    except RefusedError:
        say("refused")
    await parts.erasure.change_roots(parts.now())
    say("roots")
    parts.keystore.rotate_pseudonyms((DAY_MS,), now_ms=parts.now().agent_ms)
    say("pseudonyms")
    await ask(parts, home, say)
    await take_in(parts, lambda event: say(f"admitted {admitted(event)}") if admitted(event) else None)


def at_death(home: Home, said: Sequence[str]) -> list[str]:
    """A key that was rotated away is in no file."""
    wrong: list[str] = []
    if "roots" in said:
        wrong.extend(f"I1 the root was changed and the old one is in {name}" for name in home.key_files())
    if "pseudonyms" in said:
        lying = home.files_with((home.keys["pseudonyms"],))
        wrong.extend(f"I1 pseudonyms were rotated and their key is in {name}" for name in lying)
    return wrong


def look(tx: Tx, parts: Parts, home: Home) -> dict[str, Any]:
    key_set = parts.trust.key_set(tx)
    following = home.readers[0].recipient().to_text()
    return {
        "version": 0 if key_set is None else key_set.version,
        "owner": list(parts.policy.owner_recipients()) == [following],
        "objects": {item.id: list(item.recipients) == [following] for item in parts.vault.page(tx)},
    }


def judge(home: Home, said: Sequence[str], seen: dict[str, Any]) -> list[str]:
    """An acknowledged rotation stays: no key that is out commands, no reader that is out is sealed to."""
    found, end = seen["found"]["look"], seen["look"]
    wrong = []
    if "key-set" in said and found["version"] != 3:
        wrong.append(f"I2 the key set of version 3 was taken, and {found['version']} is there")
    if ("key-set" in said and "roots" in said and "refused" not in said) or "refused" not in seen["lines"]:
        wrong.append("I5 a client that is out of the key set was heard")
    if "policy" in answered(home, said):
        if not found["owner"]:
            wrong.append("I2 an acknowledged change of the owner's key does not stand")
        new = end["objects"].keys() - found["objects"].keys()
        wrong.extend("I3 something was sealed to the owner's former key" for one in new if not end["objects"][one])
    if (end["version"], end["owner"]) != (3, True):
        wrong.append(f"I4 in the end the key set is {end['version']}, the owner's key the new one: {end['owner']}")
    return wrong


SCRIPT = Script("rotate", prepare, go, look=look, at_death=at_death, judge=judge)
