"""Exports: what an owner takes away, sealed to that owner before it exists outside memory (invariant I1).

    names.py     file names and table cells that trick no extractor and no spreadsheet
    archive.py   a zip archive as a stream of pieces, stored, sizes known in front
    table.py     usage logs as CSV
    content.py   what an archive holds: decrypted while it is packed, checked whole before its first byte is packed
    lying.py     a finished one in its folder, and what is told of it
    work.py      one build under way: its files, written and synced, and what became of each object
    packing.py   the form ``zip``
    build.py     both forms, written part by part and moved into place when all is durable
    folder.py    ``Bundle``: what lies in the folder of exports, and what goes from there

Two forms. ``objects``: for each object ``<object id>.age``, a new header for the recipients and the payload's bytes as
they are, nothing re-encrypted. ``zip``: ``part-001.zip.age`` and so on, for people. Both have ``manifest.jws.age``,
signed by the device and sealed: what everything is, when and where it was recorded, and the hash of every file.
"""

from agent.bundle.build import Export, Form, Order, require_recipients
from agent.bundle.folder import EXPORTS_FOLDER, Bundle, is_ours, means_exports, meant, put_off
from agent.bundle.lying import Lying, view
from agent.bundle.work import ExportFile

__all__ = [
    "EXPORTS_FOLDER",
    "Bundle",
    "Export",
    "ExportFile",
    "Form",
    "Lying",
    "Order",
    "is_ours",
    "means_exports",
    "meant",
    "put_off",
    "require_recipients",
    "view",
]
