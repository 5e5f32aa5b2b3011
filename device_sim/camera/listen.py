"""Where a face listens: one port for IPv4 and IPv6 alike."""

import socket


def listening(host: str, port: int) -> socket.socket:
    """Return a socket at ``host``, or at every address where none is named; raises ``OSError``."""
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
