"""Cameras over Bluetooth LE: heard, asked, and proved before believed (docs/ble.md).

The map::

    service     the UUIDs
    advert      an advert becomes a ``Sighting``                       pure
    proof       the agent's half of the mutual proof                   pure
    session     state and switch, sealed and counted                   pure
    bluez       the daemon and the adapters, over the agent's own line to the system bus
    scanner     the one scanner: a ``Discoverer``
    trouble     why nothing may be heard here, asked once
    peripheral  one connection to one camera
    pairing     the passkey, where a camera demands it

Only the last five load bleak and dbus-fast: import them where discovery is on, not above.
"""
