"""How often everything is read again, and how fast: two lines of ``agent.toml``."""

import msgspec


class ScrubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A pass over everything begins each ``every_s`` seconds, 0 for only when asked; it reads ``rate_bytes_s``."""

    every_s: float = 30 * 86_400.0
    rate_bytes_s: int = 4_000_000
