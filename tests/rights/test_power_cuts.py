"""Power fails while a policy is put in force, at whichever statement: all of the old one is left, or all of the new."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import audit
from agent.app.parts import Parts
from agent.clock import rfc3339_ms
from agent.config import parse_config
from agent.envelope import signing_input_sha256
from agent.index import Tx
from agent.index import policy as rows
from agent.retention import Disk
from agent.rights import consent, force, freezing
from tests.app.station import DEVICE, START_S
from tests.commands.office import Party, party
from tests.rights.test_ratchet import TIGHTER, Home, asked, recorded, with_analytics

ROOT = Path(__file__).resolve().parents[2]
UNASKED = ('purposes = ["security", "analytics"]', 'purpose = "security"')
"""The yes that was given lapses with it."""

READER = ('seal_to = ["owner"]', 'seal_to = ["owner", "buyer"]')
"""Allows more: it waits for the owner."""


class Household(Home):
    """A device whose owner said yes to a purpose, and where a court holds the older of two recordings."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.court = party("backend", "court", "hold", "release", curve=True)
        self.held = ""
        self.opened: dict[bytes, dict[str, Any]] = {}
        self.live(self._furnish)

    async def _furnish(self, parts: Parts) -> None:
        members = (self.client, self.tablet, self.clock, self.store, self.backend, self.court)
        raw = self.sign_key_set(3, signing_input_sha256(self.members), *members)
        await parts.commands.submit(raw, moment=parts.now())
        assert (await self.propose(parts, self.client, with_analytics(self)))["status"] == "done"
        yes = {"purpose": "analytics", "decision": "given", "category": "recording"}
        assert (await self.submit(parts, self.client, "consent", **yes))["status"] == "done"
        await recorded(parts, days_ago=10)
        (self.held,) = here(parts)
        await recorded(parts, days_ago=9)
        hold = {"select": {"ids": [self.held]}, "reason": "claim 7", "until": rfc3339_ms((START_S + 3600) * 1000)}
        told = await self.submit(parts, self.court, "hold", **hold)
        assert told["status"] == "done", told

    def open(self, who: Party, body: bytes) -> dict[str, Any]:
        """Open a message, which lies in most of the copies."""
        if body not in self.opened:
            self.opened[body] = who.open(body)
        return self.opened[body]

    def at(self, folder: Path) -> "Household":
        """Return the same people at another copy of their device."""
        other = copy.copy(self)
        other.config = parse_config(f'device = "{DEVICE}"\nstate = "state"\n'.encode(), file=folder / "agent.toml")
        return other


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Household:
    return Household(tmp_path_factory.mktemp("prepared"))


def here(parts: Parts) -> list[str]:
    return parts.index.read_now(lambda tx: [str(row[0]) for row in tx.execute("SELECT id FROM object ORDER BY id")])


# --- the ways in: each prepares a device, and returns the bytes of the command that is to be taken, or the file's none

Way = Callable[[Household], bytes | None]


def backends_command(home: Household) -> bytes:
    text = with_analytics(home, TIGHTER, UNASKED)
    return home.command(home.backend, "policy", policy=home.signed(home.backend, text))


def backends_command_beside_a_file(home: Household) -> bytes:
    """What waits meanwhile is asked about anew, in the same transaction."""
    home.config.policy.write_text(with_analytics(home, ('"14d"', '"30d"')))
    home.start(nothing)
    return backends_command(home)


def owners_command(home: Household) -> bytes:
    text = with_analytics(home, TIGHTER, UNASKED)
    return home.command(home.client, "policy", policy=home.signed(home.client, text, revision=2))


def file(home: Household) -> None:
    home.config.policy.write_text(with_analytics(home, TIGHTER, UNASKED))


def approve_of_a_file(home: Household) -> bytes:
    home.config.policy.write_text(with_analytics(home, TIGHTER, UNASKED, READER))

    async def question(parts: Parts) -> dict[str, str]:
        return asked(home, parts)

    return home.command(home.client, "approve", **home.start(question))


def approve_of_a_backends_command(home: Household) -> bytes:
    async def question(parts: Parts) -> dict[str, str]:
        told = await home.propose(parts, home.backend, with_analytics(home, TIGHTER, UNASKED, READER))
        assert told["status"] == "waiting"
        return asked(home, parts)

    # A word of the very second in which the document in force came is not about what waits beside that.
    return home.command(home.client, "approve", iat_s=START_S + 1, **home.live(question))


async def nothing(_parts: Parts) -> None:
    return None


# --- what is seen of a device


