"""Take in what the sources offer: gate → seal while reading → vault → give the source's copy up.

The steps of docs/design.md, whose numbers the code quotes; this flow does 1, 2, 5 and 6, the vault the others:

    1 gate · 2 seal · 3 name · 4 commit · 5 give up · 6 note

A cut before 4 leaves the source as it was. After 4 the file is never taken again. Where the source keeps its copy, its
identity (path, size, time) says so and nothing is read. Where the copy is ours to destroy, it is read first: only the
same identity with the same content was taken before, and only deleted content was deleted before; a camera without a
clock gives another recording the same identity. What a cut-off covers is destroyed unread. Usage logs are small, so
several files of one camera become one object, which knows each of them by itself; each has a bookmark, behind which it
may go on.

A file's failure is that file's alone: it is told, counted, left where it is and, where that can help, tried again.

- ``flow``       ``Ingest``: the steps, and what is told of them
- ``gate``       step 1: the policy, the owner's rights, the room
- ``stream``     a camera that streams, segment by segment
- ``giving_up``  steps 5 and 6 at a folder
- ``asking``     steps 2, 5 and 6 at a camera with storage of its own
- ``room``       what of the disk is free for a file, beside others that are under way
- ``share``      what one source has of the flow for itself
- ``work``       what becomes one object, and the identity by which it is known again
- ``known``      what the index knows of a file at its source, and what stands over it
- ``meanwhile``  what was said of purposes while something was sealed
- ``opening``    source and part file opened; log files joined in memory
- ``telling``    what is told of files, once
- ``absence``    tombstones that nothing is left for at the source
- ``together``   calls of many files that share one trip to another thread, one read, one commit
"""

from agent.ingest.flow import Ingest
from agent.ingest.work import IngestEvent

__all__ = ["Ingest", "IngestEvent"]
