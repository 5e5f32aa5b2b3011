"""A camera is told at once when a policy, or the end of the service, makes another of what is wanted of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from agent import enrolment
from agent.app.parts import Parts
from agent.app.switching import Switches
from tests.app.station import Station


def end_service(parts: Parts) -> None:
    parts.service_ended = True


def drop_the_rules(parts: Parts) -> None:
    parts.adopt(msgspec.structs.replace(parts.policy, rules=()), parts.document)


@pytest.mark.parametrize("change", [end_service, drop_the_rules])
def test_camera_is_told_when_what_is_wanted_of_it_changed_and_only_then(
    tmp_path: Path, change: Callable[[Parts], None]
) -> None:
    """What was wanted before was asked behind the change, when it was the same already: nobody was told."""
    station = Station(tmp_path)
    met: list[str] = []

    async def meet(camera: str) -> None:
        met.append(camera)

    async def live() -> None:
        async with station.parts() as parts:
            made = await parts.index.write(
                lambda tx: enrolment.enrol(
                    tx, level="proved", device="k3x4" * 4, kid="A" * 43, endpoint="10.0.0.2:443", moment=parts.now()
                )
            )
            switches = Switches(parts)
            await switches.load()
            assert await switches.obey(ways=[("link", meet)]) == ()
            change(parts)
            assert await switches.obey(ways=[("link", meet)]) == (made.camera,)
            assert met == [made.camera]
            assert await switches.obey(ways=[("link", meet)]) == ()

    asyncio.run(live())
