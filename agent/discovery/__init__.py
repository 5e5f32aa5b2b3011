"""What announces itself nearby: a hint, never a fact (invariant I10).

The map::

    sighting        what was heard, as values
    mdns            DNS-SD over multicast DNS
    onvif           ONVIF's WS-Discovery; onvif_message reads and writes its messages
    ble             Bluetooth LE: a package of its own
    presence        what is shown as being there: goodbyes, names that lead elsewhere, silence
    interface       which network interfaces are listened on, and what lies on their links
    reach           whether something still answers where it was heard
    rotating        the id that a camera of ours announces for a day
    leak            what an advert gives away
    clean           the text of strangers, made fit to be shown

A sighting may start a check; it changes nothing that is trusted.
"""

from agent.discovery.sighting import Discoverer, Hear, Heard, Leak, Lost, Sighting, Trouble

__all__ = ["Discoverer", "Hear", "Heard", "Leak", "Lost", "Sighting", "Trouble"]
