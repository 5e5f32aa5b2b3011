"""The owner's key is another one by now: nothing that an earlier one opens goes because of that, and nobody asked."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent import age
from agent.app.parts import Parts
from agent.app.running import _pass
from agent.app.verbs import Verbs
from agent.clock import rfc3339_ms
from agent.envelope import policy_claims
from agent.index import Tx
from agent.model import Object
from agent.rights import force
from tests.app.station import Station
from tests.app.test_pass import live_of, untold
from tests.intake import take_in

POLICY = """version = 1
[recipients]
owner = ["{owner}"]
vendor = ["{vendor}"]
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
[purpose.improvement]
description = "To find out what fails."
basis = "consent"
seal_to = ["vendor"]
[category.photo]
purpose = "analytics"
seal_to = ["owner"]
keep = {{ age = "365d" }}
[category.recording]
purpose = "improvement"
keep = {{ age = "365d" }}
"""
PHOTOS = 3
HOUR_MS = 3_600_000


class Home(Station):
    """A device under which an agent runs: an owner who agreed, photos for the owner, a recording for the vendor."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            sources=f'[[source]]\nkind = "spool"\nname = "spool"\npath = "{folder / "spool"}"\nmedium = "disk"\n',
        )
        self.folder = folder
        self.vendor = age.generate_identity(post_quantum=False).recipient().to_text()
        self.revision = 0
        self.config.policy.write_text(self.policy(self.recipient))

    def policy(self, owner: str) -> str:
        return POLICY.format(owner=owner, vendor=self.vendor)

    def live(self, work: Callable[[Parts], Awaitable[None]]) -> None:
        async def run() -> None:
            async with self.parts() as parts:
                await parts.index.write(force.bind)
                for purpose in ("analytics", "improvement"):
                    await self.say(parts, "consent", purpose=purpose, decision="given")
                self.let_pass(1000)
                for kind, count, suffix in (("photo", PHOTOS, "jpg"), ("recording", 1, "mp4")):
                    (taken := self.folder / "spool" / "front" / kind).mkdir(parents=True)
                    for n in range(count):
                        name = rfc3339_ms(self.reading.wall_ms + n * 1000).replace(":", "-")
                        (taken / f"{name}.{suffix}").write_bytes(b"%d" % n)
                self.let_pass(100_000)
                await take_in(parts)
                await self.look(parts)
                await work(parts)

        asyncio.run(run())

    async def say(self, parts: Parts, verb: str, **own: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        self.let_pass(2000)
        raw = self.command(self.client, verb, iat_s=self.reading.wall_ms // 1000, **own)
        return self.client.open((await parts.commands.submit(raw, moment=parts.now())).receipt)

    async def change_key(self, parts: Parts, owner: str) -> None:
        """Have the owner's own policy in force, with another key of theirs."""
        self.revision += 1
        at_s = self.reading.wall_ms // 1000
        claims = policy_claims(self.policy(owner), kid=self.client.kid, revision=self.revision, iat=at_s)
        told = await self.say(parts, "policy", policy=self.client.sign(claims, typ="pv1.policy").decode("ascii"))
        assert told["status"] == "done"

    async def look(self, parts: Parts) -> list[Object]:
        """Let retention pass twice, so that what was begun has gone, and return what is here."""
        for _ in range(2):
            self.let_pass(HOUR_MS)
            await _pass(live_of(parts), untold, parts.now())
        return [one for one in await parts.index.read(parts.vault.page) if one.state != "erasing"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def _header(tx: Tx, *, parts: Parts, object_id: str) -> bytes:
    header = parts.vault.header(tx, object_id)
    assert header is not None
    return header


def key() -> age.Identity:
    return age.generate_identity(post_quantum=False)


def results(receipt: dict[str, Any]) -> list[str]:
    return sorted(one["result"] for one in receipt["outcomes"])


@pytest.mark.promise("CONSENT-WITHDRAW")
def test_what_a_withdrawal_kept_stays_for_its_time_whatever_key_its_owner_has_later(home: Home) -> None:
    # The next pass erased all of it behind a new key: unasked, and forecast by nobody.
    async def work(parts: Parts) -> None:
        assert results(await home.say(parts, "withdraw", purpose="analytics")) == ["kept"] * PHOTOS
        for _ in range(2):
            new = key().recipient().to_text()
            told = await Verbs(parts).dry_run({"policy": home.policy(new)}, lambda *_told: None)
            assert (told["count"], told["asks_first"]) == (0, False)
            await home.change_key(parts, new)
            left = [one for one in await home.look(parts) if one.category == "photo"]
            assert [(one.purposes, one.recipients) for one in left] == [((), (home.recipient,))] * PHOTOS
        home.let_pass(365 * 24 * HOUR_MS)
        assert await home.look(parts) == [], "its time is over"

    home.live(work)


def test_what_is_withdrawn_behind_a_new_key_is_sealed_for_that_and_kept(home: Home) -> None:
    # It was erased at once, though its owner may have the earlier key still, and the device can seal it anew.
    new = key()

    async def work(parts: Parts) -> None:
        await home.change_key(parts, new.recipient().to_text())
        assert results(await home.say(parts, "withdraw", purpose="analytics")) == ["kept"] * PHOTOS
        left = [one for one in await home.look(parts) if one.category == "photo"]
        assert [one.recipients for one in left] == [(new.recipient().to_text(),)] * PHOTOS
        for one in left:
            header = await parts.index.read(partial(_header, parts=parts, object_id=one.id))
            assert age.unwrap_header(header, [new])

    home.live(work)


def test_what_was_never_its_owners_goes_at_its_withdrawal_behind_a_new_key_too(home: Home) -> None:
    async def work(parts: Parts) -> None:
        await home.change_key(parts, key().recipient().to_text())
        assert results(await home.say(parts, "withdraw", purpose="improvement")) == ["deleted"]
        assert [one.category for one in await home.look(parts)] == ["photo"] * PHOTOS

    home.live(work)


def test_key_that_came_back_to_its_owner_is_remembered_once_and_the_oldest_are_forgotten(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (key().recipient().to_text() for _ in range(3))

    async def work(parts: Parts) -> None:
        for owner in (first, home.recipient, first):
            await home.change_key(parts, owner)
        assert await parts.index.read(force.owners_before) == (home.recipient, first)
        monkeypatch.setattr(force, "OWNERS_BEFORE_MAX", 2)
        for owner in (second, third):
            await home.change_key(parts, owner)
        assert await parts.index.read(force.owners_before) == (first, second)

    home.live(work)
