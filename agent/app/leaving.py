"""A camera that a person forgets is told so first, while it answers: it records no more, and another agent may have it.

0. Nobody collects from it any more: a look behind step 1 would pair with it again (``agent/app/collecting.py``).
1. The camera: it is unpaired, which switches its collection off. *Power fails behind it: it is enrolled here still, and
   says ``not_paired``; the person, who got no answer, forgets it again.*
2. One transaction: the row goes, with its audit event (``agent/enrolment.py``). From here on nothing of it is trusted.

Where it does not answer it stays paired: nobody can tell it later, for it is trusted no more. The person is told.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from agent import enrolment
from agent.app.collecting import addresses_of
from agent.app.parts import Parts
from agent.camera.identity import Address, Pinned
from agent.clock import monotonic_s
from agent.enrolment import AtCamera, Enrolled
from agent.errors import AgentError

if TYPE_CHECKING:  # else an agent without cameras to ask would load what that takes
    from agent.camera.link import CameraLink

LEAVE_S: Final = 20.0
"""A person waits for it."""

AT_ONCE: Final = 8
"""Cameras that are told at the same time."""

TRIED: Final = 4
"""Addresses: where it is configured, where it answered last, and some where it was heard."""


async def leave(parts: Parts, one: Enrolled, heard: Sequence[tuple[str, int]]) -> AtCamera:
    """Do step 1 of a camera with a camera link; return what became of it there, ``""`` for one that has none."""
    if one.level != "proved":
        return ""
    from agent.camera.link import CameraLink  # noqa: PLC0415 - as above

    shown = await parts.index.write(lambda tx: enrolment.link_identity(tx, moment=parts.now()), urgent=True)
    link = CameraLink(
        pinned=Pinned(device=one.device, kid=one.kid),
        credentials=shown,
        monotonic=monotonic_s,
    )
    telling = asyncio.ensure_future(asyncio.to_thread(_unpair, link, addresses_of(one, heard)[:TRIED]))
    await asyncio.wait((telling,), timeout=LEAVE_S)
    while not telling.done():
        link.end()
        await asyncio.wait((telling,), timeout=1.0)
    return telling.result()


async def leave_all(parts: Parts, cameras: Sequence[str]) -> dict[str, AtCamera]:
    """Do step 1 of enrolled cameras, some at a time; return what became of each there."""
    enrolled = await parts.index.read(enrolment.enrolled)
    served = await parts.index.read(enrolment.served_at)
    turns = asyncio.Semaphore(AT_ONCE)

    async def left(one: Enrolled) -> AtCamera:
        async with turns:
            return await leave(parts, one, [served[one.camera]] if one.camera in served else [])

    meant = [one for one in enrolled if one.camera in cameras]
    answers = await asyncio.gather(*(left(one) for one in meant))
    return {one.camera: answer for one, answer in zip(meant, answers, strict=True)}


def _unpair(link: "CameraLink", addresses: Sequence[Address]) -> AtCamera:
    from agent.camera.answer import AnswerError  # noqa: PLC0415 - as above

    try:
        link.meet(addresses)
        link.unpair()
    except AnswerError as error:
        return "not_paired" if error.code == "not_paired" else "not_told"
    except AgentError:
        return "not_told"
    finally:
        link.close()
    return "unpaired"
