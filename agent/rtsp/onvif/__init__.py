"""Where a camera streams and of what it tells events, as its ONVIF service says; asked in a process of its own.

The map::

    message   what is asked of the process and what it answers
    client    ask: starts the process for one question, and ends it
    __main__  the process: hardened first, bounded in memory, then one question, then gone
    worker    the question itself, with onvif-zeep-async

Rules: the service that is configured is asked, and nobody else, wherever its answers point; credentials go as a digest
(WS-Security), to a pinned certificate where it has TLS; what it says of addresses counts for their ports and paths
alone.
"""
