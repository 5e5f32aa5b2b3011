"""What a source holds is taken in, as the agent's own flow does it, once."""

from collections.abc import Callable

from agent.app.parts import RESERVE_BYTES, Parts
from agent.ingest import Ingest, IngestEvent
from agent.sealer import Sealer


async def take_in(parts: Parts, on_event: Callable[[IngestEvent], None] = lambda _event: None) -> None:
    """Return when all that was there is durable or refused."""
    sealer = Sealer()
    flow = Ingest(
        parts.config.sources,
        vault=parts.vault,
        sealer=sealer,
        policy=parts.policy_in_force,
        now=parts.now,
        rights=parts.snapshot.at_ingest,
        reserve_bytes=RESERVE_BYTES,
        on_event=on_event,
    )
    try:
        await flow.scan_once()
    finally:
        flow.close()
        await sealer.aclose()
