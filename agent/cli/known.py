"""Which rules of a policy name a camera that this device does not know: a mistyped id is obeyed for nothing."""

import asyncio
from typing import TYPE_CHECKING, Final

from agent.errors import AgentError

if TYPE_CHECKING:
    from agent.config import Config
    from agent.policy import Policy

UNKNOWN: Final = "no camera of that id is known here"
LISTED_BY: Final = "privacy-agent cameras and privacy-agent inventory list them"


def unknown_cameras(config: "Config", policy: "Policy") -> list[str]:
    """Return cameras that have rules of their own and are not known; none where nobody can be asked."""
    from agent.files import is_there

    named = policy.cameras()
    try:
        if not named or not is_there(config.keystore):
            return []
        known = asyncio.run(_known(config))
    except AgentError:
        return []
    return [] if known is None else sorted(named - known)


async def _known(config: "Config") -> frozenset[str] | None:
    """Ask the running agent, else read the state folder as it is; ``None`` where the list is cut."""
    from agent.app.question import LISTED_MAX
    from agent.app.standing import known_cameras
    from agent.control import FIRST_ANSWER_S, AwayError, ask

    try:
        answer = await ask(config.socket, "cameras", {}, progress=lambda _step: None, within_s=FIRST_ANSWER_S)
    except AwayError:
        return await known_cameras(config)
    listed = answer["cameras"]
    return None if len(listed) >= LISTED_MAX else frozenset(one["camera"] for one in listed)
