"""The policy file proposes when the agent starts and when it is told to read it, and at no other time.

A shell command that opens the parts decides by the document in force, whatever the file says meanwhile. A file that
cannot be read changes nothing: what is obeyed lies whole in the index, so the agent goes on under it, and says so.
"""

import asyncio
import logging

from agent.app.alarm import Alarm
from agent.app.parts import Parts, read_policy_file
from agent.errors import ConfigError, SpaceError
from agent.rights.ratchet import Proposed

UNREADABLE = "The policy file cannot be read: it is missing, or says what no policy may say."

_log = logging.getLogger(__name__)


async def propose_file(parts: Parts, alarm: Alarm) -> Proposed | None:
    """Have the policy file judged as it is now; ``None`` where it could not be, and nothing changed.

    Of a device that leaves its owner nobody asks: nothing is taken in any more, and the index is to forget its policy.
    """
    if parts.leaving:
        return None
    try:
        proposed = await parts.propose(await asyncio.to_thread(read_policy_file, parts.config))
    except (ConfigError, SpaceError) as error:
        _log.error("the policy was not changed: %s", error.message)
        if isinstance(error, ConfigError):
            await alarm.raise_("policy_unreadable", UNREADABLE, moment=parts.now())
            parts.changed()
        return None
    await alarm.clear("policy_unreadable", moment=parts.now())
    if proposed.waiting is not None:
        _log.warning(
            "the policy allows more and waits for its owner: privacy-owner approve %s %s",
            proposed.waiting.id,
            proposed.waiting.sha256,
        )
    parts.changed()
    return proposed
