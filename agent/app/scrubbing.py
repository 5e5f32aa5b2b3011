"""The scrub as a part of the device: what it may cost, whom it tells, and who gets a damaged object's copy again."""

import asyncio
from collections.abc import Callable
from typing import Any

from agent.app.alarm import Alarm
from agent.app.parts import Parts
from agent.control import Progress
from agent.index import Tx
from agent.model import Moment, is_id
from agent.scrub.flow import Scrub, Told


def make_scrub(
    parts: Parts,
    *,
    busy: Callable[[], bool] = lambda: False,
    quarantined: Callable[[tuple[str, ...]], None] = lambda _ids: None,
) -> Scrub:
    """Return the scrub of a device; its alerts are sent behind the commit that they tell of."""
    alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
    loop = asyncio.get_running_loop()

    def alert(tx: Tx, code: str, what: str, moment: Moment, *, about: str = "") -> None:
        alarm.raise_in(tx, code, what, moment, about=about, at_once=True)
        tx.then(lambda: loop.call_soon_threadsafe(parts.changed))

    return Scrub(
        vault=parts.vault,
        settings=parts.config.scrub,
        now=parts.now,
        alert=alert,
        busy=busy,
        quarantined=quarantined,
    )


async def asked(scrub: Scrub, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Look at the objects that are named, or over all, and tell what was found, and which of them are not held."""
    named = dict.fromkeys(one for one in args.get("ids") or () if isinstance(one, str))

    def step(done: int, total: int) -> None:
        progress({"done": done, "total": total})

    if not named:
        return _view(await scrub.whole_pass(step)) | {"not_held": []}
    held = await scrub.held(one for one in named if is_id(one))
    return _view(await scrub.look_at(held, step)) | {"not_held": [one for one in named if one not in held]}


def _view(told: Told) -> dict[str, Any]:
    return {
        "objects": told.objects,
        "bytes": told.bytes,
        "damaged": told.damaged,
        "in_doubt": told.doubted,
        "mended": told.mended,
        "whole": told.whole,
    }
