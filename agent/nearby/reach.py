"""Where an enrolled camera answered last; nothing of discovery is loaded for it."""

import msgspec


class Reach(msgspec.Struct, kw_only=True):
    """Where an enrolled camera answered and proved itself last, and whether it did when it was tried last."""

    host: str = ""
    port: int = 0
    proved_ms: int | None = None
    tried_ms: int | None = None
    reachable: bool | None = None
