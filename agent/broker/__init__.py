"""MQTT over mutual TLS: one connection to one broker, kept alive, bounded in everything (docs/protocol.md §1, §9).

- ``address``: which url is accepted, how topics are called
- ``identity``: the TLS folder, read, checked, noticed when renewed
- ``reconnect``: how long to stay away; when a second device is suspected (pure)
- ``window``: how many packets may be unacknowledged, answers before bulk
- ``refusal``: what a refused packet means, and what to do about it
- ``memory``: what the C library does with freed packet buffers
- ``link``: one connection, the MQTT library in its own thread
- ``client``: ``Broker``, what the flows use

Authority comes from signatures alone; nothing here is trusted for more than transport.
"""

from agent.broker.address import Address, parse_url, topic_base
from agent.broker.client import Alert, Broker, Counters
from agent.broker.identity import Identity, load_identity
from agent.broker.link import MAX_PACKET_BYTES
from agent.broker.reconnect import Reconnect
from agent.broker.window import MOST_IN_FLIGHT, Window

__all__ = [
    "MAX_PACKET_BYTES",
    "MOST_IN_FLIGHT",
    "Address",
    "Alert",
    "Broker",
    "Counters",
    "Identity",
    "Reconnect",
    "Window",
    "load_identity",
    "parse_url",
    "topic_base",
]
