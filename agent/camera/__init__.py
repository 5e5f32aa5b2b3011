"""The side of a camera that is reached over the network (``docs/camera-link.md``).

The map::

    identity   whom we expect, and what we show, as values
    tls        connect to an address and know by its key who answered, before a byte is sent
    answer     JSON of a camera becomes frozen values, or is refused
    session    one proved connection: a request and its answer, bounded in bytes and time
    route      in which order a camera's addresses are tried, by what came of each   pure
    link       what can be asked of a camera: what it has, to delete it, to record or not
    content    one recording's bytes, over as many connections as that takes; used by the sealing process alone
    vendor     a vendor's word for a camera: an 802.1AR chain and the serial number in it

Nothing here knows the index or the vault; who is enrolled, and with which key, is an argument. Everything that a camera
says is untrusted, and a recording is what it was said to be only if its SHA-256 says so.
"""
