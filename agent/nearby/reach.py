"""Where an enrolled camera answers, and in which order it is looked for; pure, and loads nothing of discovery.

A proof by handshake says only that somebody there passes the handshake on or is the camera, and anybody can announce an
address that does. So:

1. Where it gave whole answers last, which whoever collects from it tells, is looked at first, and no proof takes its
   place.
2. Where it proved itself last is next. A proof of what was heard takes its place only where it did not answer when it
   was tried last.
3. Then what was heard, in the order that is given.
"""

from collections.abc import Iterable

import msgspec

Place = tuple[str, int]


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Where an enrolled camera proved itself last and gave whole answers last, and whether it did when it was tried."""

    host: str = ""
    port: int = 0
    proved_ms: int | None = None
    tried_ms: int | None = None
    reachable: bool | None = None
    served: Place | None = None


def proved_by_advert(reach: Reach, place: Place, *, now_ms: int) -> Reach:
    """Return what a proof of an address that was heard changes: nothing while the camera answers elsewhere."""
    if reach.reachable and place != (reach.host, reach.port):
        return reach
    return proved_by_probe(reach, place, now_ms=now_ms)


def proved_by_probe(reach: Reach, place: Place, *, now_ms: int) -> Reach:
    """Return what a proof changes where the better places were tried before it."""
    host, port = place
    return msgspec.structs.replace(reach, host=host, port=port, proved_ms=now_ms, tried_ms=now_ms, reachable=True)


def met(reach: Reach, place: Place, *, now_ms: int) -> Reach:
    """Return what whole answers change."""
    return msgspec.structs.replace(proved_by_probe(reach, place, now_ms=now_ms), served=place)


def answered(reach: Reach, *, now_ms: int) -> Reach:
    """Return what changes where something answers at the one address that a camera has."""
    return msgspec.structs.replace(reach, proved_ms=now_ms, tried_ms=now_ms, reachable=True)


def away(reach: Reach, *, now_ms: int) -> Reach:
    """Return what changes where the camera answered nowhere."""
    return msgspec.structs.replace(reach, tried_ms=now_ms, reachable=False)


def places(reach: Reach, heard: Iterable[Place]) -> tuple[Place, ...]:
    """Return where to look for the camera, in order."""
    proved = (reach.host, reach.port) if reach.host else None
    return tuple(dict.fromkeys(one for one in (reach.served, proved, *heard) if one is not None))
