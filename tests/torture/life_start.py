"""A start that finishes what an earlier kill cut off, and is killed itself."""

from tests.torture import witness
from tests.torture.home import Home
from tests.torture.say import Say


async def live(home: Home, say: Say) -> None:
    await witness.start(home, say)
