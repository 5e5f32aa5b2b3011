"""``privacy-owner``: what the person whose camera it is holds and does; never needed on the device.

    shell      arguments in, exit code out
    own        init, recover, client new: keys made or typed back
    enrol      device add, client add and remove: whom we believe, whom the device shall believe
    ask        delete, export, inventory, approve, time
    requests   which requests are open, and by when each is due
    correct    rectify: names and places that are wrong
    consent    consent give, refuse and list; withdraw, object
    policy     policy: a document to be obeyed
    freeze     restrict, unrestrict, hold, release
    answers    what became of them: pending, resend, forget, listen, receipt, receipts
    send       one command on its way: checked, signed, kept, sent or written, waited for
    prove      verify: receipts and audit logs, offline
    unpack     open: an export's manifest, hashes and files
    keys       keygen, decrypt
    home       the owner's folder            device     what we keep of one device
    members    key set versions (pure)       sheet      the recovery sheet (pure)
    readers    who will be able to read an export (pure)
    command    signed requests (pure)        receipt    signed answers (pure)
    exchange   send, wait, keep, acknowledge line       the connection for as long as a command needs one
    show       commands and answers in words (pure)
    said       words on purposes, and the records of them (pure)

Rules: a private key leaves its file only for the sheet that is made for that; a sequence number is durable before it is
used; a receipt is believed only after its signature, its reader and its command were checked, and is acknowledged only
when it is kept.
"""

from agent.owner.shell import main

__all__ = ["main"]