async def seen(home: Household, parts: Parts) -> dict[str, Any]:
    """Return all that a policy changes, and how many rows there are of everything."""

    def look(tx: Tx) -> dict[str, Any]:
        _, lines = audit.entries(tx, 0)
        seen_file, waiting, document = rows.read_file(tx)
        tables = [str(name) for (name,) in tx.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            "document": force.in_force(tx),
            "obeyed": parts.document,
            "log": [(one.get("kind"), one.get("detail", {}).get("sha256")) for one in map(json.loads, lines)],
            "words": [(one.purpose, one.status, one.policy_sha256) for one in consent.page(tx)],
            "alerts": parts.outbox.alerts(tx),
            "waits": (seen_file, document),
            "word": rows.word(tx),
            "commands": tx.execute("SELECT jti, status FROM command ORDER BY jti"),
            "told": told(home, parts, tx, waiting),
            "holds": freezing.standing(tx).holds,
            "objects": tx.execute("SELECT id FROM object ORDER BY id"),
            "rows": {name: tx.execute(f'SELECT count(*) FROM "{name}"') for name in tables},  # noqa: S608 - its own
        }

    return await parts.index.read(look)


def told(home: Household, parts: Parts, tx: Tx, waiting: str) -> list[tuple[str, ...]]:
    """Return what lies in the outbox, to whom it goes and what it tells; a file that waits has another id each time."""
    people = {one.kid: one for one in (home.client, home.tablet, home.backend, home.court)}
    opened = [
        (people[message.reader].name, home.open(people[message.reader], message.body))
        for message in parts.outbox.pending(tx, limit=500)
        if message.reader in people
    ]
    return [
        (name, *(str(one.get(what, "")) for what in ("cmd", "status", "reason", "code")), words)
        for name, one in opened
        for words in [str(one.get("what", "")).replace(waiting or "nothing waits", "the file")]
    ]


@pytest.mark.promise("POLICY-VERSION")
@pytest.mark.parametrize(
    "way",
    [
        backends_command,
        backends_command_beside_a_file,
        owners_command,
        file,
        approve_of_a_file,
        approve_of_a_backends_command,
    ],
    ids=lambda way: way.__name__,
)
def test_power_cut_at_any_statement_leaves_the_old_policy_or_the_new_one_and_the_command_ends_once(
    prepared: Household, tmp_path: Path, way: Way
) -> None:
    """Steps 4 and 5: with the one COMMIT the document, its log, notice, receipt, lapsed yes and what waited change."""
    folder, into, command = tmp_path / "home", tmp_path / "killed", tmp_path / "command"
    shutil.copytree(prepared.config.file.parent, folder)
    home = prepared.at(folder)
    raw = way(home)
    into.mkdir()
    if raw is not None:
        command.write_bytes(raw)
    subprocess.run(
        [sys.executable, "-m", "tests.rights.dying", folder, into, *([] if raw is None else [command])],
        cwd=ROOT,
        timeout=240,
        check=True,
    )
    statements = json.loads((into / "statements.json").read_text())
    places = ["done", "adopting", *map(str, range(len(statements)))]
    assert json.loads((into / "ends.json").read_text()) == dict.fromkeys(places, -9), "each was killed"
    writes = next(n for n, sql in enumerate(statements) if "INTO policy_document" in sql)
    commit = next(n for n, sql in enumerate(statements) if n > writes and sql == "COMMIT")

    async def restart(parts: Parts) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is there after it, and what is when all was said once more."""
        first = await seen(home, parts)
        await (home.reload(parts) if raw is None else parts.commands.submit(raw, moment=parts.now()))
        return first, await seen(home, parts)

    old, _ = home.live(restart)
    new, last = home.at(into / "done").live(restart)
    require_changed(old, new)
    for place in places[1:]:
        is_new = not place.isdigit() or int(place) > commit
        where = f"killed before {statements[int(place)]}" if place.isdigit() else place
        first, second = home.at(into / place).live(restart)
        assert first == (new if is_new else old), where
        assert second == last, f"{where}: it ends once"
    for place in (str(commit), "adopting"):
        assert home.held in home.at(into / place).live(passed), "what was held is here"
    shutil.rmtree(into)


def require_changed(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Require that everything is of another document, and that each command that ended has one receipt."""
    sha256 = new["document"].sha256
    assert sha256 != old["document"].sha256
    assert new["obeyed"] == new["document"].document
    assert [one for one in new["log"] if one not in old["log"]].count(("policy_changed", sha256)) == 1
    assert ("analytics", "lapsed", sha256) in new["words"]
    assert "lapsed" not in {status for _, status, _ in old["words"]}
    ended = [jti for jti, status in new["commands"] if (jti, status) not in old["commands"] and status == "done"]
    receipts = [cmd for _, cmd, status, *_ in new["told"] if status == "done"]
    assert [receipts.count(jti) for jti in ended] == [1] * len(ended)
    assert new["told"] != old["told"], "a notice or a receipt"


async def passed(parts: Parts) -> list[str]:
    """Have a retention pass delete what the policy does not keep, and return what is here then."""
    await parts.retention.run_pass(parts.now(), Disk())
    await parts.erasure.resume(parts.now())
    return here(parts)
