"""What announces itself nearby: a hint, never a fact (invariant I10).

The map::

    sighting  what was heard, as values

A sighting may start a check; it changes nothing that is trusted.
"""

from agent.discovery.sighting import Discoverer, Hear, Heard, Leak, Lost, Sighting, Trouble

__all__ = ["Discoverer", "Hear", "Heard", "Leak", "Lost", "Sighting", "Trouble"]
