"""What is near: everything that was heard, in one bounded inventory, joined by what was proved (invariant I10).

The map::

    rotating    which enrolled camera an advert may be of               pure
    view        the inventory as plain JSON
    judging     what a shown key means: enrolled, unknown, impostor      pure
    inventory   sightings of all ways, who is who among them, until when  pure
    look        a TLS handshake with an address: who answers there
    reach       where an enrolled camera answers, and what to try first  pure
    turns       whose turn it is to be checked                        pure
    flow        Nearby: listens, checks, probes, and refuses impostors

Rules: an advert may start a check and changes nothing that is trusted. Two sightings are one device only when both
proved the same key; never by name, address or words. A goodbye, a lapse or an impostor takes no trust from a camera
that is enrolled. An impostor is written down, its camera's owner is alerted, and the real camera is used as before.
"""
