"""A camera wrote a recording, a photo and two usage logs; the agent takes them in and gives the copies up."""

from agent.app.parts import opened
from tests.intake import take_in
from tests.torture.home import LOGS, PHOTO, RECORDING, Home, admitted, clock_at
from tests.torture.say import Say

NAME = "ingest"


def prepare(home: Home, seed: int) -> None:
    home.fill(seed, RECORDING, PHOTO, *LOGS)


async def live(home: Home, say: Say) -> None:
    async with opened(home.config(), read_clock=lambda: clock_at(10)) as parts:
        await take_in(parts, lambda event: say(f"admitted {admitted(event)}") if admitted(event) else None)
        for path in home.sources:
            if not (home.spool / path).exists():
                say(f"gone {path}")
