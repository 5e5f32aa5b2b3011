"""Whose ears ``discover`` uses: the running agent's; where none runs, or it listens for nothing, this process's own.

This process listens as long as it is watched: it reads who is enrolled, lets go of the vault, and writes nothing down.
"""

import argparse
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.camera.identity import LinkIdentity
    from agent.config import Config, DiscoverySettings
    from agent.enrolment import Enrolled

Ask = Callable[[], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def ears(arguments: argparse.Namespace) -> AsyncIterator[Ask]:
    """Hand out what tells what is near: the running agent, else ears of our own that know who is enrolled, else not."""
    from agent.config import DEFAULT_PATH, DiscoverySettings, read_config
    from agent.control import FIRST_ANSWER_S, AwayError, ask
    from agent.files import is_there

    path = arguments.config or DEFAULT_PATH
    if arguments.config is None and not is_there(path):
        _say(f"no config was read, {path} is not there: who is enrolled is not known", "name one: --config agent.toml")
        async with _listening(DiscoverySettings(), None) as own:
            yield own
        return
    config = read_config(path)
    settings = config.discovery or DiscoverySettings()

    async def ask_running() -> dict[str, Any]:
        answer: dict[str, Any] = await ask(
            config.socket, "nearby", {}, progress=lambda _step: None, within_s=FIRST_ANSWER_S
        )
        return answer

    try:
        heard = await ask_running()
    except AwayError:
        heard = None
    if heard is not None and heard["on"]:
        yield ask_running
        return
    if heard is not None:
        _say(
            f"{config.file} has no [discovery]: the running agent listens for nothing, and this command, which listens"
            " itself, does not know who is enrolled",
            "add the line [discovery] to it, and start the agent again",
        )
    elif config.discovery is None:
        _say(
            f"{config.file} has no [discovery]: this command listens itself, an agent would not",
            "add the line [discovery] to it",
        )
    known = await _read_known(config) if heard is None and is_there(config.keystore) else None
    async with _listening(settings, known) as own:
        yield own


def _say(what: str, following: str) -> None:
    print(f"privacy-agent: {what}\n  next: {following}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the vault was opened for: who is enrolled, what they are shown, and how far agent time is from the clock."""

    cameras: "tuple[Enrolled, ...]"
    identity: "LinkIdentity"
    ahead_ms: int


async def _read_known(config: "Config") -> _Known:
    """Read it and let go of the vault: an agent that starts meanwhile is to have it."""
    from agent import enrolment
    from agent.app.parts import opened
    from agent.clock import system_clock
    from agent.process import keep_memory

    keep_memory()
    async with opened(config, read_clock=system_clock(source=config.clock)) as parts:
        moment = parts.now()
        return _Known(
            cameras=await parts.index.read(enrolment.enrolled),
            identity=await parts.index.write(lambda tx: enrolment.link_identity(tx, moment=moment)),
            ahead_ms=moment.agent_ms - moment.wall_ms,
        )


@asynccontextmanager
async def _listening(settings: "DiscoverySettings", known: _Known | None) -> AsyncIterator[Ask]:
    """Listen in this process."""
    from agent.app.nearby import assembled, discoverers
    from agent.clock import system_clock
    from agent.enrolment import new_link_identity
    from agent.model import Moment
    from agent.nearby.view import near_view

    told_of = known or _Known(cameras=(), identity=new_link_identity(), ahead_ms=0)
    read_clock = system_clock(source="system")

    def now() -> Moment:
        wall_ms = read_clock().wall_ms
        return Moment(agent_ms=wall_ms + told_of.ahead_ms, wall_ms=wall_ms, trusted=False)

    ways = discoverers(settings, read_clock=read_clock)
    nearby = assembled(ways, identity=told_of.identity, index=None, now=now, cameras=told_of.cameras)

    async def told() -> dict[str, Any]:
        return near_view(nearby)

    async with nearby.running():
        yield told
