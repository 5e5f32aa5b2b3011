"""A camera wrote a recording, a photo and two usage logs; the agent takes them in and gives the copies up."""

from agent.app.parts import Parts, opened
from tests.intake import take_in
from tests.torture.home import LOGS, PHOTO, RECORDING, Home, admitted
from tests.torture.say import Say
from tests.torture.script import Script


def prepare(home: Home, seed: int) -> None:
    home.fill(seed, RECORDING, PHOTO, *LOGS)


async def go(parts: Parts, _home: Home, say: Say) -> None:
    await take_in(parts, lambda event: say(f"admitted {admitted(event)}") if admitted(event) else None)


async def live(home: Home, say: Say) -> None:
    async with opened(home.config(), read_clock=lambda: home.clock(10)) as parts:
        await go(parts, home, say)
        for path in home.sources:
            if not (home.spool / path).exists():
                say(f"gone {path}")


SCRIPT = Script("ingest", prepare, go, live=live)
