"""A vendor's cloud to test against: a store, a backend and an owner's client, written from docs/protocol.md alone.

The map::

    service     Cloud: the whole, as a context manager; what tests and the shell command start
    store       the flow of uploads: begin → go → chunks → upload-ack → end → stored; erase, abort, resync
    shelf       what is on disk, durable before it is acknowledged
    backend     commands out, receipts and alerts in, each verified
    ownership   an owner's root: signs key sets
    faults      what goes wrong on command
    observer    a subscriber to ``#``: records what anybody who can read the broker sees
    link        one MQTT connection · journal  what happened, one event at a time · cli  the shell command
    wire        topics, kinds, claims · keys  descriptors and key files · jws · sealing · age_pq · strictjson
    failure · clock

It shares no code with the agent on purpose: two readings of one document find what one reading takes for granted.
"""
