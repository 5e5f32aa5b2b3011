"""GStreamer's RTSP server, which nobody here wrote, with one film: run by Debian's Python, which has its bindings.

    /usr/bin/python3 served.py FILM PORT [USER PASSWORD basic|digest]

It prints its port and plays the film from its start to whoever connects, at the speed at which it was recorded. A film
with 265 in its name is H.265, one with a coding of ``SOUND`` in it has sound; the times of one with zero begin there.
"""

import sys
from pathlib import Path

import gi

for name in ("Gst", "GstRtsp", "GstRtspServer"):
    gi.require_version(name, "1.0")

from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - as PyGObject wants it

PATH = "/main"
ROLE = "viewer"
SOUND = {
    "aac": "film.audio_0 ! queue ! rtpmp4gpay pt=97",
    "alaw": "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay",
}


def main(film: str, port: str, *credentials: str) -> None:
    """Serve until it is killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    payer = "rtph265pay" if "265" in Path(film).name else "rtph264pay"
    tracks = f"filesrc location={film} ! qtdemux name=film film.video_0 ! queue ! {payer} name=pay0 pt=96"
    if "zero" in Path(film).name:
        tracks += " timestamp-offset=0"
    for name, sound in SOUND.items():
        if name in Path(film).name:
            tracks += f" {sound} name=pay1"
    factory.set_launch(f"( {tracks} )")
    if credentials:
        user, password, method = credentials
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, ROLE)
        if method == "digest":
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(user, password, token)
        else:
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        rights = (GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS, GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT)
        role = ", ".join((ROLE, *(f"{right}=(boolean)true" for right in rights)))
        factory.add_role_from_structure(Gst.Structure.new_from_string(role))
    server.get_mount_points().add_factory(PATH, factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
