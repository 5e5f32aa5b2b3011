"""Who owns this device, what is wrong with it and whether its log holds: told by ``status``, and by ``doctor``.

Where no agent runs, ``looked_into`` reads the state folder as it is. It finishes no work that a crash cut off, mends,
migrates and signs nothing: that is for the agent, at its start.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from agent import audit, bundle, chain, damage, enrolment, erasure, registry
from agent.app.parts import locked
from agent.bundle import EXPORTS_FOLDER
from agent.clock import ReadClock, rfc3339_ms
from agent.commands.farewell import parting
from agent.config import Config
from agent.files import is_there
from agent.index import Tx, looking
from agent.keystore import Keystore
from agent.outbox import Outbox
from agent.policy.ending import Service
from agent.rights import service
from agent.timeline import Timeline
from agent.trust import Trust
from agent.vault import OBJECTS_FOLDER, require_root

NAMED_MAX: Final = 8
"""Files that could not be removed and are named."""


def standing(tx: Tx, outbox: Outbox) -> dict[str, Any]:
    """Return the owner, whether it is left, the key set's version, the alerts, and deleted files that are there still.

    For ``status``.
    """
    trust = Trust()
    owner, keys, left = trust.owner(tx), trust.key_set(tx), parting(tx)
    return {
        "owner": None if owner is None else {"name": owner.name, "fingerprint": owner.fingerprint},
        "leaving": None
        if left is None
        else {
            "phase": left.phase,
            "deadline": rfc3339_ms(left.deadline_ms),
            "held": left.held,
            "copies": left.copies,
            "cameras": left.cameras,
        },
        "key_set": None if keys is None else keys.version,
        "alerts": [
            {"code": code, "since": rfc3339_ms(since_ms), "count": count} for code, since_ms, count in outbox.alerts(tx)
        ],
        "service": _served(service.standing(tx)),
        "not_removed": [
            *(f"{OBJECTS_FOLDER}/{object_id}" for object_id in erasure.put_off(tx, limit=NAMED_MAX)),
            *(f"{EXPORTS_FOLDER}/{export_id}" for export_id in bundle.put_off(tx)[:NAMED_MAX]),
        ],
    }


def unnamed(tx: Tx, config: Config) -> list[str]:
    """Return sources of which cameras are known and that are configured no more.

    One may be the same as another that is configured, copied elsewhere: only a person can tell.
    """
    known = {camera.source for camera in registry.every_camera(tx)} - {enrolment.SOURCE}
    return sorted(known - set(config.source_names))


def _served(now: Service) -> dict[str, Any]:
    """Return how the service stands, and when what follows."""
    told: dict[str, Any] = {"stage": now.stage}
    if now.stage == "noticed":
        told["ends"] = rfc3339_ms(now.ends_ms)
    if now.stage == "ended":
        told["due"] = rfc3339_ms(now.due_ms)
    return told


async def seen(config: Config, *, read_clock: ReadClock) -> dict[str, Any]:
    """Return what stands, whether the clock is trusted, and how much the medium lost, without an agent.

    Raises what its start would.
    """
    async with looked_into(config) as (tx, keystore):
        require_root(tx, keystore)
        moment = Timeline.load(tx).look(read_clock())
        outbox = Outbox(device=config.device, signer=keystore, random=secrets.token_bytes)
        lost = {"damaged": damage.count(tx), "in_doubt": damage.count(tx, sure=False)}
        return standing(tx, outbox) | {
            "clock": {"trusted": moment.trusted},
            "scrub": lost,
            "unnamed": unnamed(tx, config),
        }


async def known_cameras(config: Config) -> frozenset[str]:
    """Return the id of every camera that is known, without an agent."""
    async with looked_into(config) as (tx, _keystore):
        return frozenset(camera.id for camera in registry.every_camera(tx))


async def judged(config: Config) -> chain.Verdict:
    """Judge the whole audit log without an agent; ``CorruptError`` names the first line that does not hold."""
    async with looked_into(config) as (tx, keystore):
        audit.require_end(tx)
        judge = chain.Judge(jwk=keystore.public_jwk())
        after, page = audit.entries(tx, 0)
        while page:
            judge.take(page)
            after, page = audit.entries(tx, after)
        return judge.verdict()


@asynccontextmanager
async def looked_into(config: Config) -> AsyncIterator[tuple[Tx, Keystore]]:
    """Open index and keystore to read; raises what ``opened`` does, and changes nothing."""
    async with AsyncExitStack() as stack:
        if is_there(config.lock):  # else no agent has ever run here
            await stack.enter_async_context(locked(config, patience_s=0))
        keystore = Keystore.open(config.keystore, tpm=config.tpm, mend=False)
        stack.callback(keystore.close)
        yield stack.enter_context(looking(config.index, key=keystore.index_key())), keystore
