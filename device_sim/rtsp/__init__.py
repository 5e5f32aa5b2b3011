"""A simulated camera's live stream: RTSP 1.0 (RFC 2326) with H.264 on the same line (RFC 6184), and nothing else.

The map::

    reel  what is seen, as RTP packets with their times, and how it is described
    face  who may watch, and the conversation with each who does

Rules: who watches is counted in the camera's state; what switches the camera off ends every conversation at once.
"""
