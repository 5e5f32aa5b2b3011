"""A simulated camera's live stream: RTSP 1.0 (RFC 2326), H.264 (RFC 6184) and AAC (RFC 3640) on one line.

The map::

    reel  what is seen and heard, as RTP packets with their times, and how it is described
    face  who may watch, and the conversation with each who does

Rules: who watches is counted in the camera's state; what switches the camera off ends every conversation at once.
"""
