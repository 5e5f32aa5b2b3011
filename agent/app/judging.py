"""Whether the audit log holds: all of it for who asks, its end at every start. Its owner is told when it does not.

Nothing is signed for a judgement: a signature made now would vouch for a tail before anybody looked at it.
"""

import asyncio
from functools import partial

from agent import audit, chain
from agent.app.alarm import Alarm
from agent.app.parts import Parts
from agent.errors import CorruptError


async def judge(parts: Parts) -> chain.Verdict:
    """Judge the whole log; raises ``CorruptError`` that names the first line that does not hold, and the alert."""
    return await _told(parts, after=0)


async def judge_end(parts: Parts) -> chain.Verdict:
    """Judge what was written last, as far back as a signature vouches for it; raises as ``judge`` does."""
    return await _told(parts, after=await parts.index.read(audit.before_end))


async def _told(parts: Parts, *, after: int) -> chain.Verdict:
    try:
        await parts.index.read(audit.require_end)
        return await _judged(parts, after=after)
    except CorruptError as error:
        alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
        counted = f", lines counted from entry {after + 1}" if after else ""
        if await alarm.raise_("audit_broken", f"The log does not hold{counted}: {error.message}.", moment=parts.now()):
            parts.changed()
        raise


async def _judged(parts: Parts, *, after: int) -> chain.Verdict:
    judge = chain.Judge(jwk=parts.keystore.public_jwk())
    while True:
        page = await parts.index.read(partial(audit.page, after=after))
        if after and page.first > after + 1:  # what comes next was dropped meanwhile, for its age
            judge, after = chain.Judge(jwk=parts.keystore.public_jwk()), 0
        elif not page.lines:
            return judge.verdict()
        else:
            await asyncio.to_thread(judge.take, page.lines)
            after = page.last
