"""A camera made of software: what a real one would leave in its folder, from a seed.

- ``identity``: who the camera is (serial, MAC, Wi-Fi, place): the personal data that must never be seen in clear later.
- ``scene`` and ``font``: the moving picture and its burnt-in clock, drawn as bytes.
- ``media``: H.264/AAC clips and JPEG photos; ``exif`` is the photo's metadata.
- ``usage_log``: usage logs as JSON Lines.
- ``layout``: where such systems put their files (spool, Frigate, motionEye, timelapse).
- ``fault``: what can go wrong with a file, on demand.
- ``cli``: ``device-sim camera``.

Same seed, same start, same options: the same bytes (one encoder thread, bit-exact flags, creation time as given).
That holds for one build of PyAV; another version of the encoders may write other bytes.
"""
