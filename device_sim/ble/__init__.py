"""A camera's Bluetooth, and the machine that looks for it: no radio is needed, one may be used.

The map::

    wire        docs/ble.md as the camera reads it: its half of the proof, state and switch; bytes only
    camera      what a camera is for its Bluetooth, and one that is nothing else
    peripheral  the camera as a GATT server on bumble, over any HCI transport: a dongle, or the air
    air         virtual controllers that hear each other, offered at a socket
    bus         a private D-Bus daemon
    bluez       the double of ``org.bluez`` on it, with a bumble central behind: what unmodified bleak talks to
    fault       how it breaks on command
    impostor    others that answer in a camera's place
    cli         ``device-sim ble``
"""
