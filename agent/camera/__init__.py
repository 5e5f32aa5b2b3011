"""The side of a camera that is reached over the network (``docs/camera-link.md``).

The map::

    tls    dial an address and know by its key who answered, before a byte is sent

Nothing here knows the index or the vault; who is enrolled, and with which key, is an argument.
"""
