"""The simulated camera's side of the camera link, from docs/camera-link.md alone.

- ``tls``: TLS 1.3 on asyncio; any client key is let in, and known afterwards.
- ``http``: one connection, request after request.
- ``request``: what is read and written; what the document's limits refuse.
- ``byterange``: RFC 9110 ranges, pure.
- ``resource``: what each path does with the camera.
- ``face``: listens, and breaks on command.
"""
